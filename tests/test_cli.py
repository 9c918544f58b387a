"""The command line as a person meets it: in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distilgan.recipe import load_recipe, packaged
from tests.conftest import Command

VERBS = [
    "recipes",
    "distill",
    "train",
    "evaluate",
    "profile",
    "sample",
    "export",
    "convert",
    "frontalize",
    "translate",
    "data",
]


def distilgan(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "distilgan.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300, check=False)


def one_line(done: subprocess.CompletedProcess[str], status: int = 2) -> str:
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_help_names_the_verbs_and_is_instant() -> None:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        done = distilgan("--help")
        times.append(time.perf_counter() - start)
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in VERBS)
    assert min(times) < 0.7


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['distilgan', '--help']\n"
        "from distilgan.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'numpy', 'lightning_fabric', 'torchmetrics', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_recipes() -> None:
    listed = json.loads(distilgan("recipes", "--json").stdout)
    assert {"stylekd-faces", "stylekd-published", "stylekd-cagc", "stylekd-scratch", "stylegan2-faces"} <= set(listed)
    keys = json.loads(distilgan("recipes", "stylekd-cagc", "--json").stdout)
    assert keys["losses.latent_direction"]["value"] == 0
    assert all(key["meaning"] for key in keys.values())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["distil"], ["distil", "distill"]),
        (["distill", "stylekd-face"], ["unknown recipe", "stylekd-faces"]),
        (["distill", "stylekd-faces", "student.kep=0.5"], ["student.kep", "student.keep"]),
        (["distill", "stylekd-faces", "--device", "tpu"], ["--device tpu", "cpu or cuda"]),
        (["distill", "stylegan2-faces"], ["distilgan train"]),
        (["train", "stylegan2-faces", "data.path=nowhere"], ["nowhere", "no such folder or zip"]),
        (["train", "stylegan2-faces", "--precision", "16"], ["training.precision"]),
        (["evaluate", "nowhere"], ["nowhere", "no such file"]),
        (["profile", "stylegan2", "resolution=abc"], ["resolution=abc", "number"]),
        (["profile", "stylegan2", "z_dim=0"], ["z_dim=0", "above 0"]),
        (["export", "nowhere"], ["nowhere", "no such folder", "builtin:NAME"]),
        (["export", "builtin:faces32-teacher"], ["builtin:faces32-teacher", "--out"]),
        (["data", "faces", "out", "--size", "8"], ["size=8", "32 to 256"]),
        (["train", "tinygan"], ["distilgan distill"]),
        (["train", "biggan-fashion", "data.path=builtin:faces64.zip"], ["faces64.zip", "has no classes"]),
        (["convert", "nowhere.pth", "out"], ["nowhere.pth", "no such file"]),
        (["data", "pairs", "nowhere", "out"], ["nowhere", "no such folder"]),
        (["data", "pairs", "builtin:faces32-teacher", "out"], ["has no classes"]),
        (["data", "pairs", "builtin:fashion32-teacher", "out", "--classes", "3-1"], ["--classes 3-1", "rising"]),
        (["data", "pairs", "builtin:fashion32-teacher", "out", "--classes", "0-10"], ["10 is out of range", "0 to 9"]),
        (["data", "pairs", "builtin:fashion32-teacher", "out", "--latent", "cauchy"], ["--latent cauchy", "uniform"]),
        (["data", "fashion-mnist", "out", "--source", "."], ["dataset-fashion-mnist", "--source"]),
        (["sample", "builtin:fashion32-teacher", "x.png", "--label", "10"], ["--label 10", "0 to 9"]),
        (["distill", "tinygan", "pairs.store=nowhere"], ["nowhere", "distilgan data pairs"]),
        (["evaluate"], ["Missing argument", "source", "distilgan evaluate --help"]),
    ],
)
def test_mistakes_get_one_line_and_status_2(
    run: Command, arguments: list[str], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, error = run(*arguments)
    (line,) = (line for line in error.splitlines() if line.strip())
    assert status == 2
    assert all(word in line for word in words), line
    assert not list(tmp_path.iterdir())


def test_a_mistake_in_a_process_of_its_own(tmp_path: Path) -> None:
    line = one_line(distilgan("distill", "stylekd-faces", "student.kep=0.5", cwd=tmp_path))
    assert line.startswith("error: unknown key student.kep")


def test_dry_run_shows_everything_and_writes_nothing(tmp_path: Path) -> None:
    done = distilgan("distill", "stylekd-faces", "--dry-run", "--json", "--seed", "7", cwd=tmp_path)
    shown = json.loads(done.stdout)
    assert shown["recipe"]["seed"] == 7
    assert shown["recipe"]["training"]["style_mixing"] == 0.9
    assert shown["plan"]["teacher_macs"] / shown["plan"]["generator_macs"] >= 8
    assert not list(tmp_path.iterdir())


def test_smoke_run_resumes_refuses_another_recipe_and_starts_over(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["distill", "stylekd-faces", "--smoke", "--out", "run", "--precision", "32"]
    first = distilgan(*arguments, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    folder = tmp_path / "run"
    made = {p.name for p in folder.iterdir()}
    assert made == {
        "recipe.yaml", "student", "checkpoints", "log.jsonl", "samples", "metrics.json", "report.html", "export",
    }  # fmt: skip
    assert {p.name for p in (folder / "student").iterdir()} == {
        "model.safetensors", "config.json", "README.md", "discriminator.safetensors",
    }  # fmt: skip
    weights = (folder / "student" / "model.safetensors").read_bytes()

    again = distilgan(*arguments, "--json", cwd=tmp_path)
    assert again.returncode == 0
    assert "images/s" not in again.stderr  # nothing is trained twice
    assert json.loads(again.stdout)["metrics"]
    assert (folder / "student" / "model.safetensors").read_bytes() == weights

    line = one_line(distilgan(*arguments, "student.keep=0.2", cwd=tmp_path))
    assert "made by another recipe (student.keep is 0.15 there and 0.2 here)" in line
    assert "--fresh" in line
    assert (folder / "student" / "model.safetensors").read_bytes() == weights

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    line = one_line(distilgan("distill", "stylekd-faces", "--smoke", "--out", "other", cwd=tmp_path))
    assert "not empty and not a run folder" in line
    line = one_line(distilgan("distill", "stylekd-faces", "--smoke", "--out", "other", "--fresh", cwd=tmp_path))
    assert (tmp_path / "other" / "thesis.txt").read_text() == "precious"

    for command in (
        ["evaluate", "run", "--samples", "16", "--reference", "16"],
        ["evaluate", "run/student", "--samples", "16", "--data", "builtin:faces64-test.zip", "--reference", "16"],
        ["evaluate", "run/export/model.onnx", "--samples", "16", "--teacher", "builtin:faces32-teacher"],
        ["profile", "run", "--runs", "2"],
        ["profile", "run/export/model.onnx", "--runs", "2", "--threads", "1"],
        ["sample", "run", "grid.png", "--count", "6"],
        ["sample", "run/export/model.onnx", "pictures", "--count", "3"],
        ["export", "run", "--out", "again"],
    ):
        assert run(*command)[0] == 0, command
    assert len(list((tmp_path / "pictures").iterdir())) == 3
    assert (tmp_path / "again" / "model.onnx").is_file()


QUICK = ["stylegan2-faces", "tinygan", "metakd", "nijigan"]
LONG = [
    "biggan-fashion",
    "distylegan-as-published",
    "identity-faces",
    "cut-scenes",
    "cut",
    "fastcut",
    "scenimefy-as-described",
    "scenimefy-as-published",
    "nijigan-report",
    "nijigan-live",
    "tinygan-as-published",
    "tinygan-scratch",
    "stylekd-published",
    "stylekd-cagc",
    "stylekd-scratch",
    "tpgan-faces",
    "tpgan-as-described",
    "tpgan-as-published",
]


def test_every_recipe_is_among_them() -> None:
    assert {*QUICK, *LONG, "stylekd-faces"} == set(packaged())


@pytest.mark.parametrize("recipe", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in LONG)])
def test_every_recipe_smokes(recipe: str, tmp_path: Path) -> None:
    verb = load_recipe(recipe).verb
    done = distilgan(verb, recipe, "--smoke", "--out", "run", "--precision", "32", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.html").is_file()


def test_pairs_are_drawn_once_and_distilled_from(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["data", "pairs", "builtin:fashion32-teacher", "pairs", "--count", "40", "--shard-size", "20"]
    for _ in range(2):  # the second time there is nothing to do
        assert run(*arguments)[0] == 0
    status, _, error = run(*arguments, "--seed", "1")
    assert status == 2
    assert "holds pairs made with seed=0" in error
    done = distilgan("distill", "tinygan", "--smoke", "pairs.store=pairs", "--out", "run", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        "intra_kid32_efficientnet_worst" not in json.loads(done.stdout)["metrics"]
    )  # three pictures a class are too few
    for command in (
        ["sample", "run", "grid.png", "--count", "20"],
        ["sample", "run/export/model.onnx", "pictures", "--count", "3", "--label", "7"],
        ["profile", "run/export/model.onnx", "--runs", "2"],
        ["export", "run", "--out", "again"],
    ):
        assert run(*command)[0] == 0, command
    line = one_line(distilgan("distill", "tinygan", "--smoke", "pairs.store=pairs", "--out", "pairs", cwd=tmp_path))
    assert "not empty and not a run folder" in line or "would write over" in line


def test_a_failed_run_has_status_1(tmp_path: Path) -> None:
    done = distilgan("train", "stylegan2-faces", "--smoke", "optimiser.lr=1e30", "--precision", "32", cwd=tmp_path)
    line = next(x for x in done.stderr.splitlines() if x.startswith("failed:"))
    assert done.returncode == 1
    assert "NaN or infinity" in line
    assert "Traceback" not in done.stderr


def test_data_check(image_folder: Path) -> None:
    (image_folder / "bad.png").write_text("no")
    found = json.loads(distilgan("data", "check", str(image_folder), "--json").stdout)
    assert found["images"] == 24
    assert list(found["skipped"]) == ["bad.png"]
    assert "bad.png" in one_line(distilgan("data", "check", str(image_folder), "--strict"))


def test_a_terminal_without_greek_letters() -> None:
    command = [sys.executable, "-m", "distilgan.cli", "recipes", "stylekd-faces"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "weight ? of R1" in done.stdout
