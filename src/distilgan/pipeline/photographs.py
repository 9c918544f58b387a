"""Photographs that a command is given, and names for what it makes of them."""

from __future__ import annotations

from pathlib import Path

from distilgan.data.archives import EXTENSIONS, files_below, is_hidden
from distilgan.errors import UserError
from distilgan.runs import is_run

LARGEST = 2**29
"""Pixels of a photo: what 8 GB hold several times over."""


def photographs(source: Path) -> list[tuple[str, Path]]:
    """(name, path) of a picture, or of all below a folder.

    Raises:
        UserError: nothing there, or nothing that is named like a picture.
    """
    if source.is_file():
        return [(source.name, source)]
    if not source.is_dir():
        raise UserError(f"{source}: no such file or folder")
    names = [n for n in files_below(source) if Path(n).suffix.lower() in EXTENSIONS and not is_hidden(n)]
    if not names:
        raise UserError(f"{source}: holds no images (looked for {', '.join(sorted(EXTENSIONS))})")
    return [(name, source / name) for name in names]


def check_folder(source: Path, out: Path) -> None:
    """Raise UserError when `out` cannot be the folder of what is made of `source`."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; name a folder")
    if is_run(out):
        raise UserError(f"{out}: is a run; name another folder")
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise UserError(f"{out}: lies in {source}, whose pictures are taken; name a folder outside it")
