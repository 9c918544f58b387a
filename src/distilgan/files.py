"""Writing files so that a reader never sees half of one, whatever happens in between."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
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
    with new_file(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A name to write to; the file takes the name `path` (replacing an old one) only when the block ends well."""
    partial = _own_name(path, "partial")
    try:
        with disk_full_is_a_message(path):
            yield partial
            with open(partial, "rb") as handle:
                os.fsync(handle.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path, safe: str = "") -> Iterator[Path]:
    """A folder to fill, which takes the name `path` (replacing an old one) only when the block ends well.

    Raises:
        FileExistsError: another process made `path` during the block; it is left as it is.
    """
    path = path.absolute()  # "." has no name
    partial, old = _own_name(path, "partial"), _own_name(path, "old")
    replaces = path.exists()
    try:
        with disk_full_is_a_message(path, safe):
            partial.mkdir(parents=True)
            yield partial
            for file in partial.rglob("*"):
                if file.is_file():
                    with open(file, "rb") as handle:
                        os.fsync(handle.fileno())
            if replaces:
                with suppress(FileNotFoundError):
                    os.rename(path, old)
            try:
                os.rename(partial, path)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                raise FileExistsError(
                    errno.EEXIST, "another process made it meanwhile; it is kept", str(path)
                ) from error
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _own_name(path: Path, kind: str) -> Path:
    """A name beside `path` that no other process uses; what killed ones left under theirs is removed."""
    start, end = f".{path.name}.", f".{kind}"
    for left in path.parent.glob(f"{escape(start)}*{end}"):
        owner = left.name.removeprefix(start).removesuffix(end)
        if owner.isdecimal() and (int(owner) == os.getpid() or not _is_alive(int(owner))):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
    return path.with_name(f"{start}{os.getpid()}{end}")


def _is_alive(pid: int) -> bool:
    if os.name == "nt":  # where os.kill(pid, 0) ends it, and a folder in use cannot be removed anyway
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


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
        raise UserError(f"{folder}: another process works in it; wait for it, or choose another folder") from error
    try:
        yield
    finally:
        os.close(handle)
