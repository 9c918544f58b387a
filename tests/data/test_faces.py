"""The renderer: reproducible, varied, and what the packaged set was made with."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from distilgan.data.archives import BUILTIN
from distilgan.data.faces.dataset import RENDERER, picture_name, render_set
from distilgan.data.faces.head import HeadModel
from distilgan.data.faces.identity import sample_capture, sample_identity
from distilgan.data.faces.mesh import Material
from distilgan.data.faces.render import render_face
from distilgan.data.images import ImageSet
from distilgan.errors import UserError

pytest.importorskip("anny")


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return HeadModel()


def test_the_packaged_set_is_what_the_renderer_makes(tmp_path: Path) -> None:
    """Pictures 0 and 1 of seed 0; other processors may round a pixel differently, not a picture."""
    render_set(tmp_path / "set", 2, 64, seed=0)
    made, packaged = ImageSet(tmp_path / "set"), ImageSet("builtin:faces64.zip", limit=2)
    for i in range(2):
        difference = (made[i].float() - packaged[i].float()).abs()
        assert float(difference.mean()) < 0.5


@pytest.mark.parametrize(("name", "count", "seed"), [("faces64.zip", 1000, 0), ("faces64-test.zip", 500, 1)])
def test_packaged_manifests(name: str, count: int, seed: int) -> None:
    with zipfile.ZipFile(BUILTIN / name) as archive:
        facts = json.loads(archive.read("faces.json"))
    assert facts["count"] == count
    assert facts["seed"] == seed
    assert facts["renderer"] == RENDERER
    assert facts["licence"] == "CC0-1.0"
    assert len(ImageSet(BUILTIN / name, 32, strict=True)) == count


def test_same_seed_same_picture_other_seed_another(model: HeadModel) -> None:
    def picture(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return render_face(model, sample_identity(rng), sample_capture(rng), 32, seed=1)

    assert np.array_equal(picture(3), picture(3))
    assert np.abs(picture(3).astype(float) - picture(4)).mean() > 5


def test_identity_stays_when_the_capture_changes(model: HeadModel) -> None:
    """The same person twice: the crown agrees but for the alignment, which follows the mouth; another person's does not."""
    first = sample_identity(np.random.default_rng(1))
    other = sample_identity(np.random.default_rng(2))
    a, b = (sample_capture(np.random.default_rng(s)) for s in (5, 6))
    one, two, three = model.build(first, a), model.build(first, b), model.build(other, a)
    skull = slice(0, len(model.template))
    crown = model.template[:, 1] > 0.08  # no expression moves the crown

    def distance(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.linalg.norm(x[skull][crown] - y[skull][crown], axis=1).mean())

    same, different = distance(one.part.vertices, two.part.vertices), distance(one.part.vertices, three.part.vertices)
    assert same < 0.004 < different
    assert same < 0.5 * different


def test_heads_are_upright_and_of_one_size(model: HeadModel) -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        head = model.build(sample_identity(rng), sample_capture(rng))
        eyes = np.stack([head.landmarks["eye_left"], head.landmarks["eye_right"]])
        mouth = np.stack([head.landmarks["mouth_left"], head.landmarks["mouth_right"]]).mean(0)
        np.testing.assert_allclose(eyes.mean(0), 0, atol=1e-5)
        assert eyes[0, 0] > 0.02
        assert abs(eyes[0, 1] - eyes[1, 1]) < 1e-4
        assert 0.05 < -mouth[1] < 0.08
        assert head.landmarks["nose"][2] > mouth[2] - 0.02
        assert {Material.SKIN, Material.EYE, Material.CLOTHES} <= set(np.unique(head.part.material).tolist())


def test_faces_differ_from_the_background_and_from_each_other() -> None:
    images = ImageSet("builtin:faces64.zip", 32, limit=200)
    pixels = torch.stack([images[i] for i in range(200)]).float()
    assert float(pixels.std(0).mean()) > 35  # people, hair, light and background vary
    centre, corner = pixels[:, :, 12:20, 12:20].mean((1, 2, 3)), pixels[:, :, :3, :3].mean((1, 2, 3))
    assert float((centre - corner).abs().mean()) > 20


def test_sets_resume_and_refuse_strangers(tmp_path: Path) -> None:
    out = tmp_path / "set"
    render_set(out, 2, 32, seed=5)
    kept = (out / picture_name(0)).stat().st_mtime_ns
    (out / picture_name(1)).unlink()
    render_set(out, 3, 32, seed=5)
    assert (out / picture_name(0)).stat().st_mtime_ns == kept
    assert len(ImageSet(out)) == 3
    with pytest.raises(UserError, match="describes another set"):
        render_set(out, 3, 32, seed=6)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").write_text("x")
    with pytest.raises(UserError, match="is not empty"):
        render_set(tmp_path / "mine", 1, 32)
    render_set(tmp_path / "set.zip", 2, 32, seed=5)
    zipped, loose = ImageSet(tmp_path / "set.zip"), ImageSet(out)
    assert torch.equal(zipped[1], loose[1])
    with pytest.raises(UserError, match="exists already"):
        render_set(tmp_path / "set.zip", 2, 32, seed=5)
