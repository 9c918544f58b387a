"""The README's commands, run in order as a stranger would, with --smoke where they train."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from typer.main import get_command

from distilgan.cli import app
from distilgan.data.face_table import FaceRow, write_table
from distilgan.networks.tpgan import TEMPLATE
from distilgan.recipe import load_recipe
from tests.parity.filled import fill_by_shape
from tests.parity.test_conditional_reference import DIGITS
from tests.test_cli import distilgan

ROOT = Path(__file__).parents[1]


def commands() -> list[list[str]]:
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    blocks = [re.sub(r"\\\n\s*", "", block) for block in blocks]
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [shlex.split(line.removeprefix("$ ")) for line in lines if line.startswith("$ distilgan")]


def test_there_are_commands() -> None:
    verbs = {c[1] for c in commands()}
    assert verbs == {
        "recipes",
        "distill",
        "train",
        "evaluate",
        "profile",
        "sample",
        "export",
        "convert",
        "data",
        "frontalize",
        "translate",
    }


@pytest.mark.slow
def test_every_command_works(tmp_path: Path, image_folder: Path) -> None:
    for folder in ("photos", "kept-apart"):
        shutil.copytree(image_folder, tmp_path / folder)
    for command in commands():
        arguments = command[1:]
        if arguments[0] in ("distill", "train"):
            arguments += ["--smoke"] * ("--smoke" not in arguments)
        if arguments[0] == "data" and "--count" in arguments:
            arguments[arguments.index("--count") + 1] = "30"
        if "--identities" in arguments:
            arguments[arguments.index("--identities") + 1] = "3"
        if arguments[0] == "frontalize":
            points = [(x / 8, y / 8) for x, y in TEMPLATE]  # of 16 px
            names = sorted(p.name for p in (tmp_path / "photos").iterdir())
            write_table(tmp_path / "points.csv", [FaceRow(n, n, "x", None, points) for n in names])
            (tmp_path / "points.csv").rename(tmp_path / "photos" / "points.csv")
            arguments[arguments.index("--landmarks") + 1] = "photos/points.csv"
        if arguments[0] == "convert":
            (tmp_path / arguments[1]).mkdir()
            torch.save(fill_by_shape(DIGITS["huggingface"]["shapes"]), tmp_path / arguments[1] / "pytorch_model.bin")
        done = distilgan(*arguments, cwd=tmp_path)
        assert done.returncode == 0, (command, done.stderr)


def commands_of_docs() -> list[list[str]]:
    found = []
    for path in sorted((ROOT / "docs").glob("*.md")):
        text = re.sub(r"\\\n\s*", "", path.read_text())
        lines = [
            line.removeprefix("$ ").strip()
            for line in text.splitlines()
            if line.startswith(("    distilgan ", "$ distilgan "))
        ]
        found += [line.split(" #")[0] for line in lines]
    return [shlex.split(line) for line in found]


@pytest.mark.parametrize("command", commands_of_docs(), ids=" ".join)
def test_commands_of_the_docs_are_understood(command: list[str]) -> None:
    """Verbs, options and recipe keys exist; what the commands do is tested elsewhere."""
    tree = get_command(app)
    rest = command[1:]
    while hasattr(tree, "commands"):
        tree = tree.commands[rest.pop(0)]
    given = tree.make_context("distilgan", rest).params
    if "overrides" in given:
        load_recipe(given["recipe"], list(given["overrides"] or []))


def test_python_block_runs() -> None:
    import distilgan as package

    generator = package.load("builtin:faces32-teacher")
    images = generator(torch.randn(4, generator.config.z_dim))
    assert images.shape == (4, 3, 32, 32)
    assert package.from_pretrained is package.load


def test_links_and_tables_exist() -> None:
    for name in (
        "README.md",
        "docs/stylekd.md",
        "docs/tinygan.md",
        "docs/metakd.md",
        "docs/nijigan.md",
        "docs/speed.md",
        "docs/measuring.md",
    ):
        text = (ROOT / name).read_text()
        for target in re.findall(r"\]\((?!http)([^)#]+)", text):
            assert ((ROOT / name).parent / target).exists(), (name, target)
