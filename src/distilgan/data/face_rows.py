"""Which files of a folder or zip are pictures of faces and their frontal partners: by a table, by names, or by two folders."""

from __future__ import annotations

import posixpath
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from distilgan.data.archives import EXTENSIONS, Folder, Zip, is_hidden, open_files
from distilgan.data.face_table import TABLE, FaceRow, read_table
from distilgan.data.multipie import FRONTAL, PictureName, parse_name
from distilgan.errors import UserError

_FRONTAL = 15.0  # degrees by which a frontal picture may be turned
_MANIFEST = "faces.json"  # of sets that `distilgan data` renders
FOLDERS = ("profile", "frontal")


@dataclass
class Pairs:
    """Rows, and why other files are none."""

    files: Folder | Zip
    rows: list[FaceRow] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def find_pairs(path: Path) -> Pairs:
    """The pairs of a .csv, folder or zip, in this order: pairs.csv, files named as in Multi-PIE, folders `profile` and `frontal`.

    Raises:
        UserError: no pairs there; a table that is damaged or contradicts itself or the files' names.
    """
    if path.is_file() and path.suffix.lower() == ".csv":
        files: Folder | Zip = Folder(path.parent)
        return _of_table(files, path.name, path)
    files = open_files(path)
    table = _table_in(files, path)
    if table is not None:
        return _of_table(files, table, path / table)
    names = _pictures(files)
    by_name, by_folder = _of_names(files, names), _of_folders(files, names)
    if not (by_name.rows or by_folder.rows):
        reasons = [*by_name.skipped.values(), *by_folder.skipped.values()]
        raise UserError(
            f"{path}: holds no pairs of faces; give {TABLE}, names as in Multi-PIE, or the folders {' and '.join(FOLDERS)} with "
            f"files of the same names{f' ({reasons[0]})' if reasons else ''}"
        )
    return by_name if by_name.rows else by_folder


def holds_pairs(path: Path) -> bool:
    """Whether a set is one of pairs of faces, finished or not, rather than one of pictures."""
    if path.suffix.lower() == ".csv":
        return True
    if not path.exists():
        return False
    files = open_files(path)
    if any(PurePosixPath(n).name == TABLE for n in files.names):
        return True
    if _MANIFEST in files.names and b"poses" in files.read(_MANIFEST):
        return True
    names = _pictures(files)
    folders = {part for n in names for part in PurePosixPath(n).parts[:-1]}
    return set(FOLDERS) <= folders or (bool(names) and _named(names))


def _pictures(files: Folder | Zip) -> list[str]:
    return [n for n in files.names if PurePosixPath(n).suffix.lower() in EXTENSIONS and not is_hidden(n)]


def _named(names: list[str]) -> bool:
    """Whether most files are named as in Multi-PIE."""
    return 2 * sum(parse_name(n) is not None for n in names) > len(names)


# -- tables ------------------------------------------------------------------------------------------------------------


def _table_in(files: Folder | Zip, path: Path) -> str | None:
    """The table of a set: at the top, or the only one below, as where a folder was zipped with its name."""
    if TABLE in files.names:
        return TABLE
    below = [n for n in files.names if PurePosixPath(n).name == TABLE and not is_hidden(n)]
    if len(below) > 1:
        raise UserError(f"{path}: holds several sets, {below[0]} and {below[1]}; give one of them")
    manifest = next((n for n in files.names if PurePosixPath(n).name == _MANIFEST), None)
    if not below and manifest is not None and b"poses" in files.read(manifest):
        raise UserError(f"{path}: is not finished (no {TABLE}); give the command that makes it again")
    return below[0] if below else None


def _of_table(files: Folder | Zip, table: str, where: Path) -> Pairs:
    try:
        rows = read_table(decoded(files.read(table)))
    except (ValueError, OSError) as error:
        raise UserError(f"{where}: {error}") from error
    known, folder = {_normal(n): n for n in files.names}, posixpath.dirname(table)

    def found(name: str) -> str:
        path = _normal(posixpath.join(folder, name.replace("\\", "/")))
        if path not in known:
            raise UserError(
                f"{where}: {name} is not there; paths are relative to the table, and lie in its folder or below"
            )
        return known[path]

    placed = []
    for row in rows:
        _check_names(row, where)
        placed.append(FaceRow(found(row.profile), found(row.frontal), row.identity, row.yaw, row.landmarks))
    _check_partners(placed, where)
    _check_landmarks(placed, where)
    return Pairs(files, placed)


def decoded(table: bytes) -> str:
    """Text of a .csv.

    Raises:
        ValueError: it is not UTF-8.
    """
    try:
        return table.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("is not UTF-8; save it as CSV UTF-8") from error


