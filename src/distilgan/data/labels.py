"""Classes of images: in dataset.json, or by the folders that the images lie in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from distilgan.errors import UserError

MAX_CLASSES = 10**6
# Where StyleGAN's dataset tool puts picture 12345678: its folders are no classes.
_CHUNK = re.compile(r"(\d{5})/img\1\d{3}\.\w+")


@dataclass(frozen=True)
class Labels:
    """What is known of a set's classes.

    Attributes:
        numbers: class number by the image's name, empty without classes. names: of the classes, where the set has them.
        stray: a name in dataset.json that the set has no file for.
    """

    numbers: dict[str, int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    stray: str | None = None


def read_labels(path: Path, files: Sequence[str], read: Callable[[str], bytes] | None) -> Labels:
    """The classes of the image `files` of the set at `path`; `read` has the bytes of its dataset.json, None without one.

    Raises:
        UserError: dataset.json cannot be read, or is of another kind.
    """
    if read is None:
        return _by_folder(files)
    try:
        tree = json.loads(read("dataset.json"))
        numbers = {str(name): _class_number(label) for name, label in tree.get("labels") or []}
    except OSError as error:
        raise UserError(f"{path}: dataset.json cannot be read ({error})") from error
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: dataset.json is not {{'labels': [[name, label], ...]}} ({error})") from error
    known = tree.get("classes")
    there = set(files)
    return Labels(
        numbers,
        [str(name) for name in known] if isinstance(known, list) else [],
        next((name for name in numbers if name not in there), None),
    )


def _by_folder(files: Sequence[str]) -> Labels:
    """One class a top-level folder, in the order of their names, where every image lies in one of several."""
    tops = {name: PurePosixPath(name).parts[0] for name in files if "/" in name}
    folders = sorted(set(tops.values()))
    if len(folders) < 2 or len(tops) < len(files) or all(_CHUNK.fullmatch(name) for name in files):
        return Labels()
    numbers = {folder: i for i, folder in enumerate(folders)}
    return Labels({name: numbers[top] for name, top in tops.items()}, folders)


def _class_number(label: object) -> int:
    """A class number, also of a one-hot list."""
    if isinstance(label, list) and sorted(label) == [0] * (len(label) - 1) + [1]:
        return label.index(1)
    if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < MAX_CLASSES:
        raise ValueError(f"{label!r} is not a class number")
    return label


def in_turn(labels: Sequence[int]) -> list[int]:
    """Positions in `labels`, one of each class after another: the first so many have all classes alike."""
    seen: dict[int, int] = {}
    ranks = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        ranks.append((seen[label], label))
    return sorted(range(len(ranks)), key=ranks.__getitem__)
