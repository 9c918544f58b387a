"""Writing files so that a reader never sees half of one, whatever happens in between."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distilgan.errors import RunFailed, UserError


@contextmanager
def disk_full_is_a_message(path: Path, safe: str = "") -> Iterator[None]:
    """Turn "no space left" while writing `path` into one line; `safe` says what is not lost."""
    try:
        yield
    except Exception as error:
        if not _is_disk_full(error):
            raise
        rest = f"; {safe}" if safe else ""
        raise RunFailed(
            f"disk full while writing {path}{rest}; free some space and give the same command again"
        ) from error


def _is_disk_full(error: BaseException | None) -> bool:
    """Whether this error, or one that it arose from, is a full disk: torch.save raises its own kind over it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        error = error.__cause__ or error.__context__
    return False


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
    path = path.absolute()  # "." has no name
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


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_leftover(path: Path) -> bool:
    """Whether a killed process left this half-written thing: the next one may overwrite it."""
    return path.name.startswith(".") and path.name.endswith((".partial", ".old"))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of `folder` (made if it is not there) during the block; a killed process lets go.

    Raises:
        UserError: another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows: nothing guards the folder there
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise UserError(f"{folder}: another process works in it; wait for it, or choose another --out") from error
    try:
        yield
    finally:
        os.close(handle)
