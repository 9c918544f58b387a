"""Turned faces are measured angle by angle, against what a person can check by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from distilgan.data.face_pairs import FacePairs, people_digest
from distilgan.data.images import to_float
from distilgan.errors import UserError
from distilgan.evaluation.dynamics import correlation, dynamics
from distilgan.evaluation.faces.card import frontal_card
from distilgan.evaluation.faces.frontalizers import open_frontalizer
from distilgan.evaluation.faces.measure import FrontalProtocol, FrontalResult, evaluate_frontal
from distilgan.evaluation.faces.named import evaluate_named, turns_faces
from distilgan.networks.identity import IdentityConfig, IdentityNetwork
from distilgan.networks.tpgan import TPGAN
from distilgan.pipeline import execute
from distilgan.pipeline.frontal import FrontalKind
from distilgan.pipeline.identity import IdentityKind
from distilgan.recipe import AnyRecipe, load_recipe
from distilgan.runs import Run, load_model
from tests.conftest import write_faces
from tests.recipes import identity_recipe, metakd_recipe, tpgan_recipe

PROTOCOL = FrontalProtocol(data="faces", resolution=32, latency_runs=1)


class Colour(nn.Module):
    """Takes the direction of the mean colour for the person."""

    def forward(self, faces: Tensor) -> Tensor:
        return nn.functional.normalize(faces.mean((2, 3)), dim=1)


def truth(pairs: FacePairs) -> Tensor:
    return torch.stack([to_float(pairs[i][1]) for i in range(len(pairs))])


def test_a_perfect_student_has_perfect_figures(faces: Path) -> None:
    pairs = FacePairs(faces, 32)
    result = evaluate_frontal("it", lambda f, at: truth(pairs), pairs, PROTOCOL, lambda f, at: truth(pairs), Colour())
    assert result.source == "it"
    m = result.metrics
    assert (m["psnr_truth"], m["ssim_truth"], m["perceptual_truth"]) == pytest.approx((100, 1, 0), abs=1e-5)
    assert (m["psnr_teacher"], m["identity_truth"]) == pytest.approx((100, 1), abs=1e-5)
    assert result.profile["psnr_truth"] < 15  # unturned noise


def test_means_leave_frontal_faces_out_and_angles_are_apart(faces: Path) -> None:
    """A student that leaves faces as they are is right at 0 degrees alone."""
    pairs = FacePairs(faces, 32)
    result = evaluate_frontal("it", lambda f, at: f, pairs, PROTOCOL)
    by_yaw = result.by_yaw["student"]["psnr_truth"]
    assert list(by_yaw) == ["-90", "0", "30"]
    assert by_yaw["0"] == 100
    assert result.metrics["psnr_truth"] == pytest.approx((by_yaw["-90"] + by_yaw["30"]) / 2)
    assert result.metrics["psnr_truth"] == result.profile["psnr_truth"]
    error = (truth(pairs)[0] - to_float(pairs[0][0])).square().mean() / 4
    assert evaluate_frontal("it", lambda f, at: f, pairs.subset([0]), PROTOCOL).metrics["psnr_truth"] == pytest.approx(
        -10 * math.log10(float(error)), rel=1e-5
    )
    assert result.protocol["turned"] == 16


def test_recognition_looks_in_a_gallery_of_other_moments(faces: Path) -> None:
    """Four colours for four people; one of them made in another's colour is not recognised."""
    pairs = FacePairs(faces, 32)
    colours = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])

    def in_colours(who: Tensor) -> Tensor:
        return (colours[who] * 2 - 1)[:, :, None, None].expand(-1, -1, 32, 32)

    pairs._known = {
        name: (((in_colours(torch.tensor([int(name[:3]) - 1]))[0] + 1) * 127.5).to(torch.uint8), at)
        for name, (_, at) in pairs._known.items()
    }
    right, wrong = pairs.identity, torch.where(pairs.identity == 3, 0, pairs.identity)
    found = evaluate_frontal("it", lambda f, at: in_colours(right), pairs, PROTOCOL, None, Colour())
    assert found.metrics["rank1"] == 1
    assert found.protocol["gallery"] == 4
    assert found.protocol["probes"] == 8  # the second moment, its two turned pictures of each
    one_off = evaluate_frontal("it", lambda f, at: in_colours(wrong), pairs, PROTOCOL, None, Colour())
    assert one_off.metrics["rank1"] == 0.75
    assert one_off.truth["rank1"] == 1  # what can be reached


