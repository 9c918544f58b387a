"""Writing files so that a reader never sees half of one, whatever happens in between."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distilgan.errors import RunFailed


@contextmanager
def disk_full_is_a_message(path: Path, safe: str = "") -> Iterator[None]:
    """Turn "no space left" while writing `path` into one line; `safe` says what is not lost."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        rest = f"; {safe}" if safe else ""
        raise RunFailed(
            f"disk full while writing {path}{rest}; free some space and give the same command again"
        ) from error


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a whole file and only then give it its name."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with disk_full_is_a_message(path), open(partial, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path, safe: str = "") -> Iterator[Path]:
    """A folder to fill, which takes the name `path` (replacing an old one) only when the block ends well."""
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with disk_full_is_a_message(path, safe):
            partial.mkdir(parents=True)
            yield partial
            for file in partial.rglob("*"):
                if file.is_file():
                    with open(file, "rb") as handle:
                        os.fsync(handle.fileno())
            old = path.with_name(f".{path.name}.old")
            shutil.rmtree(old, ignore_errors=True)
            if path.exists():
                os.rename(path, old)
            os.rename(partial, path)
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
