"""Each room stands on the rooms that the design lets it stand on."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "distilgan"
# What holds no algorithm: files beside the rooms, and recipes.
BASE = {"errors", "files", "devices", "processes", "progress", "onnx_session", "recipe", "runs"}
ALLOWED = {
    "networks": {"errors", "files"},
    "losses": set(),
    "recipe": {"errors"},
    "balancing": {"losses"},
    "perception": {"networks", "losses", "errors", "files", "onnx_session"},
    "data": {"networks", "errors", "files", "devices", "processes", "progress"},
    "teachers": {"networks", "errors", "files"},
    "methods": {"networks", "losses", "perception", "balancing", "data", *BASE},
    "training": {"networks", "methods", "data", *BASE},
    "evaluation": {"networks", "losses", "perception", "data", "teachers", *BASE},
    "export": {"networks", "perception", "data", "evaluation", *BASE},
}


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_imports(room: str) -> None:
    for path in (PACKAGE / room).rglob("*.py"):
        for other in imported(path):
            assert other in {room, *ALLOWED[room]}, f"{path.relative_to(PACKAGE)} imports distilgan.{other}"


def imported(path: Path) -> set[str]:
    """Rooms and files beside them that a module imports, in whatever way."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.relative_to(PACKAGE)} imports relatively"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    parts = [name.split(".") for name in names if name.startswith("distilgan.")]
    return {part[1] for part in parts if part[1] != "__version__"}


def test_files_beside_the_rooms() -> None:
    """They hold no algorithm, and but for the two that put rooms together they stand on each other alone."""
    alone = {p.stem: imported(p) for p in PACKAGE.glob("*.py") if p.stem not in ("__init__", "__main__")}
    assert alone.pop("runs") <= {"networks", "data", "recipe", "errors", "files"}
    assert all(rooms <= BASE - {"recipe"} for rooms in alone.values()), alone


def test_every_room_has_its_rule() -> None:
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").is_file()}
    assert rooms == {*ALLOWED, "cli", "pipeline"}  # which may import everything