def test_asymmetry_by_hand(faces: Path) -> None:
    pairs = FacePairs(faces, 32)
    half = torch.zeros(24, 3, 32, 32)
    half[..., :16] = 1.0
    result = evaluate_frontal("it", lambda f, at: half, pairs, PROTOCOL)
    assert result.metrics["asymmetry"] == 1.0
    assert result.truth["asymmetry"] == pytest.approx(0.667, abs=0.02)  # of uniform noise in [-1, 1]


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Callable[[AnyRecipe, Path], Run]:
    """Runs without what follows the training, of which an export to ONNX takes half a minute."""

    def trained(recipe: AnyRecipe, path: Path) -> Run:
        with monkeypatch.context() as m:
            for kind in (FrontalKind, IdentityKind):
                m.setattr(kind, "finish", lambda *_: None)
            return execute(recipe, path)

    return trained


def test_runs_are_measured_on_people_they_have_not_seen(
    faces: Path, tmp_path: Path, train: Callable[[AnyRecipe, Path], Run]
) -> None:
    others = write_faces(tmp_path / "others", first=11)
    short = {"training": {"images": 8}, "evaluation": {"data": str(others), "latency_runs": 1}}
    teacher = train(tpgan_recipe(faces, **short), tmp_path / "teacher")
    run = execute(
        metakd_recipe(faces, teacher.path, balancer={"every": 1, "held_out": 0.3}, **short), tmp_path / "student"
    )
    figures = json.loads((run.path / "metrics.json").read_text())
    assert figures["protocol"]["held_out"] is True
    assert {"psnr_truth", "psnr_teacher", "ssim_teacher", "asymmetry"} <= set(figures["metrics"])
    assert set(figures["cost"]) == {"student", "teacher", "ONNX"}
    assert json.loads((run.student / "config.json").read_text())["yaw"] == [-90, 30]
    page = (run.path / "report.html").read_text()
    assert "people that it has not seen" in page
    assert "Angle by angle" in page
    card = (run.student / "README.md").read_text()
    assert "Learnt from 4 people, yaws from -90 to 30 degrees, its teacher's included." in card
    assert "Loss weights: metakd." in card
    assert str(tmp_path) not in card.replace(str(teacher.path), "")
    before = (run.path / "metrics.json").stat().st_mtime_ns
    execute(run.recipe, run.path)
    assert (run.path / "metrics.json").stat().st_mtime_ns == before  # nothing is measured twice
    the_file_measures_alike(run, others)
    leak = write_faces(tmp_path / "leak", first=4)
    changed = metakd_recipe(faces, teacher.path, evaluation={"data": str(leak)})
    with pytest.raises(UserError, match="identity 004 is in"):
        execute(changed, tmp_path / "third")
    assert not (tmp_path / "third").exists()


def the_file_measures_alike(run: Run, data: Path) -> None:
    names = [str(run.student), str(run.path / "export" / "model.onnx")]
    assert all(turns_faces(name) for name in names)
    batch = FacePairs(data, 32).batch([0, 1, 2]).to(torch.device("cpu"))
    one, other = (open_frontalizer(name)(batch.profile, batch.landmarks) for name in names)
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
    first, second = (evaluate_named(name, str(data), None, None) for name in names)
    assert first.metrics["psnr_truth"] == pytest.approx(second.metrics["psnr_truth"], abs=1e-3)
    assert first.protocol["held_out"] is None
    with pytest.raises(UserError, match="give --data"):
        evaluate_named(names[0], None, None, None)
    for name in names:  # an exported file knows whom it has learnt from, too
        with pytest.raises(UserError, match=r"--data=.*has learnt from identity 001"):
            evaluate_named(name, run.recipe.data.path, None, None)
    with pytest.raises(
        UserError, match=r"--identity=nobody: no such network; give a run, a folder, builtin:NAME, an \.onnx"
    ):
        evaluate_named(names[0], str(data), None, "nobody")


