"""Where a student's lessons come from: a teacher of any kind, a store of its pairs; and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from distilgan.data.feed import Feed
from distilgan.data.images import ImageSet
from distilgan.data.pair_writer import draw_pairs, import_pairs
from distilgan.errors import UserError
from distilgan.methods.draws import Draws
from distilgan.methods.teaching import Teaching
from distilgan.networks.distylegan import DiStyleGAN
from distilgan.networks.tinygan import TinyGAN, TinyGANConfig
from tests.conftest import conditional
from tests.methods.test_tinygan import batch_of, prepared
from tests.recipes import tinygan_recipe


def test_lessons_of_a_store_and_of_a_black_box(
    labelled_folder: Path, conditional_teacher: Path, tmp_path: Path
) -> None:
    store = draw_pairs(tmp_path / "store", conditional_teacher, "T", 24, truncation=0.7)
    for teacher in (conditional_teacher, None):  # without it the student knows the pictures alone
        method = prepared(labelled_folder, teacher, pairs={"store": str(store), "truncation": 0.7})
        lesson = method._lesson(batch_of(method, labelled_folder), Draws(0, 0, 8))
        with torch.no_grad():
            expected = conditional("biggan")(lesson.z, lesson.label, truncation=0.7)
        assert lesson.target is not None
        assert float((lesson.target - expected).abs().max()) < 1.01 / 127.5
        method.step([batch_of(method, labelled_folder)], [Draws(0, 0, 8)])


def test_image_shaped_latents_of_a_black_box(labelled_folder: Path, tmp_path: Path) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    made = {
        "images": rng.integers(0, 255, (24, 3, 16, 16), dtype=np.uint8),
        "latents": rng.normal(size=(24, 3, 16, 16)).astype(np.float32),
        "labels": rng.integers(0, 5, 24),
    }
    for name, array in made.items():
        np.save(tmp_path / f"{name}.npy", array)
    files = {name: tmp_path / f"{name}.npy" for name in made}
    store = import_pairs(tmp_path / "store", **files, num_classes=5)
    method = prepared(labelled_folder, None, pairs={"store": str(store)})
    assert {"feature", "critic_gan"} <= set(method.step([batch_of(method, labelled_folder)], [Draws(0, 0, 8)]))
    assert method.generator(**method.generator.sample_inputs(2)).shape == (2, 3, 16, 16)


def test_uniform_latents_for_the_teacher_and_normal_ones_for_the_random_term(
    labelled_folder: Path, conditional_teacher: Path
) -> None:
    """DiStyleGAN as published."""
    method = prepared(
        labelled_folder,
        conditional_teacher,
        pairs={"latent": "uniform"},
        student={"architecture": "distylegan", "channels": [8, 8, 4], "project_dim": 4},
    )
    assert isinstance(method.generator, DiStyleGAN)
    lesson = method._lesson(batch_of(method, labelled_folder), Draws(0, 0, 8))
    assert 0 <= float(lesson.z.min()) < float(lesson.z.max()) < 1
    assert float(lesson.random_z.min()) < 0


@pytest.mark.parametrize("kind", ["biggan-deep", "tinygan", "distylegan", "stylegan2"])
def test_any_conditional_generator_can_teach(kind: str, labelled_folder: Path, tmp_path: Path) -> None:
    conditional(kind).save_pretrained(tmp_path / "teacher")
    method = prepared(labelled_folder, tmp_path / "teacher", pairs={"truncation": 0.8})
    report = method.step([batch_of(method, labelled_folder)], [Draws(0, 0, 8)])
    assert all(bool(torch.isfinite(value)) for value in report.values())


def test_teachers_moments_are_those_of_its_pictures(labelled_folder: Path, conditional_teacher: Path) -> None:
    method = prepared(labelled_folder, conditional_teacher, losses={"moments": 1.0, "moments_samples": 100})
    moments = method._teacher_moments()
    assert moments.first.shape == (5, 1280)
    pictures, labels = (
        torch.cat(x) for x in zip(*method.teaching.examples(100, method.seed, torch.device("cpu")), strict=True)
    )
    assert torch.bincount(labels).tolist() == [20] * 5
    assert method.perception is not None
    with torch.no_grad():
        features = method.perception(F.interpolate(pictures[labels == 2], (96, 96), mode="bilinear", antialias=True))
    torch.testing.assert_close(moments.first[2], features.mean(0), atol=1e-4, rtol=1e-3)
    assert method._teacher_moments() is moments


def refused(message: str, images: Path, teacher: Path | None, **changes: Any) -> None:
    with pytest.raises(UserError, match=message) as caught:
        prepared(images, teacher, **changes)
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_together_is_refused(
    labelled_folder: Path, image_folder: Path, conditional_teacher: Path, teacher_folder: Path, tmp_path: Path
) -> None:
    store = draw_pairs(tmp_path / "store", conditional_teacher, "T", 24, truncation=0.5)
    conditional("tinygan").save_pretrained(tmp_path / "other")
    at = {"pairs": {"store": str(store), "truncation": 0.5}}
    refused("made by another teacher", labelled_folder, tmp_path / "other", **at)
    refused(
        r"drawn at truncation 0\.5; set pairs\.truncation=0\.5",
        labelled_folder,
        conditional_teacher,
        pairs={"store": str(store)},
    )
    refused(
        r"set pairs\.latent=normal", labelled_folder, conditional_teacher, pairs={**at["pairs"], "latent": "uniform"}
    )
    refused("has no classes; tinygan needs", labelled_folder, teacher_folder)
    refused("has no classes; give labels", image_folder, conditional_teacher)
    refused(r"set data\.resolution=16", labelled_folder, conditional_teacher, data={"resolution": 8})
    refused(
        r"student\.channels has 2 entries; 16 px needs 3",
        labelled_folder,
        conditional_teacher,
        student={"channels": [8, 8]},
    )
    refused(
        "losses.moments_samples=4: the teacher has 5 classes",
        labelled_folder,
        conditional_teacher,
        losses={"moments": 1.0, "moments_samples": 4},
    )
    TinyGAN(TinyGANConfig(16, [8, 8, 8], 7, [6], embed_dim=4)).save_pretrained(tmp_path / "seven")
    of_seven = {"store": str(draw_pairs(tmp_path / "seven-store", tmp_path / "seven", "T", 8))}
    losses = {"distill_gan": 1.0}
    refused(
        "has 7 classes, .* has 5", labelled_folder, None, like=str(conditional_teacher), pairs=of_seven, losses=losses
    )
    refused(r"critic\.channels has 6 entries", labelled_folder, conditional_teacher, critic={"channels": [8] * 6})
    refused("the critic has 2 layers", labelled_folder, conditional_teacher, losses={"feature_layers": [1.0]})
    for i in range(3):
        (labelled_folder / f"more{i}").mkdir()
        (labelled_folder / f"more{i}" / "x.png").write_bytes((labelled_folder / "class0" / "000.png").read_bytes())
    refused("has class 7, but the teacher only 0 to 4", labelled_folder, conditional_teacher)


def test_folders_that_are_not_the_teachers_classes(labelled_folder: Path, conditional_teacher: Path) -> None:
    """Of three folders the last is number 2, whichever class of the teacher's it shows."""
    for name in ("class1", "class3"):
        shutil.rmtree(labelled_folder / name)
    refused(r"has 3 classes, the teacher 5; say in dataset\.json", labelled_folder, conditional_teacher)


