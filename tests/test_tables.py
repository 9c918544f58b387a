"""The tables in README and docs are those of benchmarks/results/."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from distilgan.evaluation.sources import load_stylegan2
from distilgan.networks.pretrained import weights_sha256

ROOT = Path(__file__).parents[1]


def test_tables_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "tables.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", sorted(p.stem for p in (ROOT / "benchmarks" / "results").glob("*.json")))
def test_results_have_the_agreed_shape(name: str) -> None:
    tree = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
    assert {"command", "protocol", "machine", "rows"} <= set(tree)
    if name.startswith("stylekd"):
        teacher = load_stylegan2("builtin:faces32-teacher")
        assert tree["protocol"]["teacher_sha256"] == weights_sha256(teacher), "measured with an older packaged teacher"
    if name == "stylekd":
        rows = {row["name"]: row for row in tree["rows"]}
        assert {"teacher", "scratch", "cagc", "published", "default"} <= set(rows)
        for row_name in ("scratch", "cagc", "published", "default"):
            row = rows[row_name]
            assert {"params", "macs", "latency_ms", "latency_ratio_to_teacher", "seeds", "metrics"} <= set(row)
            assert len(row["seeds"]) >= 3
            for metric in ("kid_data", "fid_data", "kid_teacher", "perceptual_teacher"):
                assert len(row["metrics"][metric]["values"]) == len(row["seeds"])
                assert row["metrics"][metric]["sd"] >= 0