def test_people_whom_teacher_or_judge_know_are_no_test(
    faces: Path, tmp_path: Path, train: Callable[[AnyRecipe, Path], Run]
) -> None:
    """The teacher's people are other than the student's."""
    others, third = write_faces(tmp_path / "others", first=11), write_faces(tmp_path / "third", first=21)
    short = {"training": {"images": 8}, "evaluation": {"data": str(third), "latency_runs": 1}}
    teacher = train(tpgan_recipe(others, **short), tmp_path / "teacher")
    known = json.loads((teacher.student / "config.json").read_text())["people"]
    assert len(known.split()) == 4
    assert "011" not in known  # a person's name is not given away
    short["balancer"] = {"every": 1}
    changes = {**short, "evaluation": {"data": str(others), "latency_runs": 1}}
    with pytest.raises(UserError, match=r"evaluation\.data=.*teacher has learnt from identity 011 and 3 more"):
        execute(metakd_recipe(faces, teacher.path, **changes), tmp_path / "student")
    student = train(metakd_recipe(faces, teacher.path, **short), tmp_path / "student")
    for data in (faces, others):
        with pytest.raises(UserError, match=r"--data=.*has learnt from identity"):
            evaluate_named(str(student.path), str(data), None, None)
    judge = train(identity_recipe(third, training={"images": 8}), tmp_path / "judge")
    with pytest.raises(UserError, match="judge has learnt from identity 021"):
        evaluate_named(str(student.path), str(third), None, str(judge.path))


def test_correlations_of_weights_and_losses(tmp_path: Path) -> None:
    x = torch.tensor([1.0, 2, 3, 4]).double()
    assert correlation(x, 3 - 2 * x) == pytest.approx(-1)
    assert correlation(x, torch.ones(4).double()) == 0
    log = tmp_path / "log.jsonl"
    lines = []
    for i in range(8):
        factors = {"pixel": 1 + 0.1 * i**2, "local": 1 - 0.1 * i**2}
        losses = {"pixel": -0.3 * i, "local": -0.1 * i**2}
        terms = {name: math.exp(value) for name, value in losses.items()}
        lines.append({"images": i, "terms": terms, "balance": {"factor": factors, "alignment": losses}})
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe = load_recipe("metakd", ["losses.feature=0"])
    page = dynamics(log, recipe)
    assert "say nothing" in page
    assert "signals=shuffled" in page
    assert "-1.00" in page
    assert all(text in page for text in ("factor on each loss weight", "normalised loss", "cosine with the meta-loss"))
    page = dynamics(log, load_recipe("metakd", ["losses.feature=0", "balancer.kind=uncertainty"]))
    assert "answers to its own loss alone" in page
    assert "sum is fixed" not in page
    assert "signals=shuffled" not in page
    fixed = [{k: v for k, v in line.items() if k != "balance"} for line in lines]
    log.write_text("".join(json.dumps(line) + "\n" for line in fixed))
    page = dynamics(log, recipe)
    assert "normalised loss" in page
    assert "factor" not in page
    assert dynamics(log, load_recipe("tpgan-faces")) == ""


def test_one_person_cannot_be_taken_for_another(faces: Path) -> None:
    """A gallery of one would give a rank-1 of 1, whatever the picture."""
    torch.manual_seed(1)
    network = IdentityNetwork(IdentityConfig(32, [4, 8], 6)).eval()
    pairs = FacePairs(faces, 32)
    one = pairs.subset([i for i, row in enumerate(pairs.rows) if row.identity == "001"])
    figures = evaluate_frontal("it", lambda f, at: f, one, PROTOCOL, identity=network).metrics
    assert "identity_truth" in figures
    assert not {"rank1", "identity_other"} & set(figures)
    assert "rank1" in evaluate_frontal("it", lambda f, at: f, pairs, PROTOCOL, identity=network).metrics


def test_a_student_without_a_teacher_has_learnt_from_its_own_people(
    faces: Path, tmp_path: Path, train: Callable[[AnyRecipe, Path], Run]
) -> None:
    others = write_faces(tmp_path / "others", first=11)
    like = train(tpgan_recipe(others, training={"images": 8}), tmp_path / "like")
    alone = {"like": str(like.path), "losses": {"feature": 0}, "balancer": {"kind": "fixed"}, "training": {"images": 8}}
    run = train(metakd_recipe(faces, None, **alone), tmp_path / "alone")
    facts = json.loads((run.student / "config.json").read_text())
    assert facts["people"] == people_digest(FacePairs(faces, 32))
    card = frontal_card(run.recipe, FrontalResult("it"), facts, load_model(run.path, TPGAN))
    assert f"No teacher; its sizes are shares of those of `{like.path}`" in card
    assert "teacher's included" not in card
