"""Photographs in, frontal faces out, and everything said that a person should know."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from distilgan.data.face_table import COLUMNS, TABLE, FaceRow, write_table
from distilgan.errors import UserError
from distilgan.evaluation.faces.frontalizers import Frontalizer
from distilgan.networks.tpgan import TEMPLATE
from distilgan.perception import mtcnn
from distilgan.pipeline import frontalize as turning
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
        "edge.png": FACE + np.array([-5, 60]), "cut.png": FACE + np.array([-40, 60]), "far.png": FACE + 400,
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
    photo(folder / "me.png", (64, 64)), photo(folder / "me.jpg", (64, 64))
    turned(turn, folder, tmp_path / "out", turning.provider(folder, None, True, False))
    names = {p.name for p in (tmp_path / "out").glob("*.png")}
    assert names == {"me.png.png", "me.jpg.png", "me.png.steps.png", "me.jpg.steps.png"}


def test_photographs_are_never_written_over(turn: Frontalizer, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    photo(folder / "a.png", (64, 64))
    before = (folder / "a.png").read_bytes()
    here = turning.provider(folder, None, True, False)
    for out in (folder, folder / "out"):
        with pytest.raises(UserError, match="name a folder outside it"):
            turned(turn, folder, out, here)
    assert [p.name for p in folder.iterdir()] == ["a.png"]
    turned(turn, folder / "a.png", folder, here)
    assert {p.name for p in folder.iterdir()} == {"a.png", "a.png.png", "a.png.steps.png", "faces.csv"}
    assert (folder / "a.png").read_bytes() == before
    with pytest.raises(UserError, match="is a file; name a folder"):
        turned(turn, folder / "a.png", folder / "a.png", here)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("# The whole recipe of this run, written by distilgan.\n")
    with pytest.raises(UserError, match="is a run; name another folder"):
        turned(turn, folder / "a.png", tmp_path / "run", here)


def test_names_that_are_others_results_stay_apart(turn: Frontalizer, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    photo(folder / "a.png", (64, 64)), photo(folder / "a.steps.png", (64, 64))
    turned(turn, folder, tmp_path / "out", turning.provider(folder, None, True, False))
    names = {p.name for p in (tmp_path / "out").glob("*.png")}
    assert names == {"a.png.png", "a.png.steps.png", "a.steps.png.png", "a.steps.png.steps.png"}


def test_what_failed_leaves_no_older_result(turn: Frontalizer, tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png", (64, 64))
    here = turning.provider(path, None, True, False)
    assert not turned(turn, path, tmp_path / "out", here)["a.png"].failed
    path.write_bytes(b"no picture")
    assert turned(turn, path, tmp_path / "out", here)["a.png"].failed
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["faces.csv"]


def test_nothing_that_a_call_has_not_made_is_touched(turn: Frontalizer, tmp_path: Path) -> None:
    """A person's own pictures lie beside the photographs, or where results would go."""
    album = tmp_path / "album"
    album.mkdir()
    photo(album / "anna.jpg", (64, 64))
    (album / "broken.jpg").write_bytes(b"no picture")
    here = turning.provider(album / "anna.jpg", None, True, False)
    for own in ("anna.png", "anna.steps.png", "broken.png", "faces.csv"):
        (album / own).write_bytes(b"mine")
        source = album / ("broken.jpg" if own == "broken.png" else "anna.jpg")
        with pytest.raises(UserError, match=rf"{own}: is there already, and no"):
            turned(turn, source, album, here)
        assert (album / own).read_bytes() == b"mine"
        (album / own).unlink()
    assert {p.name for p in album.iterdir()} == {"anna.jpg", "broken.jpg"}


