"""People from 13 sides: where their landmarks are, what stays with them, what the packaged sets are."""

from __future__ import annotations

import itertools
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from distilgan.data.alignment import EYES_AT, MOUTH_AT, align
from distilgan.data.archives import BUILTIN
from distilgan.data.face_pairs import FacePairs, check_disjoint
from distilgan.data.face_table import TABLE, read_table
from distilgan.data.faces.head import HeadModel
from distilgan.data.faces.identity import sample_capture, sample_identity
from distilgan.data.faces.poses import RENDERER, PoseSet, landmarks_of, light_of, render_poses, seen_by
from distilgan.data.multipie import CAMERAS, parse_name
from distilgan.errors import UserError

pytest.importorskip("anny")


def test_the_packaged_set_is_what_the_renderer_makes(tmp_path: Path) -> None:
    """Person 1 of seed 0; other processors may round a pixel differently, not a picture."""
    render_poses(tmp_path / "set", PoseSet(1, size=64))
    made, packaged = FacePairs(tmp_path / "set", 64), FacePairs("builtin:poses64.zip", 64)
    assert made.rows == packaged.rows[:13]
    for i in range(13):
        difference = (made[i][0].float() - packaged[i][0].float()).abs()
        assert float(difference.mean()) < 0.5


def test_packaged_sets_hold_other_people() -> None:
    train, test = FacePairs("builtin:poses64.zip", 64), FacePairs("builtin:poses64-test.zip", 64)
    check_disjoint(train, test, ("a", "b"))
    assert (len(train), len(test)) == (60 * 13, 20 * 2 * 13)
    for name in ("poses64.zip", "poses64-test.zip"):
        with zipfile.ZipFile(BUILTIN / name) as archive:
            facts = json.loads(archive.read("faces.json"))
        assert (facts["renderer"], facts["licence"]) == (RENDERER, "CC0-1.0")


def test_fewer_cameras_take_the_same_pictures(tmp_path: Path) -> None:
    what = PoseSet(1, first=7, step=90, size=32)
    assert (what.pictures, sorted(what.cameras.values())) == (3, [-90, 0, 90])
    render_poses(tmp_path / "few", what)
    render_poses(tmp_path / "all", PoseSet(1, first=7, size=32))
    for row in read_table((tmp_path / "few" / TABLE).read_text()):
        assert (tmp_path / "few" / row.profile).read_bytes() == (tmp_path / "all" / row.profile).read_bytes()
    with pytest.raises(UserError, match="describes another set"):
        render_poses(tmp_path / "few", PoseSet(1, first=7, size=32))
    with pytest.raises(UserError, match="describes another set"):
        render_poses(tmp_path / "all", what)
    with pytest.raises(UserError, match="15, 30, 45, 90 degrees apart"):
        PoseSet(1, step=20)


def test_a_set_is_complete_resumes_and_refuses_strangers(tmp_path: Path) -> None:
    out = tmp_path / "set"
    render_poses(out, PoseSet(1, first=7, recordings=2, size=32))
    rows = read_table((out / TABLE).read_text())
    assert len(rows) == 26
    assert {row.identity for row in rows} == {"0-007"}
    for row in rows:
        name = parse_name(row.profile)
        assert name is not None
        assert name.yaw == row.yaw
        assert parse_name(row.frontal) == name.frontal
        assert (out / row.profile).is_file()
    kept = {row.profile: (out / row.profile).stat().st_mtime_ns for row in rows}
    (out / rows[3].profile).unlink()
    (out / TABLE).unlink()
    with pytest.raises(UserError, match="is not finished"):
        FacePairs(out, 32)
    render_poses(out, PoseSet(2, first=7, recordings=2, size=32))
    assert read_table((out / TABLE).read_text())[:26] == rows
    assert [k for k, t in kept.items() if (out / k).stat().st_mtime_ns != t] == [rows[3].profile]
    with pytest.raises(UserError, match=r"describes another set \(seed 0, not 1\)"):
        render_poses(out, PoseSet(2, first=7, recordings=2, size=32, seed=1))
    with pytest.raises(UserError, match="lights=20: must be 1 to 19"):
        PoseSet(1, lights=20)


def test_pictures_are_aligned_by_their_own_landmarks() -> None:
    pairs = FacePairs("builtin:poses64-test.zip", 64)
    for row in pairs.rows:
        points = np.asarray(row.landmarks)
        np.testing.assert_allclose(points[:2].mean(0), [32, EYES_AT * 64], atol=0.02)
        np.testing.assert_allclose(points[3:].mean(0), [32, MOUTH_AT * 64], atol=0.1)
        picture = pairs._known[row.profile][0]
        assert align(picture, points, 64).picture is picture  # nothing is resampled


def test_landmarks_lie_on_the_head_and_turn_with_it() -> None:
    """The nearest surface point of each is within 3 mm; seen from the front they are symmetric in depth order."""
    from distilgan.data.faces.render import Frame, rotation

    model, rng = HeadModel(), np.random.default_rng(3)
    head = model.build(sample_identity(rng), sample_capture(rng))
    points = landmarks_of(head)
    gaps = np.linalg.norm(head.part.vertices[None] - points[:, None], axis=2).min(1)
    assert gaps.max() < 0.005
    moment = sample_capture(rng)
    for yaw in CAMERAS.values():
        turned = points @ rotation(seen_by(moment, yaw, 0.0)).T
        at = Frame.aligned(turned).project(turned)
        assert at[:2].mean(0) == pytest.approx([0.5, EYES_AT], abs=1e-6)
        assert at[3:, 1].mean() == pytest.approx(MOUTH_AT, abs=1e-6)
        if abs(yaw) >= 15:
            assert np.sign(at[2, 0] - at[:2, 0].mean()) == np.sign(yaw)  # the nose points where the face does


def test_light_and_gaze_stay_with_the_person() -> None:
    from distilgan.data.faces.render import rotation

    moment = sample_capture(np.random.default_rng(0))
    lit = light_of(moment, 12, np.random.default_rng(1))
    for yaw in (-90, 30, 75):
        seen = seen_by(lit, yaw, 8.0)
        back = rotation(seen).T @ np.asarray(seen.light, np.float32)
        np.testing.assert_allclose(back, lit.light, atol=1e-5)
        eyes = np.asarray(seen.gaze) - 0.8 * np.asarray([seen.yaw, seen.pitch])  # as the renderer turns them
        np.testing.assert_allclose(eyes, lit.gaze, atol=1e-5)
    sides = [light_of(moment, code, np.random.default_rng(1)).light[0] for code in range(1, 19)]
    assert sides[0] < -0.7
    assert sides[-1] > 0.7
    assert all(b > a - 0.25 for a, b in itertools.pairwise(sides))


def test_frontal_partners_share_the_moment() -> None:
    """The frontal picture of a recording is the same for its 13 cameras, and another one's is another."""
    pairs = FacePairs("builtin:poses64-test.zip", 64)
    fronts = {row.frontal: pairs._known[row.frontal][0] for row in pairs.rows[:26]}
    assert len(fronts) == 2
    first, second = fronts.values()
    assert float((first.float() - second.float()).abs().mean()) > 5
    assert torch.equal(pairs[6][0], pairs[6][1])  # camera 051 looks at itself
