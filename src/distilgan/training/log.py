"""log.jsonl of a run: a line a report, with the means of the loss terms since the one before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TextIO

from distilgan.files import write_atomic


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines that are whole: {"images": int, "terms": {name: value}, ...}; damaged ones are left out."""
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
