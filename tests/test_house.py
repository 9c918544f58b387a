"""Each room stands on the rooms that the design lets it stand on."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "distilgan"
# Files beside the rooms that hold no algorithm.
BASE = {"errors", "files", "devices", "progress", "recipe", "overrides", "runs"}
ALLOWED = {
    "networks": {"errors", "files"},
    "losses": set(),
    "perception": {"networks", "losses", "errors", "files"},
    "data": {"networks", "errors", "files", "progress"},
    "methods": {"networks", "losses", "perception", "data", *BASE},
    "training": {"networks", "methods", "data", *BASE},
    "evaluation": {"networks", "perception", "data", *BASE},
    "export": {"networks", "perception", "data", "evaluation", *BASE},
}


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_imports(room: str) -> None:
    for path in (PACKAGE / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("distilgan."):
                other = str(node.module).split(".")[1]
                assert other in {room, *ALLOWED[room]}, f"{path.relative_to(PACKAGE)} imports {node.module}"


def test_every_room_has_its_rule() -> None:
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").is_file()}
    assert rooms == set(ALLOWED)
