"""Pairs of faces: tables, names, folders; and no person in two sets."""

from __future__ import annotations

import shutil
import zipfile
from itertools import islice
from pathlib import Path

import pytest
import torch
from PIL import Image

from distilgan.data.face_pairs import FaceFeed, FacePairs, check_disjoint, mirrored
from distilgan.data.face_rows import holds_pairs
from distilgan.data.face_table import POINTS, TABLE, FaceRow, five_of_68, read_landmarks, read_table, write_table
from distilgan.data.multipie import CAMERAS, parse_name
from distilgan.errors import UserError
from distilgan.networks.tpgan import template
from tests.conftest import write_faces


def test_a_table_comes_back(tmp_path: Path) -> None:
    rows = [
        FaceRow("a/1.png", "a/0.png", "anna", -90.0, [(1.0, 2.5), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0), (9.0, 10.0)]),
        FaceRow("b, 2.png", "a/0.png", "bert"),
    ]
    write_table(tmp_path / TABLE, rows)
    assert read_table((tmp_path / TABLE).read_text()) == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("profile,frontal\na,b", "has no column identity"),
        ("profile,frontal,identity", "has no rows"),
        ("profile,frontal,identity\na,,c", "line 2: frontal is empty"),
        ("profile,frontal,identity,yaw\na,b,c,left", "line 2: yaw='left' is not a number"),
        ("profile,frontal,identity,yaw\na,b,c,nan", "line 2: yaw='nan' is not finite"),
        ("profile,frontal,identity,yaw\na,b,c,400", "yaw=400 is not within"),
        ("profile,frontal,identity,nose_x\na,b,c,4", "give all ten or none"),
        ("profile;frontal;identity\na;b;c", "separated by semicolons"),
        ("profile,frontal,identity\na,b,c\na,d,c", "lines 2 and 3 are both about a;"),
        ("profile,frontal,identity\na,b", "line 2: identity is empty"),
        ('profile,frontal,identity\n"a,b,c' + "x" * 200_000, "line 2: .*quotation mark"),
        ("profile,frontal,identity\na\0,b,c", "NUL"),
    ],
)
def test_wrong_tables(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_table(text)


def test_spaces_around_cells_are_no_names() -> None:
    rows = read_table(" profile, frontal ,identity\na.png , b.png, anna\n\nc.png,b.png,anna \n")
    assert rows == [FaceRow("a.png", "b.png", "anna"), FaceRow("c.png", "b.png", "anna")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image\na.png", "has no column eye_left_x"),
        ("image,{0}\na.png,1,2,3,4,5,6,7,8,9", "line 2: has 9 of 10 coordinates"),
        ("{0},image\n1,2,3,4,5,6,7,8,9,10", "line 2: image is empty"),
        ("image,{0}\na.png,1,2,3,4,5,6,7,8,9,10\na.png,1,2,3,4,5,6,7,8,9,10", "lines 2 and 3 are both about a.png"),
        ("image,{0}", "has no landmarks in any row"),
    ],
)
def test_wrong_landmarks(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_landmarks(text.format(",".join(f"{p}_{a}" for p in POINTS for a in "xy")))


def test_five_of_sixty_eight() -> None:
    points = [(float(i), float(-i)) for i in range(68)]
    assert five_of_68(points) == [(38.5, -38.5), (44.5, -44.5), (30, -30), (48, -48), (54, -54)]
    head = ",".join(f"{axis}{i}" for i in range(68) for axis in "xy")
    cells = ",".join(f"{v}" for p in points for v in p)
    assert read_landmarks(f"image,{head}\nme.jpg,{cells}") == {"me.jpg": five_of_68(points)}
    with pytest.raises(ValueError, match="has no column eye_left_x"):
        read_landmarks("image,x0,y0\nme.jpg,1,2")


def test_names_of_multi_pie() -> None:
    name = parse_name("session01/001/001_01_02_190_07_crop.png")
    assert name is not None
    assert (name.subject, name.recording, name.yaw, str(name.frontal)) == ("001", "02", 45, "001_01_02_051_07_crop")
    assert parse_name("portrait.png") is None
    assert parse_name("001_01_02_190_071.png") is None
    assert sorted(CAMERAS.values()) == list(range(-90, 91, 15))


def test_pairs_have_partners_people_and_landmarks(faces: Path) -> None:
    pairs = FacePairs(faces, 32)
    assert len(pairs) == 24
    assert pairs.identities == ["001", "002", "003", "004"]
    assert sorted(set(pairs.yaw.tolist())) == [-90, 0, 30]
    for i, row in enumerate(pairs.rows):
        profile, frontal, at, frontal_at, person = pairs[i]
        assert torch.equal(profile, pixels(faces / row.profile))
        assert torch.equal(frontal, pixels(faces / row.frontal))
        assert pairs.identities[int(person)] == row.identity
        torch.testing.assert_close(at, template(32), atol=1e-4, rtol=0)
        assert torch.equal(frontal_at, at)


def pixels(path: Path) -> torch.Tensor:
    import numpy as np

    return torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)


