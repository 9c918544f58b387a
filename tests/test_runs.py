"""Run folders: which folder is one, what may lie in it, what its log gives back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from distilgan.errors import UserError
from distilgan.recipe import dump_recipe
from distilgan.runs import check_run, is_run, open_log, open_run, read_log, start_run
from tests.recipes import stylekd_recipe


def test_a_log_goes_on_after_its_last_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    assert read_log(path) == []
    reports = [{"images": n, "terms": {"gan": n / 8}} for n in (8, 16, 24)]
    path.write_text("".join(f"{json.dumps(r)}\n" for r in reports))
    with open_log(path, seen=16) as log:
        log.write(json.dumps({"images": 32, "terms": {}}) + "\n")
    assert read_log(path) == [*reports[:2], {"images": 32, "terms": {}}]


def test_damaged_lines_of_a_log_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(
        b'[1]\n\x00\xff\n{}\nnull\n{"images": 8, "terms": {"gan": "x"}}\n{"images": 8, "terms": {"gan": 1}}\n{"ima'
    )
    assert read_log(path) == [{"images": 8, "terms": {"gan": 1.0}}]


def test_a_folder_with_somebodys_recipe_is_not_a_run(image_folder: Path, teacher_folder: Path, tmp_path: Path) -> None:
    """--fresh deletes, so it must never take a user's own folder for a run."""
    recipe = stylekd_recipe(image_folder, teacher_folder)
    mine = tmp_path / "mine"
    (mine / "samples").mkdir(parents=True)
    (mine / "recipe.yaml").write_text(dump_recipe(recipe))
    assert not is_run(mine)
    for fresh in (False, True):
        with pytest.raises(UserError, match="not empty and not a run folder"):
            start_run(mine, recipe, fresh)
    with pytest.raises(UserError, match="not a run folder"):
        open_run(mine)
    assert (mine / "samples").is_dir()
    run = start_run(tmp_path / "run", recipe, fresh=False)
    assert open_run(run.path).recipe == recipe


def test_a_run_does_not_write_over_what_it_reads(image_folder: Path, teacher_folder: Path, tmp_path: Path) -> None:
    taken = [
        (tmp_path / "teacher", stylekd_recipe(image_folder, teacher_folder), "would write over teacher"),
        (tmp_path, stylekd_recipe(image_folder, tmp_path / "student"), "would write over teacher"),
        (tmp_path, stylekd_recipe(tmp_path / "samples", teacher_folder), "would write over data.path"),
        (image_folder / "run", stylekd_recipe(image_folder, teacher_folder), "lies inside data.path"),
        (
            tmp_path / "kept" / "run",
            stylekd_recipe(image_folder, teacher_folder, evaluation={"data": str(tmp_path / "kept")}),
            "lies inside evaluation.data",
        ),
    ]
    for out, recipe, line in taken:
        with pytest.raises(UserError, match=line):
            check_run(out, recipe, fresh=True)
    check_run(tmp_path / "run", stylekd_recipe(image_folder, teacher_folder), fresh=False)
