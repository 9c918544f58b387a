"""Which pictures of faces belong together: the rows of pairs.csv."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from distilgan.files import write_atomic

TABLE = "pairs.csv"
# Left and right as they are in the picture, not the person's.
POINTS = ("eye_left", "eye_right", "nose", "mouth_left", "mouth_right")
COLUMNS = ("profile", "frontal", "identity", "yaw", *(f"{point}_{axis}" for point in POINTS for axis in "xy"))
Points = list[tuple[float, float]]


class NoLandmarks(ValueError):
    """A table has no columns for landmarks, or none in any row."""


@dataclass(frozen=True)
class FaceRow:
    """A picture of a face and its frontal partner.

    Args:
        profile, frontal: paths, as seen from the table's folder.
        identity: a name for the person; equal names, equal people.
        yaw: degrees by which the head is turned, positive to its own left; None: unknown.
        landmarks: (x, y) of `POINTS` in the profile picture, pixels from its top left; None: unknown.
    """

    profile: str
    frontal: str
    identity: str
    yaw: float | None = None
    landmarks: Points | None = None


def write_table(path: Path, rows: Sequence[FaceRow]) -> None:
    """Write pairs.csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        numbers = [] if row.landmarks is None else [f"{v:g}" for point in row.landmarks for v in point]
        writer.writerow([row.profile, row.frontal, row.identity, "" if row.yaw is None else f"{row.yaw:g}", *numbers])
    write_atomic(path, text.getvalue())


def read_table(text: str) -> list[FaceRow]:
    """The rows of a table; columns in any order, other columns are ignored, `yaw` and landmarks may be left out.

    Raises:
        ValueError: says in one line what is wrong, and in which line.
    """
    lines = _lines(text)
    columns = next(lines)[1].keys()
    missing = [c for c in COLUMNS[:3] if c not in columns]
    if missing:
        raise ValueError(f"has no column {missing[0]}; it needs profile, frontal and identity")
    numbers = [c for c in COLUMNS[4:] if c in columns]
    if numbers and len(numbers) < len(COLUMNS) - 4:
        raise ValueError(f"has {numbers[0]}, but not {min(set(COLUMNS[4:]) - set(numbers))}; give all ten or none")
    rows, first = [], dict[str, int]()
    for line, cells in lines:
        for key in COLUMNS[:3]:
            if not cells[key]:
                raise ValueError(f"line {line}: {key} is empty")
        if first.setdefault(cells["profile"], line) != line:
            raise ValueError(
                f"lines {first[cells['profile']]} and {line} are both about {cells['profile']}; remove one"
            )
        values = [_number(cells[c], c, line) for c in numbers]
        known = [v for v in values if v is not None]
        if known and len(known) < len(values):
            raise ValueError(f"line {line}: has {len(known)} of the ten coordinates; give all or none")
        landmarks = list(zip(known[::2], known[1::2], strict=True)) or None
        yaw = _number(cells.get("yaw", ""), "yaw", line)
        if yaw is not None and abs(yaw) > 180:
            raise ValueError(f"line {line}: yaw={yaw:g} is not within ±180 degrees")
        rows.append(FaceRow(cells["profile"], cells["frontal"], cells["identity"], yaw, landmarks))
    if not rows:
        raise ValueError("has no rows")
    return rows


def read_landmarks(text: str) -> dict[str, Points]:
    """Landmarks by picture: of pairs.csv (`profile`), or of a table with the column `image` and the ten coordinates or 68 points.

    68 points are columns x0, y0 .. x67, y67 in the order of 300-W. A row without any coordinate is passed over.

    Raises:
        ValueError: says in one line what is wrong, and in which line.
    """
    lines = _lines(text)
    columns = next(lines)[1].keys()
    key = next((k for k in ("image", "profile") if k in columns), None)
    if key is None:
        raise NoLandmarks("has no column image (or profile), which names the picture")
    many = [f"{axis}{i}" for i in range(68) for axis in "xy"]
    wanted = many if set(many) <= columns else list(COLUMNS[4:])
    missing = [c for c in wanted if c not in columns]
    if missing:
        raise NoLandmarks(f"has no column {missing[0]}; landmarks are {', '.join(COLUMNS[4:])}, or x0, y0 to x67, y67")
    found, first = dict[str, Points](), dict[str, int]()
    for line, cells in lines:
        if not cells[key]:
            raise ValueError(f"line {line}: {key} is empty")
        if first.setdefault(cells[key], line) != line:
            raise ValueError(f"lines {first[cells[key]]} and {line} are both about {cells[key]}; remove one")
        values = [_number(cells[c], c, line) for c in wanted]
        known = [v for v in values if v is not None]
        if not known:
            continue  # a picture of which none are known
        if len(known) < len(values):
            raise ValueError(f"line {line}: has {len(known)} of {len(values)} coordinates")
        points = list(zip(known[::2], known[1::2], strict=True))
        found[cells[key]] = five_of_68(points) if wanted is many else points
    if not found:
        raise NoLandmarks("has no landmarks in any row")
    return found


def five_of_68(points: Points) -> Points:
    """Eyes, nose tip and mouth corners of the 68 points of 300-W: means of 36-41 and 42-47, then 30, 48, 54."""

    def mean(first: int, last: int) -> tuple[float, float]:
        chosen = points[first : last + 1]
        return sum(x for x, _ in chosen) / len(chosen), sum(y for _, y in chosen) / len(chosen)

    return [mean(36, 41), mean(42, 47), points[30], points[48], points[54]]


def _lines(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """(1, its columns), then each line's number and cells by column, stripped; a cell that a line lacks is empty."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [c.strip() for c in next(reader, [])]
        if len(columns) == 1 and ";" in columns[0]:
            raise ValueError("is separated by semicolons; save it with commas")
        yield 1, dict.fromkeys(columns, "")
        for cells in reader:
            if any("\0" in c for c in cells):
                raise ValueError(f"line {reader.line_num}: holds a NUL character")
            if cells:
                yield reader.line_num, dict(zip_longest(columns, map(str.strip, cells[: len(columns)]), fillvalue=""))
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}; is a quotation mark missing?") from error


def _number(text: str, column: str, line: int) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise ValueError(f"line {line}: {column}={text[:20]!r} is not a number") from error
    if not math.isfinite(value):
        raise ValueError(f"line {line}: {column}={text[:20]!r} is not finite")
    return value
