"""The run folder: the only thing that passes between commands."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from distilgan.data.archives import builtin_path
from distilgan.errors import UserError
from distilgan.files import is_leftover, write_atomic
from distilgan.networks.families import N, load_network
from distilgan.recipe import AnyRecipe, difference, dump_recipe, parse_recipe
from distilgan.recipe.overrides import read_yaml

_MADE_BY_RUNS = (
    "checkpoints",
    "student",
    "samples",
    "export",
    "log.jsonl",
    "metrics.json",
    "report.html",
    "recipe.yaml",
)

# Only runs write this: any other folder may hold a recipe.yaml too, and --fresh deletes.
_MARK = "# The whole recipe of this run, written by distilgan."


@dataclass(frozen=True)
class Run:
    """A run folder and the recipe that made it."""

    path: Path
    recipe: AnyRecipe

    @property
    def student(self) -> Path:
        """The generator that the run made."""
        return self.path / "student"

    @property
    def finished(self) -> bool:
        return (self.student / "model.safetensors").is_file()


def is_run(path: Path) -> bool:
    try:
        with open(path / "recipe.yaml", "rb") as file:
            return file.readline().strip() == _MARK.encode()
    except OSError:
        return False


def open_run(path: Path) -> Run:
    """An existing run.

    Raises:
        UserError: not a run folder, or its recipe cannot be read.
    """
    file = path / "recipe.yaml"
    if not is_run(path):
        raise UserError(f"{path}: not a run folder (no recipe.yaml of a run in it)")
    try:
        return Run(path, parse_recipe(read_yaml(file.read_bytes()), str(file)))
    except ValueError as error:
        raise UserError(f"{file}: {error}; the run cannot be continued, start over with --fresh") from error


def check_run(path: Path, recipe: AnyRecipe, fresh: bool) -> None:
    """Whether `path` can be the folder of a run of `recipe`; changes nothing.

    Raises:
        UserError: the folder holds something else, a run of another recipe, or what the recipe reads.
    """
    _check_apart(path, recipe)
    if path.exists() and not path.is_dir():
        raise UserError(f"{path}: is a file; --out takes a folder")
    if is_run(path):
        other = None if fresh else difference(open_run(path).recipe, recipe)
        if other is not None:
            raise UserError(f"{path}: made by another recipe ({other}); choose another --out, or --fresh to start over")
    elif path.exists() and not all(is_leftover(p) for p in path.iterdir()):
        raise UserError(f"{path}: not empty and not a run folder; choose another --out")


def _check_apart(path: Path, recipe: AnyRecipe) -> None:
    """What a run reads must not be what it writes; and its samples must not become images of the set they lie in."""
    out = path.resolve()
    written = [out / name for name in _MADE_BY_RUNS]
    images = recipe.image_sources()
    for key, name in {**images, **recipe.other_sources()}.items():
        if name.startswith("builtin:"):
            continue
        source = Path(name).resolve()
        if source == out or any(source.is_relative_to(w) for w in written):
            raise UserError(f"{path}: the run would write over {key}={name}; choose another --out")
        if key in images and out.is_relative_to(source):
            raise UserError(f"{path}: lies inside {key}={name}, which would take its samples in; choose another --out")


def start_run(path: Path, recipe: AnyRecipe, fresh: bool) -> Run:
    """Make `path` the folder of a run of `recipe`, or go on with the run that is there; as `check_run`."""
    check_run(path, recipe, fresh)
    if fresh and is_run(path):
        for name in _MADE_BY_RUNS:
            target = path / name
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
    path.mkdir(parents=True, exist_ok=True)
    write_atomic(path / "recipe.yaml", f"{_MARK}\n{dump_recipe(recipe)}")
    return Run(path, recipe)


def generator_folder(name: str | Path) -> Path:
    """The folder with config.json that `name` stands for: a run, such a folder, or builtin:NAME.

    Raises:
        UserError: a run that has not finished, or an unknown builtin.
    """
    path = builtin_path(str(name))
    if is_run(path):
        run = open_run(path)
        if not run.finished:
            raise UserError(f"{path}: the run has no student/ yet; give the command that started it again to finish it")
        return run.student
    return path


def load_model(name: str | Path, kind: type[N]) -> N:
    """The network of a run, a network's folder or builtin:NAME; float32, in eval mode.

    Raises:
        UserError: nothing there, damaged, or not a `kind`.
    """
    return load_network(generator_folder(name), kind)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The reports in log.jsonl: {"images": int, "terms": {name: mean since the report before}, ...}.

    Damaged lines are left out.
    """
    if not path.is_file():
        return []
    lines = (_parse(line) for line in path.read_text(errors="replace").splitlines())
    return [line for line in lines if line is not None]


def open_log(path: Path, seen: int) -> TextIO:
    """Open for appending, without the lines that a killed process wrote after its last checkpoint at `seen` images."""
    if path.exists():
        kept = [line for line in read_log(path) if line["images"] <= seen]
        write_atomic(path, "".join(f"{json.dumps(line)}\n" for line in kept))
    return open(path, "a")


def _parse(text: str) -> dict[str, Any] | None:
    try:
        line: dict[str, Any] = json.loads(text)
        terms = {str(name): float(value) for name, value in line["terms"].items()}
        return {**line, "images": int(line["images"]), "terms": terms}
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
