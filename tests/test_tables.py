"""The tables in README and docs are those of benchmarks/results/."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from distilgan.networks.pretrained import Pretrained, weights_sha256
from distilgan.runs import load_model

ROOT = Path(__file__).parents[1]
FAMILIES = {"stylekd": "faces32", "tinygan": "fashion32", "metakd": "poses64", "nijigan": "scenes"}


def test_tables_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "tables.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def results(prefix: str = "") -> list[str]:
    return sorted(p.stem for p in (ROOT / "benchmarks" / "results").glob(f"{prefix}*.json"))


def read(name: str) -> Any:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())


@pytest.mark.parametrize("name", results())
def test_results_say_how_they_were_made(name: str) -> None:
    assert {"command", "protocol", "machine", "rows"} <= set(read(name))


@pytest.mark.parametrize(
    ("name", "teacher"),
    [(name, f"builtin:{data}-teacher") for family, data in FAMILIES.items() for name in results(family)],
)
def test_tables_are_of_the_packaged_teacher_on_held_out_images(name: str, teacher: str) -> None:
    protocol = read(name)["protocol"]
    assert protocol["teacher_sha256"] == weights_sha256(load_model(teacher, Pretrained)), (
        "measured with an older packaged teacher"
    )
    assert protocol["held_out"] is True


STYLEKD = (
    ["scratch", "cagc", "published", "default", "default with metakd"],
    ["kid_data", "fid_data", "kid_teacher", "perceptual_teacher"],
)
TINYGAN = (
    [
        "full",
        "full with metakd",
        "full without feature term",
        "pixel only",
        "adversarial only",
        "scratch",
        "distylegan as published",
    ],
    ["kid_data", "fid_data", "intra_kid_worst", "accuracy_mean", "accuracy_worst", "kid_teacher", "psnr_teacher"],
)


METAKD = (
    [
        "no teacher", "fixed", "uncertainty", "dwa", "gradnorm", "famo", "metakd", "metakd, losses only",
        "metakd, gradients only", "metakd, shuffled",
    ],
    ["psnr_teacher", "ssim_teacher", "perceptual_teacher", "psnr_truth", "ssim_truth", "identity_truth", "rank1"],
)  # fmt: skip


LONG = (["fixed", "metakd", "fixed, local 1, feature 3", "metakd from local 1, feature 3"], METAKD[1])


NIJIGAN = (
    [
        "4 plain blocks", "ode, euler 1", "ode, euler 2", "ode, rk4", "ode, dopri5", "ode, depthwise", "nijigan",
        "nijigan-live",
    ],
    [
        "kid_style", "fid_style", "kid_teacher", "fid_teacher", "psnr_teacher", "perceptual_photo", "high_frequency",
        "psnr_exact_ode",
    ],
)  # fmt: skip
ABLATION = (
    ["report, ode", "report, content 0.15", "report, no content", "report, residual blocks"],
    NIJIGAN[1],
)

AGREED = {
    "stylekd": STYLEKD, "tinygan": TINYGAN, "metakd": METAKD, "metakd-long": LONG, "nijigan": NIJIGAN,
    "nijigan-ablation": ABLATION,
}  # fmt: skip
MEASURED = {"stylekd", "tinygan", "metakd", "metakd-long", *results("nijigan")}


@pytest.mark.parametrize(("name", "expected"), [(n, e) for n, e in AGREED.items() if n in MEASURED])
def test_the_method_tables_have_the_agreed_rows(name: str, expected: tuple[list[str], list[str]]) -> None:
    names, metrics = expected
    rows = {row["name"]: row for row in read(name)["rows"]}
    assert {"teacher", *names} <= set(rows)
    for row in (rows[n] for n in names):
        assert {"params", "macs", "latency_ms", "latency_ratio_to_teacher", "seeds", "metrics"} <= set(row)
        assert len(row["seeds"]) >= 3
        for metric in metrics:
            assert len(row["metrics"][metric]["values"]) == len(row["seeds"])
            assert row["metrics"][metric]["sd"] >= 0


def test_the_best_fixed_weights_of_the_grid_are_a_row_beside_metakd() -> None:
    grid = read("metakd-grid")["rows"][1:]
    best = max(grid, key=lambda row: row["metrics"]["psnr_teacher"]["mean"])
    assert len(grid) == 9
    assert best["name"] in {row["name"] for row in read("metakd")["rows"]}


def test_the_metakd_students_have_a_third_of_the_teachers_compute() -> None:
    rows = {row["name"]: row for row in read("metakd")["rows"]}
    assert all(row["macs"] <= rows["teacher"]["macs"] / 3 for name, row in rows.items() if name != "teacher")


def test_the_tinygan_students_have_a_sixteenth_of_the_teachers_parameters() -> None:
    rows = {row["name"]: row for row in read("tinygan")["rows"]}
    assert all(row["params"] <= rows["teacher"]["params"] / 16 for name, row in rows.items() if name != "teacher")