def test_zip_csv_names_and_folders_hold_the_same(faces: Path, tmp_path: Path) -> None:
    expected = FacePairs(faces, 32)
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for path in faces.iterdir():
            archive.write(path, path.name)
    zipped = FacePairs(tmp_path / "faces.zip", 32)
    by_table = FacePairs(faces / TABLE, 32)
    named = tmp_path / "named"
    shutil.copytree(faces, named)
    (named / TABLE).unlink()
    by_name = FacePairs(named, 32)
    assert not by_name.landmarked
    folders = tmp_path / "folders"
    for row in expected.rows:
        for kind, source in (("profile", row.profile), ("frontal", row.frontal)):
            target = folders / kind / row.identity / row.profile
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(faces / source, target)
    by_folder = FacePairs(folders, 32)

    def content(pairs: FacePairs) -> set[tuple[bytes, bytes, str]]:
        return {
            (bytes(pairs[i][0].numpy()), bytes(pairs[i][1].numpy()), pairs.rows[i].identity) for i in range(len(pairs))
        }

    assert content(expected) == content(zipped) == content(by_table) == content(by_name) == content(by_folder)


def test_a_mirrored_pair_is_mirrored_with_its_landmarks(faces: Path) -> None:
    pairs = FacePairs(faces, 32)
    profile, frontal, at, *_ = pairs[0]
    flipped = pairs[0, True]
    assert torch.equal(flipped[0], profile.flip(-1))
    assert torch.equal(flipped[1], frontal.flip(-1))
    torch.testing.assert_close(flipped[2], mirrored(at, 32))
    torch.testing.assert_close(mirrored(mirrored(at, 32), 32), at)
    assert bool((flipped[2][0, 0] < flipped[2][1, 0]) & (flipped[2][3, 0] < flipped[2][4, 0]))  # left stays left


def test_held_out_people_are_whole_and_others(faces: Path) -> None:
    pairs = FacePairs(faces, 32)
    for seed in range(5):
        rest, held = pairs.hold_out(0.25, seed)
        assert not set(rest.identities) & set(held.identities)
        assert len(rest) + len(held) == len(pairs)
        assert len(held.identities) == 1
        assert held.identity.unique().tolist() == [0]
    assert {pairs.hold_out(0.25, seed)[1].identities[0] for seed in range(40)} == set(pairs.identities)
    with pytest.raises(UserError, match="has one identity"):
        pairs.subset([0, 1]).hold_out(0.5, 0)


def test_a_person_in_both_sets_is_an_error(faces: Path, tmp_path: Path) -> None:
    other = FacePairs(write_faces(tmp_path / "other", first=4), 32)
    mine = FacePairs(faces, 32)
    with pytest.raises(UserError, match=r"identity 004 is in data\.path=.* too"):
        check_disjoint(mine, other, ("data.path", "evaluation.data"))
    check_disjoint(mine, FacePairs(write_faces(tmp_path / "third", first=9), 32), ("data.path", "evaluation.data"))


def test_the_feed_does_not_depend_on_shares(faces: Path) -> None:
    feed = FaceFeed(FacePairs(faces, 32))
    whole = list(islice(feed.batches(8, 0, mirror=True), 4))
    parts = [list(islice(feed.batches(8, 0, mirror=True, part=p, parts=2), 4)) for p in range(2)]
    for i, batch in enumerate(whole):
        joined = torch.stack([parts[0][i].profile, parts[1][i].profile], 1).flatten(0, 1)
        assert torch.equal(batch.profile, joined)
    resumed = next(feed.batches(8, 0, start=16, mirror=True))
    assert torch.equal(resumed.landmarks, whole[2].landmarks)


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / TABLE
    path.write_text(path.read_text().replace(old, new, 1))


