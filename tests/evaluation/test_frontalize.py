"""Photographs in, frontal faces out, and everything said that a person should know."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from distilgan import frontalize as turning
from distilgan.data.face_table import COLUMNS, TABLE, FaceRow, write_table
from distilgan.errors import UserError
from distilgan.evaluation.faces.frontalizers import Frontalizer
from distilgan.networks.tpgan import TEMPLATE
from distilgan.perception import mtcnn
from tests.conftest import tiny_tpgan

FACE = np.array(TEMPLATE)


@pytest.fixture
def turn() -> Frontalizer:
    return Frontalizer(tiny_tpgan(64), "tiny")


def photo(path: Path, size: tuple[int, int] = (300, 260), mode: str = "RGB") -> Path:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).convert(mode).save(path)
    return path


def landmarks(path: Path, points: dict[str, np.ndarray]) -> Path:
    rows = [FaceRow(name, name, "x", None, [(float(x), float(y)) for x, y in p]) for name, p in points.items()]
    write_table(path, rows)
    return path


def turned(
    turn: Frontalizer, source: Path, out: Path, provider: turning.Provider, yaws: tuple[float, float] | None = None
) -> dict[str, turning.Turned]:
    return {t.name: t for t in turning.frontalize(turn, source, out, provider, yaws)}


def test_a_folder_with_a_table(turn: Frontalizer, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    photo(folder / "a.png"), photo(folder / "deep" / "b.jpg"), photo(folder / "grey.png", mode="L")
    (folder / "broken.png").write_bytes(b"no picture")
    photo(folder / "stranger.png"), photo(folder / "edge.png"), photo(folder / "cut.png"), photo(folder / "far.png")
    side = FACE.copy()
    side[:2, 0] = 64
    side[2, 0] = 64 + 19
    landmarks(folder / TABLE, {
        "a.png": FACE * 1.5 + 40, "deep/b.jpg": side * 1.2 + 40, "grey.png": FACE + 60, "broken.png": FACE,
        "edge.png": [*FACE, -5, 60], "cut.png": [*FACE, -40, 60], "far.png": FACE + 400,
    })  # fmt: skip
    found = turned(turn, folder, out, turning.provider(folder, None, False, False), (-60.0, 60.0))
    assert found["a.png"].notes == ()
    assert found["a.png"].yaw == pytest.approx(0, abs=1e-6)
    assert found["deep/b.jpg"].notes == ("turned by about 90 degrees; the network learnt from -60 to 60",)
    assert found["grey.png"].notes == ("grey; the network learnt from colour",)
    assert "of the face lies beyond the border and is filled in" in found["edge.png"].notes[0]
    for name, text in {
        "broken.png": "not an image", "stranger.png": "has no landmarks for it", "cut.png": "the face is cut off",
        "far.png": "lies outside the picture",
    }.items():  # fmt: skip
        assert found[name].failed
        assert text in found[name].notes[0]
    made = {p.relative_to(out).as_posix() for p in out.rglob("*.png")}
    assert made == {f"{n}{e}" for n in ("a", "deep/b", "grey", "edge") for e in (".png", ".steps.png")}
    assert Image.open(out / "a.png").size == (64, 64)
    rows = list(csv.DictReader((out / "faces.csv").read_text().splitlines()))
    assert {r["image"]: r["made"] for r in rows} == {n: "no" if t.failed else "yes" for n, t in found.items()}


def test_the_picture_is_what_the_network_makes_of_the_aligned_face(turn: Frontalizer, tmp_path: Path) -> None:
    path = photo(tmp_path / "face.png", (64, 64))
    found = turned(turn, path, tmp_path / "out", turning.provider(path, None, True, False))
    assert found["face.png"].yaw is None
    pixels = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)
    expected = turn(pixels[None].float() / 127.5 - 1, turn.network.centres[None])
    made = np.array(Image.open(tmp_path / "out" / "face.png")).astype(float)
    assert np.abs(made - ((expected[0] + 1) * 127.5).permute(1, 2, 0).numpy()).max() <= 1


def test_names_that_differ_in_their_ending_alone_stay_apart(turn: Frontalizer, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    photo(folder / "me.png"), photo(folder / "me.jpg")
    turned(turn, folder, tmp_path / "out", turning.provider(folder, None, True, False))
    names = {p.name for p in (tmp_path / "out").glob("*.png")}
    assert names == {"me.png.png", "me.jpg.png", "me.png.steps.png", "me.jpg.steps.png"}


def test_where_landmarks_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = photo(tmp_path / "face.png")
    with pytest.raises(UserError, match="give one of them"):
        turning.provider(path, tmp_path / "t.csv", True, False)
    monkeypatch.setattr(turning, "installed", lambda: False)
    with pytest.raises(UserError, match="where are eyes, nose and mouth"):
        turning.provider(path, None, False, False)
    (tmp_path / "t.csv").write_text(",".join(COLUMNS[1:]))
    with pytest.raises(UserError, match="has no column image"):
        turning.provider(path, tmp_path / "t.csv", False, False)
    with pytest.raises(UserError, match="no such file or folder"):
        turning.photographs(tmp_path / "nothing")


# -- the detector --------------------------------------------------------------------------------------------------------


def test_suppression_keeps_the_best_of_overlapping_boxes() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [0, 0, 4, 4]])
    scores = torch.tensor([0.8, 0.9, 0.5, 0.7])
    assert mtcnn.suppress(boxes, scores, 0.5).tolist() == [1, 3, 2]
    assert mtcnn.suppress(boxes, scores, 0.5, of_smaller=True).tolist() == [1, 2]
    assert mtcnn.suppress(boxes[:0], scores[:0], 0.5).tolist() == []


def test_without_the_package_the_cure_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mtcnn, "_weights_folder", lambda: None)
    with pytest.raises(UserError, match="pip install --no-deps facenet-pytorch"):
        mtcnn.FaceDetector()


@pytest.mark.skipif(not mtcnn.installed(), reason="facenet-pytorch is not installed")
def test_a_rendered_face_is_found_where_it_is() -> None:
    """Within 6 % of the distance from eyes to mouth of the exact landmarks; none in noise."""
    from distilgan.data.face_pairs import FacePairs

    pairs = FacePairs("builtin:poses64-test.zip", 64)
    detector, errors = mtcnn.FaceDetector(), []
    for i in [i for i, yaw in enumerate(pairs.yaw.tolist()) if abs(yaw) <= 15][:24]:
        picture = torch.nn.functional.interpolate(pairs[i][0][None].float(), size=256, mode="bicubic").clamp(0, 255)
        found = detector.landmarks(picture[0].to(torch.uint8))
        if found is not None:
            errors.append(np.abs(found / 4 - pairs[i][2].numpy()).mean() / 24)
    assert len(errors) >= 18
    assert float(np.median(errors)) < 0.06
    assert detector.landmarks(torch.randint(0, 256, (3, 120, 120), dtype=torch.uint8)) is None