def _normal(name: str) -> str:
    """One spelling of a path: no `./`, letters composed."""
    return unicodedata.normalize("NFC", posixpath.normpath(name))


def _check_names(row: FaceRow, where: Path) -> None:
    """What names as in Multi-PIE say must not contradict the row."""
    profile, frontal = parse_name(row.profile), parse_name(row.frontal)
    if profile and profile.yaw is not None and row.yaw is not None and row.yaw != profile.yaw:
        raise UserError(
            f"{where}: yaw of {row.profile} is {row.yaw:g}, but its name's camera {profile.camera} stands at {profile.yaw}; "
            "mend one of them"
        )
    if profile and frontal and (frontal.subject != profile.subject or frontal.camera != FRONTAL):
        raise UserError(
            f"{where}: {row.frontal} is the frontal partner of {row.profile}, but its name says subject {frontal.subject}, camera "
            f"{frontal.camera}; mend one of them"
        )


def _check_partners(rows: list[FaceRow], where: Path) -> None:
    """A frontal picture is one person's, and its own row must not say otherwise."""
    person, own = dict[str, str](), {row.profile: row for row in rows}
    for row in rows:
        other = person.setdefault(row.frontal, row.identity)
        if other != row.identity:
            raise UserError(
                f"{where}: {row.frontal} is the frontal picture of {other} and of {row.identity}; mend one of them"
            )
        frontal = own.get(row.frontal, row)
        if frontal.identity != row.identity:
            raise UserError(
                f"{where}: {row.frontal} is the frontal picture of {row.identity}, but its own row says {frontal.identity}; mend "
                "one of them"
            )
        if frontal.profile == row.frontal and frontal.yaw is not None and abs(frontal.yaw) > _FRONTAL:
            raise UserError(
                f"{where}: {row.frontal} is a frontal picture, but its own row says yaw {frontal.yaw:g}; mend one of them"
            )


def _check_landmarks(rows: list[FaceRow], where: Path) -> None:
    """A set has landmarks of every picture or of none: a picture without would not be brought to its place."""
    known = {row.profile for row in rows if row.landmarks is not None}
    if not known:
        return
    for row in rows:
        if row.profile not in known:
            raise UserError(
                f"{where}: {row.profile} has no landmarks, but others have; give those of all pictures or of none"
            )
        if row.frontal not in known:
            raise UserError(
                f"{where}: the frontal picture {row.frontal} has no landmarks; add a row with it as profile and as frontal"
            )


# -- names and folders -------------------------------------------------------------------------------------------------


def _of_names(files: Folder | Zip, names: list[str]) -> Pairs:
    """Files named as in Multi-PIE, each with its partner of the same folder, or the only one."""
    pairs = Pairs(files)
    if not _named(names):
        return pairs
    found: dict[str, PictureName] = {}
    paths: dict[str, list[str]] = {}
    for name in names:
        parsed = parse_name(name)
        if parsed is None:
            pairs.skipped[name] = "is not named as in Multi-PIE"
            continue
        found[name] = parsed
        paths.setdefault(str(parsed), []).append(name)
    for name, parsed in found.items():
        partners = paths.get(str(parsed.frontal), [])
        beside = [p for p in partners if PurePosixPath(p).parent == PurePosixPath(name).parent]
        if not partners:
            pairs.skipped[name] = f"its frontal partner {parsed.frontal} is not there"
        elif parsed.yaw is None:
            pairs.skipped[name] = f"camera {parsed.camera} has no known yaw"
        elif not beside and len(partners) > 1:
            pairs.skipped[name] = f"it has two frontal partners, {partners[0]} and {partners[1]}"
        else:
            pairs.rows.append(FaceRow(name, (beside or partners)[0], parsed.subject, parsed.yaw))
    return pairs


def _of_folders(files: Folder | Zip, names: list[str]) -> Pairs:
    """profile/X and frontal/X; a person is a folder below these, or else a file."""
    pairs, known = Pairs(files), set(names)
    for name in names:
        parts = PurePosixPath(name).parts
        if FOLDERS[0] not in parts[:-1]:
            continue
        at = parts.index(FOLDERS[0])
        partner = PurePosixPath(*parts[:at], FOLDERS[1], *parts[at + 1 :]).as_posix()
        if partner not in known:
            pairs.skipped[name] = f"{partner} is not there"
            continue
        person = parts[at + 1] if len(parts) > at + 2 else PurePosixPath(name).stem
        named = parse_name(name)
        pairs.rows.append(FaceRow(name, partner, person, named.yaw if named else None))
    return pairs