def test_wrong_sets_are_refused_in_one_line(faces: Path, tmp_path: Path) -> None:
    def refused(message: str, path: Path = faces) -> None:
        with pytest.raises(UserError, match=message):
            FacePairs(path, 32)

    text = (faces / TABLE).read_text()
    edit(faces, "001,-90", "001,30")
    refused("yaw of 001_01_01_110_07.png is 30, but its name's camera 110 stands at -90")
    (faces / TABLE).write_text(text)
    edit(faces, "10.75", "99.5")
    refused(r"001_01_01_110_07.png: landmark \(99.5, 10\) lies outside the picture of 32 x 32 px")
    (faces / TABLE).write_text(text)
    edit(faces, "001_01_01_110_07.png,001_01_01_051_07.png", "001_01_01_110_07.png,002_01_01_051_07.png")
    refused(
        "002_01_01_051_07.png is the frontal partner of 001_01_01_110_07.png, but its name says subject 002, camera 051"
    )
    lines = text.splitlines()
    frontal = next(i for i, line in enumerate(lines) if line.startswith("001_01_01_051_07.png,"))
    (faces / TABLE).write_text("\n".join(lines[:frontal] + lines[frontal + 1 :]))
    refused("the frontal picture 001_01_01_051_07.png has no landmarks; add a row with it as profile and as frontal")
    (faces / TABLE).write_text(text)
    (faces / "004_01_02_041_07.png").rename(tmp_path / "gone.png")
    refused("004_01_02_041_07.png is not there; paths are relative to the table")
    (faces / TABLE).unlink()
    (faces / "faces.json").write_text('{"what": "poses"}')
    refused("is not finished")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.png").write_bytes(b"x")
    refused("holds no pairs of faces", tmp_path / "empty")
    refused("no such folder", tmp_path / "nothing")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,f,anna,30", "g,f,berta,0"], "f.png is the frontal picture of anna and of berta"),
        (
            ["a,f,anna,30", "f,g,berta,0", "g,g,berta,0"],
            "f.png is the frontal picture of anna, but its own row says berta",
        ),
        (["a,f,anna,30", "f,f,anna,-90"], "f.png is a frontal picture, but its own row says yaw -90"),
    ],
)
def test_a_table_that_contradicts_itself(rows: list[str], message: str, tmp_path: Path) -> None:
    for name in "afg":
        Image.new("RGB", (32, 32)).save(tmp_path / f"{name}.png")
    cells = [row.split(",") for row in rows]
    lines = [f"{profile}.png,{frontal}.png,{person},{yaw}" for profile, frontal, person, yaw in cells]
    (tmp_path / TABLE).write_text("\n".join(["profile,frontal,identity,yaw", *lines]))
    with pytest.raises(UserError, match=message):
        FacePairs(tmp_path, 32)
    (tmp_path / TABLE).write_text("profile,frontal,identity,yaw\na.png,f.png,anna,30\nf.png,f.png,anna,0\n")
    assert len(FacePairs(tmp_path, 32)) == 2


def test_pictures_without_landmarks_are_aligned_faces(tmp_path: Path) -> None:
    """A camera's whole frame is none, whose middle would be cut out as the face."""
    for name, size in (("041", (64, 64)), ("051", (64, 64)), ("190", (640, 480)), ("200", (4, 4))):
        Image.new("RGB", size).save(tmp_path / f"001_01_01_{name}_07.png")
    pairs = FacePairs(tmp_path, 32)
    assert len(pairs) == 2
    assert pairs.skipped == {
        "001_01_01_190_07.png": "is 640 x 480 px; aligned faces are square, others need landmarks",
        "001_01_01_200_07.png": "is 4 x 4 px; no face can be seen in it",
    }


def test_unusable_files_and_missing_partners_are_said(faces: Path) -> None:
    (faces / TABLE).unlink()
    (faces / "001_01_01_110_07.png").write_bytes(b"no picture")
    (faces / "002_01_01_051_07.png").unlink()
    pairs = FacePairs(faces, 32)
    assert pairs.skipped == {
        "001_01_01_110_07.png": "not an image, whatever its name says",
        "002_01_01_110_07.png": "its frontal partner 002_01_01_051_07 is not there",
        "002_01_01_041_07.png": "its frontal partner 002_01_01_051_07 is not there",
    }
    assert len(pairs) == 24 - 1 - 3


def test_a_zip_of_a_folder_is_that_folder(faces: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "people.zip", "w") as archive:
        for path in faces.iterdir():
            archive.write(path, f"people/{path.name}")
    found = FacePairs(tmp_path / "people.zip", 32)
    assert found.landmarked
    assert found.identities == FacePairs(faces, 32).identities
    with zipfile.ZipFile(tmp_path / "people.zip", "a") as archive:
        archive.writestr("others/pairs.csv", "")
    with pytest.raises(UserError, match=r"holds several sets, others/pairs\.csv and people"):
        FacePairs(tmp_path / "people.zip", 32)


