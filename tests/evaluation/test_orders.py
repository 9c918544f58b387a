"""Sets whose names sort by class: their features keep their labels, and a part of them stands for the whole."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from distilgan.data.images import ImageSet
from distilgan.errors import UserError
from distilgan.evaluation.evaluate import evaluate
from distilgan.evaluation.protocol import Protocol, data_hashes
from distilgan.evaluation.reference import check_same_classes
from distilgan.evaluation.samples import sample_of_set
from distilgan.evaluation.sources import open_source
from distilgan.networks.tinygan import TinyGAN, TinyGANConfig
from distilgan.perception.features import Extractor
from tests.evaluation.conftest import MakeSet


def test_features_keep_their_labels(make_set: MakeSet, colours: Extractor, tmp_path: Path) -> None:
    """The classifier's images in turn, the reference sorted: the same images, but not in the same order."""
    data = make_set("data", 20, seed=0)
    shutil.copytree(data, tmp_path / "copy")
    shutil.copy(data / "red" / "000.png", tmp_path / "copy" / "red" / "more.png")  # the very set would be no test
    protocol = Protocol(data=str(data), classifier_data=str(tmp_path / "copy"), samples=60)
    metrics = evaluate(str(make_set("drawn", 20, seed=1)), protocol).metrics
    assert metrics["accuracy_real60_colours_worst"] > 0.95
    assert metrics["accuracy60_colours_worst"] > 0.95
    assert metrics["cas60_colours_worst"] > 0.95


def test_sets_sorted_by_class_are_mixed_before_they_are_cut(make_set: MakeSet, colours: Extractor) -> None:
    """Twice as many real images as pictures: two pieces for KID, the first half for precision and recall."""
    real, drawn = make_set("real", 60, seed=0), make_set("drawn", 30, seed=1)
    same = evaluate(str(drawn), Protocol(data=str(real), samples=90)).metrics
    assert abs(same["kid90_colours"]) < 0.05  # sorted: 0.44
    assert same["precision90_colours"] > 0.8
    assert same["recall90_colours"] > 0.8


def test_a_part_of_a_folder_stands_for_all_of_it(make_set: MakeSet, colours: Extractor) -> None:
    real, drawn = make_set("real", 60, seed=0), make_set("drawn", 60, seed=1)
    part = evaluate(str(drawn), Protocol(data=str(real), samples=60))
    assert set(part.classes["intra_kid60_colours"]) == {0, 1, 2}
    assert abs(part.metrics["kid60_colours"]) < 0.02
    assert part.metrics["intra_kid60_colours_worst"] < 0.02


def test_a_part_of_a_folder_without_classes_too(make_set: MakeSet, colours: Extractor) -> None:
    drawn = make_set("drawn", 20, seed=1)
    (drawn / "red" / "000.png").rename(drawn / "loose.png")
    source = open_source(str(drawn))
    seen = torch.cat(list(source.pixels(30, 0))).float().mean((2, 3)).argmax(1)
    assert min(seen.bincount(minlength=3).tolist()) > 4


def test_a_reference_without_classes_stays_in_the_order_of_its_names(image_folder: Path, colours: Extractor) -> None:
    """Published figures depend on it."""
    images = ImageSet(image_folder, 16)
    features = sample_of_set(images, colours, with_classes=False).features
    assert torch.equal(features, colours(torch.stack([images[i] for i in range(24)])))


@pytest.mark.parametrize("held_out", [True, False])
def test_what_can_be_reached_is_not_read_off_the_lesson(held_out: bool, make_set: MakeSet, colours: Extractor) -> None:
    learnt, drawn = make_set("learnt", 10, seed=0), make_set("drawn", 10, seed=1)
    data = make_set("data", 10, seed=2) if held_out else learnt
    protocol = Protocol(data=str(data), held_out=held_out, classifier_data=str(learnt), samples=30)
    metrics = evaluate(str(drawn), protocol).metrics
    assert ("accuracy_real30_colours_mean" in metrics) == held_out
    assert "accuracy30_colours_mean" in metrics


# -- classes that do not fit ------------------------------------------------------------------------------------------