def test_calls_share_a_folder_of_results(turn: Frontalizer, tmp_path: Path) -> None:
    """Each has its lines in the list, and replaces its own results only, also where a new neighbour changes their names."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    photo(folder / "a.jpg", (64, 64)), photo(tmp_path / "b.jpg", (64, 64))
    here = turning.provider(folder, None, True, False)

    def results() -> dict[str, str]:
        return {row["image"]: row["result"] for row in csv.DictReader((out / "faces.csv").read_text().splitlines())}

    turned(turn, folder, out, here), turned(turn, tmp_path / "b.jpg", out, here)
    assert results() == {"a.jpg": "a.png", "b.jpg": "b.png"}
    photo(folder / "a.webp", (64, 64)), photo(folder / "c.jpg", (64, 64))
    turned(turn, folder, out, here)
    assert results() == {"b.jpg": "b.png", "a.jpg": "a.jpg.png", "a.webp": "a.webp.png", "c.jpg": "c.png"}
    made = {f"{stem}{e}" for stem in ("a.jpg", "a.webp", "b", "c") for e in (".png", ".steps.png")}
    assert {p.name for p in out.iterdir()} == {*made, "faces.csv"}
    (folder / "a.jpg").unlink()  # its results stay
    turned(turn, folder, out, here)
    assert results() == {"b.jpg": "b.png", "a.jpg": "a.jpg.png", "a.webp": "a.png", "c.jpg": "c.png"}


def test_a_killed_call_has_said_which_files_are_its_own(turn: Frontalizer, tmp_path: Path) -> None:
    path, out = photo(tmp_path / "a.png", (64, 64)), tmp_path / "out"
    here = turning.provider(path, None, True, False)
    going = turning.frontalize(turn, path, out, here, None)
    next(going)
    listed = (out / "faces.csv").read_text()
    assert listed.splitlines() == ["image,yaw,made,result,notes", "a.png,,no,a.png,not reached"]
    going.close()
    (out / "faces.csv").write_text(listed)  # as a kill would have left it
    assert not turned(turn, path, out, here)["a.png"].failed


def test_the_list_is_written_when_somebody_stops_it(turn: Frontalizer, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    photo(folder / "a.png", (64, 64)), photo(folder / "b.png", (64, 64))
    going = turning.frontalize(turn, folder, tmp_path / "out", turning.provider(folder, None, True, False), None)
    next(going)
    going.close()
    assert (tmp_path / "out" / "faces.csv").read_text().splitlines() == [
        "image,yaw,made,result,notes",
        "a.png,,yes,a.png,",
    ]


def test_crops_that_are_none(turn: Frontalizer, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    photo(folder / "wide.png", (100, 60)), photo(folder / "dot.png", (4, 4)), photo(folder / "small.png", (20, 20))
    found = turned(turn, folder, tmp_path / "out", turning.provider(folder, None, True, False))
    assert "is 100 x 60 px; aligned faces are square" in found["wide.png"].notes[0]
    assert "is 4 x 4 px; no face can be seen in it" in found["dot.png"].notes[0]
    assert found["small.png"].notes == ("enlarged 3.2 times",)


def test_exchanged_sides_are_said(turn: Frontalizer, tmp_path: Path) -> None:
    """Of eyes or mouth corners, by which no head looks otherwise than the other says; and points that are no face's."""
    path = photo(tmp_path / "face.png")
    line = FACE.copy()
    line[:, 0] = 64
    for points, text in (
        (FACE[[1, 0, 2, 4, 3]], "left and right eyes are exchanged"),
        (FACE[[1, 0, 2, 3, 4]], "left and right eyes are exchanged"),
        (FACE[[0, 1, 2, 4, 3]], "left and right mouth corners are exchanged"),
        (line, "eyes, nose and mouth lie on one line"),
    ):
        landmarks(tmp_path / TABLE, {"face.png": points + 60})
        found = turned(turn, path, tmp_path / "out", turning.provider(path, None, False, False))["face.png"]
        assert found.failed
        assert text in found.notes[0]


def test_a_picture_does_not_take_another_ones_landmarks(turn: Frontalizer, tmp_path: Path) -> None:
    """By its name alone only if the row's own file is not there and no other picture has that name."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    photo(folder / "f.png"), photo(folder / "sub" / "f.png"), photo(folder / "g.png")
    table = landmarks(tmp_path / "points.csv", {"in/f.png": FACE + 60, "elsewhere/g.png": FACE + 60})
    found = turned(turn, folder, tmp_path / "out", turning.provider(folder, table, False, False))
    assert {name: t.failed for name, t in found.items()} == {"f.png": False, "sub/f.png": True, "g.png": False}


def test_names_in_a_table_as_other_systems_write_them(turn: Frontalizer, tmp_path: Path) -> None:
    """As seen from IN, with backslashes, with accents composed or not."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    photo(folder / "sub" / "f.png"), photo(folder / "e\u0301.png")
    (tmp_path / "tables").mkdir()
    table = landmarks(tmp_path / "tables" / "points.csv", {"sub\\f.png": FACE + 60, "\u00e9.png": FACE + 60})
    found = turned(turn, folder, tmp_path / "out", turning.provider(folder, table, False, False))
    assert [t.failed for t in found.values()] == [False, False]


def test_a_photograph_on_its_side_is_said(turn: Frontalizer, tmp_path: Path) -> None:
    path = photo(tmp_path / "face.jpg", (64, 64))
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(path, exif=exif)
    found = turned(turn, path, tmp_path / "out", turning.provider(path, None, True, False))["face.jpg"]
    assert found.notes == ("turned upright by its EXIF data, to which landmarks refer",)


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
    with pytest.raises(UserError, match=r"nothing\.csv: cannot be read \(No such file"):
        turning.provider(path, tmp_path / "nothing.csv", False, False)
    (tmp_path / TABLE).write_text("profile,frontal,identity\nface.png,face.png,anna\n")
    with pytest.raises(UserError, match="where are eyes, nose and mouth"):  # a table without landmarks is not asked
        turning.provider(path, None, False, False)
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
