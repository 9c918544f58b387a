"""Class by class: figures against calculations of their own, and that the worst class shows."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from distilgan.data.images import ImageSet
from distilgan.errors import UserError
from distilgan.evaluation.card import model_card
from distilgan.evaluation.evaluate import evaluate
from distilgan.evaluation.fidelity import frechet_distance, kernel_distance
from distilgan.evaluation.per_class import LinearProbe, classifier_scores, intra_fid, intra_kid, spread
from distilgan.evaluation.protocol import Protocol, Result, protocol_for, protocol_of
from distilgan.evaluation.report import _worst_first, write_report
from distilgan.evaluation.sources import class_turns, drawn_inputs, open_source, write_pictures
from distilgan.export.onnx import export_onnx
from distilgan.networks.families import load_network
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.latents import LatentSpec
from distilgan.runs import start_run
from tests.conftest import conditional
from tests.recipes import stylekd_recipe, tinygan_recipe


def test_each_class_is_measured_against_its_own() -> None:
    torch.manual_seed(0)
    real, fake = torch.randn(60, 4), torch.randn(90, 4)
    real_label, fake_label = torch.arange(60) % 3, torch.arange(90) % 3
    fake[fake_label == 2] += 3
    for measure, distance in ((intra_fid, frechet_distance), (intra_kid, kernel_distance)):
        found = measure(real, real_label, fake, fake_label)
        assert set(found) == {0, 1, 2}
        for c in range(3):
            assert found[c] == pytest.approx(distance(real[real_label == c], fake[fake_label == c]), abs=1e-9)
        assert max(found, key=found.__getitem__) == 2


def test_classes_with_few_pictures_are_left_out() -> None:
    label = torch.tensor([0] * 10 + [1] * 3)
    assert set(intra_fid(torch.randn(13, 2), label, torch.randn(20, 2), torch.arange(20) % 2)) == {0}


def test_spread_names_the_worst_by_what_is_better() -> None:
    values = {0: 1.0, 1: 4.0, 2: 10.0}
    assert spread("intra_kid", values) == {
        "intra_kid_mean": 5.0, "intra_kid_median": 4.0, "intra_kid_best": 1.0, "intra_kid_worst": 10.0,
    }  # fmt: skip
    assert spread("accuracy", values, lower_is_better=False)["accuracy_worst"] == 1.0
    assert spread("accuracy", {}) == {}


def test_the_probe_is_the_minimum_of_its_loss_and_the_same_every_time() -> None:
    torch.manual_seed(0)
    label = torch.randint(3, (300,))
    features = torch.randn(300, 8) + 2 * torch.nn.functional.one_hot(label, 8)
    probe = LinearProbe(features, label, 3, decay=0.1)
    again = LinearProbe(features, label, 3, decay=0.1)
    assert torch.equal(probe.weight, again.weight)
    weight, bias = probe.weight.clone().requires_grad_(), probe.bias.clone().requires_grad_()
    x = (features - features.mean(0)) / features.std(0)
    loss = torch.nn.functional.cross_entropy(x @ weight.t() + bias, label) + 0.05 * weight.square().sum()
    gradients = torch.autograd.grad(loss, (weight, bias))
    assert max(float(g.abs().max()) for g in gradients) < 1e-3
    accuracy = probe.accuracy(features, label)
    predicted = (x @ probe.weight.t() + probe.bias).argmax(1)
    assert accuracy[1] == pytest.approx(float((predicted == label)[label == 1].double().mean()))


def test_classifier_scores_from_both_sides() -> None:
    """Generated pictures of class 1 look like class 0: seen in accuracy; those of class 2 are all alike: seen in CAS."""
    torch.manual_seed(0)

    def drawn(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        label = torch.arange(n) % 3
        return torch.randn(n, 6) + 4 * torch.nn.functional.one_hot(label, 6), label

    train, train_label = drawn(300)
    real, real_label = drawn(300)
    fake, fake_label = drawn(300)
    fake[fake_label == 1] = fake[fake_label == 0]
    scores = classifier_scores(train, train_label, real, real_label, fake, fake_label)
    assert scores["accuracy_real"][1] > 0.9
    assert scores["accuracy"][0] > 0.9 > 0.1 > scores["accuracy"][1]
    assert scores["cas"][2] > 0.9 > 0.7 > scores["cas"][1]


def test_inputs_take_the_classes_in_turn() -> None:
    assert class_turns(7, 3).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert class_turns(4, 10, [8, 2]).tolist() == [8, 2, 8, 2]
    batches = list(drawn_inputs(LatentSpec([4]), 5, 20, seed=1))
    assert torch.cat([b["label"] for b in batches]).tolist() == [i % 5 for i in range(20)]
    whole = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(torch.cat([b["z"] for b in batches]), whole)
    assert "label" not in next(drawn_inputs(LatentSpec([4]), 0, 3, seed=1))


@pytest.fixture
def protocol(labelled_folder: Path) -> Protocol:
    return Protocol(data=str(labelled_folder), samples=40, latency_runs=1, classifier_data=str(labelled_folder))


@pytest.mark.parametrize("kind", ["biggan", "tinygan", "stylegan2"])
def test_network_and_onnx_alike(kind: str, tmp_path: Path, protocol: Protocol) -> None:
    network = conditional(kind)
    network.save_pretrained(tmp_path / "net")
    export_onnx(network, tmp_path / "onnx")
    first, second = (
        evaluate(str(source), protocol, teacher=str(tmp_path / "net"))
        for source in (tmp_path / "net", tmp_path / "onnx" / "model.onnx")
    )
    names = {"intra_fid40_efficientnet", "intra_kid40_efficientnet", "accuracy40_efficientnet", "cas40_efficientnet"}
    assert names | {"psnr_teacher", "ssim_teacher", "perceptual_teacher"} <= set(first.classes)
    for name in names:
        assert set(first.classes[name]) == set(range(5))
        assert f"{name}_worst" in first.metrics
    for c in range(5):
        name = "intra_kid40_efficientnet"
        assert second.classes[name][c] == pytest.approx(first.classes[name][c], rel=5e-3, abs=1e-3)
        assert first.classes["psnr_teacher"][c] == 100
    assert first.class_names == [f"class{c}" for c in range(5)]
    assert first.teacher_classes.keys() <= first.classes.keys()


@torch.no_grad()
def test_agreement_of_each_class_is_that_of_its_pictures(tmp_path: Path) -> None:
    """Against pictures drawn one by one: classes in turn, the evaluation's latents in order."""
    teacher, student = conditional("biggan"), conditional("tinygan")
    teacher.save_pretrained(tmp_path / "teacher"), student.save_pretrained(tmp_path / "student")
    protocol = Protocol(samples=20, latency_runs=1)
    result = evaluate(str(tmp_path / "student"), protocol, teacher=str(tmp_path / "teacher"))
    z = student.latent.draw(20, torch.Generator().manual_seed(protocol.seed))
    by_class: dict[int, list[float]] = {c: [] for c in range(5)}
    for i in range(20):
        given = z[i : i + 1], torch.tensor([i % 5])
        error = float((teacher(*given) - student(*given)).double().square().mean()) / 4  # of pictures in [0, 1]
        by_class[i % 5].append(-10 * math.log10(error))
    for c, values in by_class.items():
        assert result.classes["psnr_teacher"][c] == pytest.approx(sum(values) / 4, abs=1e-3)
    assert len({round(v, 3) for v in result.classes["psnr_teacher"].values()}) == 5