def test_moments_need_two_pictures(labelled_folder: Path, conditional_teacher: Path) -> None:
    method = prepared(labelled_folder, conditional_teacher, losses={"moments": 1.0, "moments_samples": 10})
    with pytest.raises(UserError, match=r"training\.batch: losses\.moments"):
        method.check_share(1)
    method.check_share(2)


def test_a_changed_teacher_is_noticed_on_resuming(labelled_folder: Path, conditional_teacher: Path) -> None:
    method = prepared(labelled_folder, conditional_teacher)
    state = method.state_dict()
    method.load_state_dict(state)
    with pytest.raises(UserError, match="weights changed since this run began"):
        method.load_state_dict({**state, "teacher_sha256": "0"})


def test_a_changed_store_is_noticed_on_resuming(
    labelled_folder: Path, conditional_teacher: Path, tmp_path: Path
) -> None:
    states = []
    for seed in (0, 1):
        store = draw_pairs(tmp_path / f"store{seed}", conditional_teacher, "T", 24, seed=seed)
        method = prepared(labelled_folder, conditional_teacher, pairs={"store": str(store)})
        states.append(method.state_dict())
    method.load_state_dict(states[1])
    with pytest.raises(UserError, match="store1: its pairs changed since this run began"):
        method.load_state_dict(states[0])


def test_examples_of_a_sorted_store_have_all_classes(
    labelled_folder: Path, conditional_teacher: Path, tmp_path: Path
) -> None:
    """Samplers often write one class after another."""
    labels = np.repeat(np.arange(5), 20)
    arrays = {"images": np.zeros((100, 3, 16, 16), np.uint8), "latents": np.random.default_rng(0).normal(size=(100, 6))}
    for name, array in {**arrays, "labels": labels}.items():
        np.save(tmp_path / f"{name}.npy", array)
    files = [tmp_path / f"{name}.npy" for name in ("images", "latents", "labels")]
    store = import_pairs(tmp_path / "store", *files, num_classes=5)
    method = prepared(labelled_folder, None, pairs={"store": str(store)})
    found = torch.cat([y for _, y in method.teaching.examples(10, 0, torch.device("cpu"))])
    assert torch.bincount(found).tolist() == [2] * 5


def test_statistics_of_the_teacher_are_checked_before(labelled_folder: Path, tmp_path: Path) -> None:
    from distilgan.networks.biggan import BigGANConfig, BigGANDeep

    config = BigGANConfig(16, [8] * 5, 5, z_dim=6, embed_dim=4, statistics=51)
    BigGANDeep(config).save_pretrained(tmp_path / "deep")
    refused(
        r"pairs\.truncation=2: truncation 2: this network has statistics",
        labelled_folder,
        tmp_path / "deep",
        pairs={"truncation": 2.0},
    )
    teaching = Teaching(tinygan_recipe(labelled_folder, tmp_path / "deep", pairs={"truncation": 0.5}))
    assert teaching.pictures(torch.randn(2, 6), torch.tensor([0, 1])).shape == (2, 3, 16, 16)


def test_labels_are_needed_where_the_feed_has_none(image_folder: Path) -> None:
    feed = Feed(ImageSet(image_folder, 16))
    assert next(feed.batches(4, 0)).labels is None
