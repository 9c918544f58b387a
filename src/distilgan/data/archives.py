"""The files of a folder or a zip, by name: what every set of pictures is read from."""

from __future__ import annotations

import filecmp
import hashlib
import os
import zipfile
import zlib
from collections import Counter
from pathlib import Path, PurePosixPath

from distilgan.errors import UserError
from distilgan.files import file_sha256

EXTENSIONS = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jfif", ".avif"}
)
BUILTIN = Path(__file__).parent / "builtin"


def builtin_path(name: str) -> Path:
    """Path of a set or teacher that comes with the package, for `builtin:NAME`; other names pass through."""
    if not name.startswith("builtin:"):
        return Path(name)
    path = BUILTIN / name.removeprefix("builtin:")
    if not path.exists():
        known = ", ".join(sorted(f"builtin:{p.name}" for p in BUILTIN.iterdir()))
        raise UserError(f"{name}: not part of the package; known: {known}")
    return path


def files_below(folder: Path) -> list[str]:
    """Names of all files in a folder and its subfolders, linked ones too; sorted."""
    names, visited = [], set()
    for root, subfolders, files in os.walk(folder, followlinks=True):
        subfolders.sort()  # which of two links to one folder comes first must not depend on the disk
        if os.path.realpath(root) in visited:  # a link to a folder above, or a second one
            subfolders.clear()
            continue
        visited.add(os.path.realpath(root))
        names += [Path(root, file).relative_to(folder).as_posix() for file in files if Path(root, file).is_file()]
    return sorted(names)


def is_hidden(name: str) -> bool:
    """Whether a file is a system's or editor's own: .thumbnails/, ._name, __MACOSX/."""
    return any(part.startswith((".", "__MACOSX", "@eaDir")) for part in PurePosixPath(name).parts)


def stems(names: list[str]) -> list[str]:
    """Names without their endings; those that would be alike keep them."""
    found = [str(PurePosixPath(name).with_suffix("")) for name in names]
    often, taken = Counter(found), set(names)
    return [
        name if often[stem] > 1 or (stem in taken and stem != name) else stem
        for stem, name in zip(found, names, strict=True)
    ]


def data_sha256(name: str) -> str:
    """What identifies a set without decoding it: a zip's bytes, or the names and sizes of a folder's files."""
    path, digest = builtin_path(name), hashlib.sha256()
    if path.is_file():
        return file_sha256(path)
    for file in files_below(path):
        digest.update(os.fsencode(file) + f" {(path / file).stat().st_size}\n".encode())
    return digest.hexdigest()


def same_set(first: str, second: str) -> bool:
    """Whether two names stand for the same images: one path, zips or folders of one content."""
    one, other = builtin_path(first), builtin_path(second)
    if one.resolve() == other.resolve():
        return True
    if one.is_file() and other.is_file() and one.stat().st_size != other.stat().st_size:
        return False
    if data_sha256(first) != data_sha256(second):
        return False
    return one.is_file() or all(filecmp.cmp(one / name, other / name, shallow=False) for name in files_below(one))


class Folder:
    """Names and bytes of the files below a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names = files_below(path)

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()


class Zip:
    """Names and bytes of the members of a zip; members that point outside are refused."""

    def __init__(self, path: Path) -> None:
        try:
            with zipfile.ZipFile(path) as archive:
                self.names = sorted(i.filename for i in archive.infolist() if not i.is_dir())
        # NotImplementedError: a version or compression that zipfile cannot read.
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not a zip file, or a damaged one ({error}); make it again") from error
        for name in self.names:
            parts = PurePosixPath(name.replace("\\", "/"))
            if parts.is_absolute() or ".." in parts.parts or name[1:2] == ":":
                raise UserError(f"{path}: member {name!r} points outside the archive; make the zip again without it")
        self.path = path
        self._archive: tuple[int, zipfile.ZipFile] | None = None

    def read(self, name: str) -> bytes:
        """One handle a process: forked ones would move each other's position in a shared one."""
        if self._archive is None or self._archive[0] != os.getpid():
            self._archive = os.getpid(), zipfile.ZipFile(self.path)
        try:
            return self._archive[1].read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # RuntimeError: needs a password
            raise OSError(str(error)) from error

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_archive": None}


def open_files(path: Path) -> Folder | Zip:
    """The files of a folder or .zip.

    Raises:
        UserError: neither, or a damaged zip.
    """
    if not path.exists():
        raise UserError(f"{path}: no such folder or zip of images")
    if path.is_file() and path.suffix.lower() != ".zip":
        raise UserError(f"{path}: expected a folder or a .zip of images")
    return Zip(path) if path.is_file() else Folder(path)