def test_data_with_other_classes(tmp_path: Path, labelled_folder: Path, protocol: Protocol) -> None:
    from distilgan.networks.tinygan import TinyGAN, TinyGANConfig

    TinyGAN(TinyGANConfig(16, [8, 8, 8], 3, [4])).save_pretrained(tmp_path / "three")
    with pytest.raises(UserError, match=r"has class 4, but .* only 0 to 2"):
        evaluate(str(tmp_path / "three"), protocol)
    TinyGAN(TinyGANConfig(16, [8, 8, 8], 9, [4])).save_pretrained(tmp_path / "nine")
    result = evaluate(str(tmp_path / "nine"), protocol)  # of its nine classes the data's five are drawn
    assert set(result.classes["intra_fid40_efficientnet"]) == set(range(5))
    conditional("tinygan").save_pretrained(tmp_path / "five")
    with pytest.raises(UserError, match=r"latents differ|classes differ"):
        evaluate(str(tmp_path / "nine"), protocol, teacher=str(tmp_path / "five"))


def test_the_teacher_is_drawn_at_the_truncation_of_its_pairs(labelled_folder: Path, conditional_teacher: Path) -> None:
    recipe = tinygan_recipe(labelled_folder, conditional_teacher, pairs={"truncation": 0.5})
    protocol = protocol_of(recipe)
    assert (protocol.truncation, protocol.teacher_truncation) == (1.0, 0.5)
    assert protocol.classifier_data == str(labelled_folder)


