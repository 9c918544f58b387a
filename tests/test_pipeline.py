"""Runs as wholes: what may share a folder, what is made again, whose terms a student carries."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from distilgan import load
from distilgan.data.pair_writer import draw_pairs
from distilgan.data.pairs import PairStore
from distilgan.errors import UserError
from distilgan.files import locked
from distilgan.methods.channel_scores import channel_scores
from distilgan.networks.biggan import BigGANConfig, BigGANDeep
from distilgan.networks.pretrained import read_config
from distilgan.networks.stylegan2 import StyleGAN2
from distilgan.pipeline import execute, plan
from distilgan.recipe import StyleKDRecipe, dump_recipe
from tests.conftest import conditional, tiny_generator
from tests.recipes import gan_recipe, stylekd_recipe, tinygan_recipe

EVALUATION = {"samples": 8, "latency_runs": 1}


def tiny(images: Path, teacher: Path, **changes: object) -> StyleKDRecipe:
    small = {"training": {"images": 16, "checkpoint": 8, "sample": 16}, "evaluation": EVALUATION, "losses": {"gan": 0}}
    return stylekd_recipe(images, teacher, **{**small, **changes})


def test_a_run_is_a_teacher_and_its_terms_are_passed_on(image_folder: Path, tmp_path: Path) -> None:
    recipe = gan_recipe(image_folder, training={"images": 8}, evaluation=EVALUATION, licence="ours")
    execute(recipe, tmp_path / "teacher")
    run = execute(tiny(image_folder, tmp_path / "teacher"), tmp_path / "student")
    facts = read_config(run.student)
    assert facts["teacher_licence"] == "ours"
    assert "(its licence: ours)" in (run.student / "README.md").read_text()
    assert load(run.path).config.channels == [4] * 6
    (run.student / "README.md").unlink()
    execute(tiny(image_folder, tmp_path / "teacher", licence="mine"), run.path)  # known only afterwards
    assert read_config(run.student)["licence"] == "mine"
    assert "Licence: mine." in (run.student / "README.md").read_text()


def test_a_student_of_pairs_says_whose_they_are(labelled_folder: Path, tmp_path: Path) -> None:
    conditional("biggan").save_pretrained(tmp_path / "teacher", licence="theirs")
    store = draw_pairs(tmp_path / "store", tmp_path / "teacher", "T", 24, truncation=0.5)
    recipe = tinygan_recipe(
        labelled_folder,
        None,
        pairs={"store": str(store), "truncation": 0.5},
        losses={"feature": 0, "distill_gan": 0, "gan": 0, "pixel_fall": None},
        training={"images": 8},
        evaluation=EVALUATION,
    )
    run = execute(recipe, tmp_path / "run")
    facts, identity = read_config(run.student), PairStore(store).identity
    assert (facts["teacher"], facts["teacher_licence"], facts["pairs_truncation"]) == ("T", "theirs", 0.5)
    assert facts["pairs"] == identity
    card = (run.student / "README.md").read_text()
    assert "Teacher: `T` (its licence: theirs)" in card
    assert identity[:16] in card
    assert not (run.student / "discriminator.safetensors").exists()  # pixels need none
    shutil.rmtree(store)
    execute(recipe, run.path)  # a finished run needs it no more
    assert read_config(run.student)["pairs"] == identity
    draw_pairs(store, tmp_path / "teacher", "T", 24, truncation=0.5, seed=1)
    with pytest.raises(UserError, match="the store has other pairs than when it was made"):
        execute(recipe, run.path)


def test_a_damaged_result_is_made_again(image_folder: Path, teacher_folder: Path, tmp_path: Path) -> None:
    run = execute(tiny(image_folder, teacher_folder), tmp_path / "run")
    weights = (run.student / "model.safetensors").read_bytes()
    model = (run.path / "export" / "model.onnx").read_bytes()
    for name, content in [
        ("student/model.safetensors", "cut"),
        ("metrics.json", '{"cut'),
        ("export/model.onnx", "cut"),
        ("log.jsonl", "[1]\n\x00\xff\n{}\nnull\n"),
        ("checkpoints/latest", ""),
    ]:
        (run.path / name).unlink()
        (run.path / name).write_text(content)
    execute(tiny(image_folder, teacher_folder), tmp_path / "run")
    assert (run.student / "model.safetensors").read_bytes() == weights
    assert json.loads((run.path / "metrics.json").read_text())["metrics"]
    assert json.loads((run.path / "export" / "export.json").read_text())["files"]
    assert (run.path / "export" / "model.onnx").read_bytes() == model
    assert (run.path / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"evaluation": {**EVALUATION, "data": "nowhere"}}, "nowhere: no such folder"),
        ({"evaluation": {**EVALUATION, "extractor": "vgg"}}, "extractor 'vgg' is unknown"),
        ({"latent_direction": {"group": 3}}, "latent_direction.group=3: does not divide"),
    ],
)
def test_what_would_fail_after_the_training_is_refused_before(
    image_folder: Path, teacher_folder: Path, tmp_path: Path, changes: dict[str, object], line: str
) -> None:
    recipe = tiny(image_folder, teacher_folder, **changes)
    for command in (execute, plan):
        with pytest.raises(UserError, match=line):
            command(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_so_is_what_the_measuring_of_classes_would_refuse(
    labelled_folder: Path, conditional_teacher: Path, tmp_path: Path
) -> None:
    for name, classes in {"renamed": "abcde", "six": "abcdef"}.items():
        for i, own in enumerate(classes):
            shutil.copytree(labelled_folder / f"class{min(i, 4)}", tmp_path / name / own)
    numbered = tmp_path / "numbered"
    shutil.copytree(tmp_path / "six", numbered)
    labels = [[f"{p.parent.name}/{p.name}", "abcdef".index(p.parent.name)] for p in sorted(numbered.glob("*/*.png"))]
    (numbered / "dataset.json").write_text(json.dumps({"labels": labels}))
    deep = BigGANConfig(16, [8] * 5, 5, z_dim=6, embed_dim=4, statistics=51)
    BigGANDeep(deep).save_pretrained(tmp_path / "deep")
    mistakes: list[tuple[Path, dict[str, object], str]] = [
        (conditional_teacher, {"data": str(tmp_path / "renamed")}, "class 0 is 'a', but 'class0' in"),
        (conditional_teacher, {"data": str(numbered)}, "has class 5, but the generator only 0 to 4"),
        (tmp_path / "deep", {"truncation": 1.5}, r"evaluation\.truncation=1\.5: .*statistics"),
    ]
    for teacher, evaluation, line in mistakes:
        recipe = tinygan_recipe(labelled_folder, teacher, evaluation={**EVALUATION, **evaluation})
        for command in (execute, plan):
            with pytest.raises(UserError, match=line):
                command(recipe, tmp_path / "run")
        assert not (tmp_path / "run").exists()


@pytest.fixture
def training_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what comes after the training, which takes longer than a tiny one."""
    monkeypatch.setattr("distilgan.pipeline.latent.LatentKind.finish", lambda *_: None)