def test_paths_are_the_same_however_they_are_spelt(faces: Path) -> None:
    text = (faces / TABLE).read_text()
    (faces / TABLE).write_text(text.replace("001_01_01_110_07.png,", "./001_01_01_110_07.png,"))
    assert len(FacePairs(faces, 32)) == 24
    (faces / TABLE).write_text(text.replace("001_01_01_110_07.png,", "../001_01_01_110_07.png,"))
    with pytest.raises(UserError, match="lie in its folder or below"):
        FacePairs(faces, 32)
    (faces / TABLE).write_bytes(text.encode("utf-16"))
    with pytest.raises(UserError, match="save it as CSV UTF-8"):
        FacePairs(faces, 32)


def test_a_crop_has_a_crop_for_its_partner(faces: Path) -> None:
    (faces / TABLE).unlink()
    for path in list(faces.glob("*.png")):
        shutil.copy(path, path.with_name(f"{path.stem}_crop.png"))
    (faces / "contact_sheet.png").write_bytes((faces / "001_01_01_110_07.png").read_bytes())
    pairs = FacePairs(faces, 32)
    assert len(pairs) == 48
    assert all(("_crop" in row.profile) == ("_crop" in row.frontal) for row in pairs.rows)
    assert pairs.skipped == {"contact_sheet.png": "is not named as in Multi-PIE"}


def test_folders_of_names_as_in_multi_pie(faces: Path, tmp_path: Path) -> None:
    """Frontal files have the profile's names there, which by themselves ask for partners that are not there."""
    for kind in ("profile", "frontal"):
        (tmp_path / "set" / kind).mkdir(parents=True)
        shutil.copy(faces / "001_01_01_110_07.png", tmp_path / "set" / kind)
    pairs = FacePairs(tmp_path / "set", 32)
    assert (len(pairs), pairs.skipped, pairs.yaw.tolist()) == (1, {}, [-90])
    assert holds_pairs(tmp_path / "set")


def test_what_is_a_set_of_pairs(faces: Path, tmp_path: Path) -> None:
    assert holds_pairs(faces)
    (faces / TABLE).unlink()
    assert holds_pairs(faces)  # by names
    for path in faces.glob("*_051_*"):
        path.unlink()
    assert holds_pairs(faces)  # though partners are missing
    (tmp_path / "plain").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "plain" / "a.png")
    assert not holds_pairs(tmp_path / "plain")
    (tmp_path / "plain" / "faces.json").write_text('{"generator": "distilgan poses"}')
    assert holds_pairs(tmp_path / "plain")
    assert not holds_pairs(tmp_path / "nothing")


def test_a_face_cut_off_by_the_border_is_not_learnt_from(faces: Path) -> None:
    name = "001_01_01_110_07.png"
    with Image.open(faces / name) as image:
        image.crop((8, 8, 24, 26)).save(faces / name)  # its features alone
    text = (faces / TABLE).read_text().splitlines()
    row = next(i for i, line in enumerate(text) if line.startswith(name))
    cells = text[row].split(",")
    cells[4:] = [f"{float(v) - 8:g}" for v in cells[4:]]
    text[row] = ",".join(cells)
    (faces / TABLE).write_text("\n".join(text))
    pairs = FacePairs(faces, 32)
    assert len(pairs) == 23
    assert "of the face lies beyond the border" in pairs.skipped[name]


def test_checking_reads_what_was_not_kept_and_compares_yaws(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distilgan.data.face_pairs.IN_MEMORY", 0)
    (faces / "001_01_01_110_07.png").write_bytes(b"no picture")
    pairs = FacePairs(faces, 32)
    assert (len(pairs), pairs.skipped) == (24, {})
    pairs.subset([i for i, row in enumerate(pairs.rows) if row.yaw == 0]).check()
    pairs.subset(range(6)).check()
    assert list(pairs.skipped) == ["001_01_01_110_07.png"]
    with pytest.raises(UserError, match="half of the yaws are 90 degrees or more from what the landmarks say"):
        pairs.subset([i for i, row in enumerate(pairs.rows) if row.yaw == -90]).check()


def test_a_limit_takes_whole_people(faces: Path) -> None:
    everyone = FacePairs(faces, 32)
    for limit, people in ((1, 1), (6, 1), (13, 2), (23, 3), (24, 4)):
        pairs = FacePairs(faces, 32, limit=limit)
        assert len(pairs.identities) == people
        assert len(pairs) == 6 * people
        assert {r.profile for r in pairs.rows} <= {r.profile for r in everyone.rows}


def test_grey_pictures_are_pictures(faces: Path) -> None:
    Image.open(faces / "001_01_01_110_07.png").convert("L").save(faces / "001_01_01_110_07.png")
    pairs = FacePairs(faces, 32)
    profile = pairs[0][0]
    assert torch.equal(profile[0], profile[2])
    pairs.check()
    assert pairs.grey == {"001_01_01_110_07.png"}