def test_the_teacher_follows_a_given_truncation(
    labelled_folder: Path, conditional_teacher: Path, image_folder: Path, teacher_folder: Path, tmp_path: Path
) -> None:
    recipe = tinygan_recipe(labelled_folder, conditional_teacher, pairs={"truncation": 0.5})
    run = start_run(tmp_path / "run", recipe, fresh=False)
    protocol, _ = protocol_for(str(run.path), truncation=0.4)
    assert (protocol.truncation, protocol.teacher_truncation) == (0.4, 0.2)
    conditional("tinygan").save_pretrained(tmp_path / "student", pairs_truncation=0.5)
    assert protocol_for(str(tmp_path / "student"))[0].teacher_truncation == 0.5
    assert protocol_for(str(tmp_path / "student"), truncation=0.4)[0].teacher_truncation == 0.2
    assert protocol_for("model.onnx", truncation=0.4, teacher_truncation=0.3)[0].teacher_truncation == 0.3
    other = start_run(tmp_path / "other", stylekd_recipe(image_folder, teacher_folder), fresh=False)
    assert protocol_for(str(other.path), truncation=0.4)[0].teacher_truncation is None


def test_report_and_card_of_a_conditional_run(
    labelled_folder: Path, conditional_teacher: Path, tmp_path: Path, protocol: Protocol
) -> None:
    (labelled_folder / "class0").rename(labelled_folder / "a<b>&'c")
    recipe = tinygan_recipe(labelled_folder, conditional_teacher)
    teacher = load_network(conditional_teacher, ImageGenerator)
    result = evaluate(str(conditional_teacher), protocol, teacher=str(conditional_teacher))
    result = type(result)(
        **{**json.loads(result.to_json()), "classes": result.classes, "teacher_classes": result.teacher_classes}
    )
    card = model_card(recipe, result, {"family": "biggan"}, teacher)
    assert "one of 5 classes" in card
    assert "generator.sample_inputs(4)" in card
    write_report(
        tmp_path / "r.html", recipe, result, teacher, teacher, ImageSet(labelled_folder, 16), tmp_path / "log", card
    )
    page = (tmp_path / "r.html").read_text()
    assert "Class by class" in page
    for name in ("a&lt;b&gt;&amp;&#x27;c", *(f"class{c}" for c in range(1, 5))):
        assert f"alt='{name} teacher'" in page
        assert f"<td>{name}<td" in page
    assert "a<b>" not in page
    assert page.count("data:image/png;base64,") == 1 + 4 + 10 + 4  # data; two parts, five classes, two paths, of both


def test_the_worst_class_comes_first_whatever_was_measured() -> None:
    """KID may be there for some classes alone, or for none."""
    kid, psnr = {0: 0.1, 1: 0.3}, {0: 20.0, 1: 30.0, 2: 10.0}
    for classes, expected in [
        ({"intra_kid9_x": kid, "psnr_teacher": psnr}, [1, 0, 2]),
        ({"intra_kid9_x": {}, "psnr_teacher": psnr}, [2, 0, 1]),
        ({"perceptual_teacher": psnr}, [1, 0, 2]),
        ({}, []),
    ]:
        assert _worst_first(Result("x", classes=classes)) == expected


# -- drawing ----------------------------------------------------------------------------------------------------------


def test_pictures_of_one_class_or_all_in_turn(conditional_teacher: Path, tmp_path: Path) -> None:
    source = open_source(str(conditional_teacher))
    write_pictures(str(conditional_teacher), tmp_path / "one", 3, seed=2, label=4)
    found = torch.stack([ImageSet(tmp_path / "one")[i] for i in range(3)])
    assert torch.equal(found, next(source.pixels(3, 2, [4])))
    write_pictures(str(conditional_teacher), tmp_path / "grid.png", 10, seed=2)
    from PIL import Image

    assert Image.open(tmp_path / "grid.png").size == (5 * 98 - 2, 2 * 98 - 2)  # a column for each class


@pytest.mark.parametrize(("label", "message"), [(5, "has the classes 0 to 4"), (-1, "has the classes 0 to 4")])
def test_classes_out_of_range(conditional_teacher: Path, tmp_path: Path, label: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        write_pictures(str(conditional_teacher), tmp_path / "x", 2, 0, label=label)
    assert not (tmp_path / "x").exists()


def test_a_class_for_a_generator_without(teacher_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--label 0: .* has no classes"):
        write_pictures(str(teacher_folder), tmp_path / "x", 2, 0, label=0)


def test_truncations_without_statistics(tmp_path: Path) -> None:
    from distilgan.networks.biggan import BigGANConfig, BigGANDeep

    BigGANDeep(BigGANConfig(8, [8, 8, 8], 2, z_dim=4, embed_dim=4, statistics=51)).save_pretrained(tmp_path / "deep")
    with pytest.raises(UserError, match="statistics for truncations above 0 and up to 1"):
        open_source(str(tmp_path / "deep"), truncation=1.3)