def test_sets_that_number_their_classes_otherwise(make_set: MakeSet, colours: Extractor) -> None:
    learnt, drawn = make_set("learnt", 10, seed=0), make_set("drawn", 10, seed=1)
    data = make_set("data", 10, seed=2, classes=("blue", "red"))
    other = r"data: class 1 is 'red', but 'green' in .*learnt; give both"
    with pytest.raises(UserError, match=other):
        check_same_classes(ImageSet(learnt), ImageSet(data))
    few = make_set("few", 10, seed=3, classes=("blue", "green"))
    with pytest.raises(UserError, match="few: class 2 is missing, but 'red' in"):
        check_same_classes(ImageSet(learnt), ImageSet(few))
    net = learnt.parent / "net"
    TinyGAN(TinyGANConfig(16, [8, 8, 8], 3, [4])).save_pretrained(net)
    with pytest.raises(UserError, match=other):
        evaluate(str(net), Protocol(data=str(data), classifier_data=str(learnt), samples=8))
    with pytest.raises(UserError, match="drawn: class 1 is 'green', but 'red' in"):
        evaluate(str(drawn), Protocol(data=str(data), samples=30))


def test_numbers_without_names_are_taken_at_their_word(make_set: MakeSet) -> None:
    named, bare = make_set("named", 2, seed=0), make_set("bare", 2, seed=1)
    labels = ", ".join(f'["red/{i:03d}.png", 0]' for i in range(2))
    (bare / "dataset.json").write_text(f'{{"labels": [{labels}]}}')
    check_same_classes(ImageSet(named), ImageSet(bare))


def test_too_few_to_learn_from(make_set: MakeSet, colours: Extractor) -> None:
    data, drawn, learnt = (make_set(name, 10, seed) for seed, name in enumerate(("data", "drawn", "learnt")))
    protocol = Protocol(data=str(data), classifier_data=str(learnt), classifier_images=8, samples=30)
    assert "accuracy30_colours_mean" in evaluate(str(drawn), protocol).metrics
    with pytest.raises(UserError, match=r"classifier_images=7: too few to learn from; give at least 8, or 0"):
        evaluate(str(drawn), replace(protocol, classifier_images=7))


def test_a_class_that_nothing_is_learnt_of(make_set: MakeSet, colours: Extractor) -> None:
    data, learnt = make_set("data", 10, seed=0), make_set("learnt", 10, seed=2)
    for folder in (data, learnt):  # numbers alone, so that no name tells
        labels = [[f"{name}/{i:03d}.png", c] for c, name in enumerate(("blue", "green", "red")) for i in range(10)]
        labels = [[name, 0 if folder == learnt else c] for name, c in labels]
        (folder / "dataset.json").write_text(str({"labels": labels}).replace("'", '"'))
    protocol = Protocol(data=str(data), classifier_data=str(learnt), samples=30)
    with pytest.raises(
        UserError, match=r"classifier_images=2000: none of the 30 of .*learnt has class 1, which .*data"
    ):
        evaluate(str(data), protocol)


def test_a_teacher_with_fewer_classes(make_set: MakeSet, tmp_path: Path, colours: Extractor) -> None:
    data = make_set("data", 10, seed=0)
    for count in (2, 3):
        TinyGAN(TinyGANConfig(16, [8, 8, 8], count, [4])).save_pretrained(tmp_path / f"net{count}")
    protocol = Protocol(data=str(data), samples=30, latency_runs=1)
    with pytest.raises(UserError, match=r"classes differ: .*net2 has 2, .*net3 3"):
        evaluate(str(tmp_path / "net3"), protocol, teacher=str(tmp_path / "net2"))
    with pytest.raises(UserError, match=r"data: has class 2, but .*net2 only 0 to 1"):
        evaluate(str(data), protocol, teacher=str(tmp_path / "net2"))


def test_a_result_belongs_to_the_images_of_its_classifier(make_set: MakeSet) -> None:
    data, learnt = make_set("data", 3, seed=0), make_set("learnt", 3, seed=1)
    protocol = Protocol(data=str(data), classifier_data=str(learnt))
    before = data_hashes(protocol)
    assert set(before) == {"data_sha256", "classifier_data_sha256"}
    (learnt / "red" / "002.png").unlink()
    after = data_hashes(protocol)
    assert after["data_sha256"] == before["data_sha256"]
    assert after["classifier_data_sha256"] != before["classifier_data_sha256"]
    # without a classifier the key stays as it was, so that earlier results are not measured again
    assert set(data_hashes(replace(protocol, classifier_data=None))) == {"data_sha256"}
