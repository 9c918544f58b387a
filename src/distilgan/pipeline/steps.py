"""Steps that runs of every kind take."""

from __future__ import annotations

import os
import sys
from typing import Any

from distilgan.files import write_atomic
from distilgan.networks.pretrained import Pretrained, network_sha256, read_config, write_config
from distilgan.recipe import AnyRecipe
from distilgan.runs import Run, generator_folder, load_model


def first_process() -> bool:
    """Whether this is the process that writes, of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def teacher_facts(teacher: str | None) -> dict[str, Any]:
    """What config.json says of a teacher."""
    if teacher is None:
        return {}
    licence = read_config(generator_folder(teacher)).get("licence", "")
    return {
        "teacher": teacher,
        "teacher_licence": licence,
        "teacher_sha256": network_sha256(load_model(teacher, Pretrained)),
    }


def export(run: Run) -> None:
    """Write `export/` of a finished run, unless it is there for these weights."""
    from distilgan.export.onnx import export_onnx, is_export_of

    student, folder = load_model(run.path, Pretrained), run.path / "export"
    if not is_export_of(folder, network_sha256(student)):
        say("exporting to ONNX")
        export_onnx(student, folder, about=read_config(run.student))


def own_licence(run: Run, recipe: AnyRecipe) -> dict[str, Any]:
    """config.json of `student/`, with the recipe's licence, which may be set after the training."""
    facts = read_config(run.student)
    if facts.get("licence") != recipe.licence:
        facts["licence"] = recipe.licence
        write_config(run.student, facts)
    return facts


def write_card(run: Run, card: str) -> None:
    write_atomic(run.student / "README.md", card)