@pytest.mark.usefixtures("training_only")
def test_an_export_folder_with_other_files_is_noticed_before(
    image_folder: Path, teacher_folder: Path, tmp_path: Path
) -> None:
    run = execute(tiny(image_folder, teacher_folder), tmp_path / "run")
    (run.path / "export").mkdir()
    (run.path / "export" / "int8.onnx").write_text("mine")
    longer = tiny(image_folder, teacher_folder, training={"images": 32, "checkpoint": 8, "sample": 16})
    with pytest.raises(UserError, match=r"int8\.onnx\); move them away"):
        execute(longer, run.path)


@pytest.mark.usefixtures("training_only")
def test_a_resumed_run_does_not_score_again(
    image_folder: Path, teacher_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scoring takes minutes, and the checkpoint has the weights; the run ends as one that was not interrupted."""
    longer = tiny(image_folder, teacher_folder, training={"images": 32, "checkpoint": 8, "sample": 16})
    whole = load(execute(longer, tmp_path / "whole").path)
    execute(tiny(image_folder, teacher_folder), tmp_path / "run")
    asked = []

    def scores(model: StyleGAN2, kind: str, *others: int) -> list[torch.Tensor]:
        asked.append(kind)
        return channel_scores(model, kind, *others)

    monkeypatch.setattr("distilgan.methods.stylekd.channel_scores", scores)
    resumed = load(execute(longer, tmp_path / "run").path)
    assert asked == ["random"]
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_a_plan_refuses_the_folders_that_a_run_would(image_folder: Path, teacher_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        plan(tiny(image_folder, teacher_folder), tmp_path / "file")


def test_a_changed_teacher_is_noticed(image_folder: Path, teacher_folder: Path, tmp_path: Path) -> None:
    execute(tiny(image_folder, teacher_folder), tmp_path / "run")
    tiny_generator(seed=5).save_pretrained(teacher_folder)
    with pytest.raises(UserError, match="teacher has other weights"):
        execute(tiny(image_folder, teacher_folder), tmp_path / "run")
    longer = tiny(image_folder, teacher_folder, training={"images": 32, "checkpoint": 8, "sample": 16})
    with pytest.raises(UserError, match="other weights"):
        execute(longer, tmp_path / "run")


def test_a_folder_in_use_is_refused(image_folder: Path, teacher_folder: Path, tmp_path: Path) -> None:
    held = (
        f"from pathlib import Path; from distilgan.files import locked\nwith locked(Path({str(tmp_path / 'run')!r})):\n"
    )
    held += " print('held', flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", held], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(UserError, match="another process works in it"):
        execute(tiny(image_folder, teacher_folder), tmp_path / "run")
    process.kill()  # a killed process lets go
    process.wait()
    with locked(tmp_path / "run"):
        pass


@pytest.mark.usefixtures("training_only")
def test_leftovers_of_a_killed_start_do_not_block(image_folder: Path, teacher_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".recipe.yaml.partial").write_text("half")
    execute(tiny(image_folder, teacher_folder), tmp_path / "run")


def test_fewer_images_than_columns(image_folder: Path, teacher_folder: Path, tmp_path: Path) -> None:
    recipe = tiny(image_folder, teacher_folder, data={"limit": 3}, evaluation={**EVALUATION, "data": str(image_folder)})
    execute(recipe, tmp_path / "run")


def cli(*arguments: str, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    def small_files() -> None:
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-m", "distilgan.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, preexec_fn=small_files, timeout=300, check=False)


def test_no_room_on_the_disk(image_folder: Path, tmp_path: Path) -> None:
    """Files may not grow beyond 60 kB: the checkpoint does not fit, the log and the pictures do."""
    recipe = gan_recipe(image_folder, training={"images": 16, "checkpoint": 8}, evaluation=EVALUATION)
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe))
    arguments = ["train", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run")]
    done = cli(*arguments, limit=60_000)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("failed: disk full while writing")
    assert not list((tmp_path / "run" / "checkpoints").glob("*"))
    assert cli(*arguments).returncode == 0
    grid = cli("sample", "builtin:faces32-teacher", str(tmp_path / "grid.png"), "--count", "100", limit=60_000)
    assert (grid.returncode, grid.stderr.count("\n")) == (1, 1)
    assert grid.stderr.startswith(f"failed: disk full while writing {tmp_path / 'grid.png'}")


def test_torchrun_runs_the_command_line(image_folder: Path, teacher_folder: Path, tmp_path: Path) -> None:
    """Two processes start, train, export, measure and report in one folder; only one of them writes and prints."""
    (tmp_path / "recipe.yaml").write_text(dump_recipe(tiny(image_folder, teacher_folder, losses={"gan": 1})))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--rdzv-backend=c10d"]
    command += [
        "--rdzv-endpoint=localhost:0",
        "-m",
        "distilgan.cli",
        "distill",
        str(tmp_path / "recipe.yaml"),
        "--json",
    ]
    command += ["--out", str(tmp_path / "run")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["metrics"]
    assert (tmp_path / "run" / "report.html").is_file()
