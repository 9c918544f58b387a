"""Pictures of faces with their frontal partners, as one tensor source; and the rule that no person is in two sets.

Reads, in this order: a .csv, or a folder or zip with pairs.csv (see `face_table`); files named as in Multi-PIE; two folders,
`profile` and `frontal`, whose files have the same names.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from distilgan.data.alignment import align
from distilgan.data.archives import EXTENSIONS, Folder, Zip, builtin_path, is_hidden, open_files
from distilgan.data.face_table import TABLE, FaceRow, read_table
from distilgan.data.images import IN_MEMORY, complaint, fit_square, pixels_of, to_float, to_rgb8
from distilgan.data.multipie import parse_name
from distilgan.data.sampler import EndlessShuffle
from distilgan.errors import UserError
from distilgan.networks.tpgan import template

MIRRORED = [1, 0, 2, 4, 3]
"""Which landmark takes which one's place when a picture is flipped."""


@dataclass
class FaceBatch:
    """Faces and their frontal partners, R px."""

    profile: Tensor  # [n, 3, R, R], uint8, or float in [-1, 1] once on the device
    frontal: Tensor
    landmarks: Tensor  # [n, 5, 2] of the profile, pixels
    frontal_landmarks: Tensor
    identity: Tensor  # int64 [n]

    def to(self, device: torch.device) -> FaceBatch:
        """On `device`, pictures as float."""

        def floats(pixels: Tensor) -> Tensor:
            return to_float(pixels.to(device, non_blocking=True)).contiguous(memory_format=torch.channels_last)

        return FaceBatch(
            floats(self.profile),
            floats(self.frontal),
            self.landmarks.to(device),
            self.frontal_landmarks.to(device),
            self.identity.to(device),
        )


class FacePairs(Dataset[tuple[Tensor, ...]]):
    """Pairs at one resolution.

    Args:
        path: folder, .zip, .csv or builtin:NAME.
        limit: use so many pairs, mixed from all.

    Attributes:
        rows: what is known of each pair. identities: names of the people, whose numbers `identity` [len] holds.
        yaw: degrees [len], NaN where unknown. landmarked: whether landmarks are known; if not, faces are taken as aligned.
        skipped: file -> why it cannot be used.

    Raises:
        UserError: no pairs there, a damaged table, landmarks outside a picture, a yaw that the file's name contradicts.
    """

    def __init__(self, path: str | Path, resolution: int, *, limit: int | None = None) -> None:
        self.path, self.resolution = builtin_path(str(path)), resolution
        self.skipped: dict[str, str] = {}
        rows = self._read_rows()
        self._landmarks = {row.profile: row.landmarks for row in rows if row.landmarks is not None}
        if limit is not None and limit < len(rows):
            chosen = np.random.default_rng(0).permutation(len(rows))[:limit]
            rows = [rows[i] for i in sorted(chosen)]
        self._known: dict[str, tuple[Tensor, Tensor]] = {}
        names = list(dict.fromkeys(name for row in rows for name in (row.frontal, row.profile)))
        if len(names) * 3 * resolution**2 <= IN_MEMORY:
            self._known = {name: face for name in names if (face := self._decode(name)) is not None}
            rows = [row for row in rows if not {row.profile, row.frontal} & self.skipped.keys()]
        if not rows:
            name, reason = next(iter(self.skipped.items()))
            raise UserError(f"{self.path}: none of its pairs can be used ({name}: {reason})")
        self._index(rows)

    def _index(self, rows: list[FaceRow]) -> None:
        self.rows = rows
        self.identities = sorted({row.identity for row in rows})
        number = {name: i for i, name in enumerate(self.identities)}
        self.identity = torch.tensor([number[row.identity] for row in rows])
        self.yaw = torch.tensor([float("nan") if row.yaw is None else row.yaw for row in rows])

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def landmarked(self) -> bool:
        return bool(self._landmarks)

    def __getitem__(self, item: tuple[int, bool] | int) -> tuple[Tensor, ...]:
        """Profile and frontal picture uint8 [3, R, R], their landmarks [5, 2], the identity's number; (i, True): mirrored."""
        index, flip = (item, False) if isinstance(item, int) else item
        row = self.rows[index]
        profile, at = self._face(row.profile)
        frontal, frontal_at = self._face(row.frontal)
        if flip:
            profile, frontal = profile.flip(-1), frontal.flip(-1)
            at, frontal_at = (mirrored(points, self.resolution) for points in (at, frontal_at))
        return profile, frontal, at, frontal_at, self.identity[index]

    def batch(self, indices: Sequence[int]) -> FaceBatch:
        """Some pairs."""
        return FaceBatch(*(torch.stack(parts) for parts in zip(*(self[i] for i in indices), strict=True)))

    def subset(self, indices: Sequence[int]) -> Self:
        """These pairs alone, with identities numbered anew."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._index([self.rows[i] for i in indices])
        return other

    def hold_out(self, share: float, seed: int) -> tuple[Self, Self]:
        """All pairs of most people, and all of the others: about `share` of them, at least one.

        Raises:
            UserError: fewer than two people.
        """
        people = len(self.identities)
        if people < 2:
            raise UserError(f"{self.path}: has one identity; two are needed to hold one out")
        order = np.random.default_rng([seed, 5]).permutation(people)
        held = set(order[: min(people - 1, max(1, round(share * people)))].tolist())
        numbers = self.identity.tolist()
        rest = self.subset([i for i, person in enumerate(numbers) if person not in held])
        return rest, self.subset([i for i, person in enumerate(numbers) if person in held])

    # -- reading -----------------------------------------------------------------------------------------------------

    def _read_rows(self) -> list[FaceRow]:
        table = None
        if self.path.is_file() and self.path.suffix.lower() == ".csv":
            self._files: Folder | Zip = Folder(self.path.parent)
            table = self.path.name
        else:
            self._files = open_files(self.path)
            table = TABLE if TABLE in self._files.names else None
            if table is None and "faces.json" in self._files.names:
                raise UserError(f"{self.path}: is not finished (no {TABLE}); give the command that makes it again")
        if table is not None:
            return self._rows_of_table(table)
        names = [n for n in self._files.names if PurePosixPath(n).suffix.lower() in EXTENSIONS and not is_hidden(n)]
        rows = self._rows_by_name(names) or self._rows_of_folders(names)
        if not rows:
            missing = f"; {next(iter(self.skipped.values()))}" if self.skipped else ""
            raise UserError(
                f"{self.path}: holds no pairs of faces; give {TABLE}, names as in Multi-PIE, or the folders profile and "
                f"frontal with files of the same names{missing}"
            )
        return rows

    def _rows_of_table(self, table: str) -> list[FaceRow]:
        where = self.path if self.path.name == table else self.path / table
        try:
            rows = read_table(self._files.read(table).decode("utf-8-sig"))
        except (ValueError, OSError) as error:
            raise UserError(f"{where}: {error}") from error
        known = set(self._files.names)
        for row in rows:
            for name in (row.profile, row.frontal):
                if name not in known:
                    raise UserError(f"{where}: {name} is not there; paths are relative to the table")
            named = parse_name(row.profile)
            if named and named.yaw is not None and row.yaw is not None and row.yaw != named.yaw:
                raise UserError(
                    f"{where}: yaw of {row.profile} is {row.yaw:g}, but its name's camera {named.camera} stands at "
                    f"{named.yaw}; mend one of them"
                )
        return rows

    def _rows_by_name(self, names: list[str]) -> list[FaceRow]:
        """Files named as in Multi-PIE, each with its partner of the same folder or of any."""
        found = {name: parsed for name in names if (parsed := parse_name(name))}
        if len(found) < len(names):
            return []
        paths: dict[str, list[str]] = {}
        for name, parsed in found.items():
            paths.setdefault(str(parsed), []).append(name)
        rows = []
        for name, parsed in found.items():
            partners = paths.get(str(parsed.frontal), [])
            beside = [p for p in partners if PurePosixPath(p).parent == PurePosixPath(name).parent]
            if not partners:
                self.skipped[name] = f"its frontal partner {parsed.frontal} is not there"
            elif parsed.yaw is None:
                self.skipped[name] = f"camera {parsed.camera} has no known yaw"
            else:
                rows.append(FaceRow(name, (beside or partners)[0], parsed.subject, parsed.yaw))
        return rows

    def _rows_of_folders(self, names: list[str]) -> list[FaceRow]:
        """profile/X and frontal/X; a person is a folder below these, or else a file."""
        rows, known = [], set(names)
        for name in names:
            parts = PurePosixPath(name).parts
            if "profile" not in parts[:-1]:
                continue
            at = parts.index("profile")
            partner = PurePosixPath(*parts[:at], "frontal", *parts[at + 1 :]).as_posix()
            if partner not in known:
                self.skipped[name] = f"{partner} is not there"
                continue
            person = parts[at + 1] if len(parts) > at + 2 else PurePosixPath(name).stem
            rows.append(FaceRow(name, partner, person))
        return rows

    def _face(self, name: str) -> tuple[Tensor, Tensor]:
        face = self._known.get(name) or self._decode(name)
        if face is None:
            raise UserError(f"{self.path}: {name} cannot be used ({self.skipped[name]})")
        return face

    def _decode(self, name: str) -> tuple[Tensor, Tensor] | None:
        """The aligned picture and its landmarks; None for a file that is not a picture."""
        try:
            with Image.open(io.BytesIO(self._files.read(name))) as image:
                rgb = to_rgb8(image)
        except Exception as error:  # Pillow raises many kinds; all mean "not a usable image"
            self.skipped[name] = complaint(error)
            return None
        points = self._landmarks.get(name)
        if points is None:
            return pixels_of(fit_square(rgb, self.resolution)), template(self.resolution)
        try:
            aligned = align(pixels_of(rgb), np.asarray(points, np.float64), self.resolution)
        except ValueError as error:
            raise UserError(f"{self.path}: {name}: {error}") from error
        return aligned.picture, torch.from_numpy(aligned.landmarks).float()


def holds_pairs(name: str) -> bool:
    """Whether a set says in pairs.csv which of its pictures belong together."""
    path = builtin_path(name)
    return path.suffix.lower() == ".csv" or (path.exists() and TABLE in open_files(path).names)


def mirrored(landmarks: Tensor, resolution: int) -> Tensor:
    """Landmarks [..., 5, 2] of the picture flipped left to right."""
    flipped = torch.stack([resolution - landmarks[..., 0], landmarks[..., 1]], -1)
    return flipped[..., MIRRORED, :]


def check_disjoint(first: FacePairs, second: FacePairs, keys: tuple[str, str]) -> None:
    """Raise UserError when a person is in both sets; `keys` name them in the recipe."""
    shared = sorted(set(first.identities) & set(second.identities))
    if shared:
        more = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
        raise UserError(
            f"{keys[1]}={second.path}: identity {shared[0]}{more} is in {keys[0]}={first.path} too; a result on people "
            "seen in training says nothing about others"
        )


class FaceFeed:
    """What a training step on faces sees: pairs from an endless shuffle."""

    def __init__(self, pairs: FacePairs) -> None:
        self.pairs = pairs

    def batches(
        self, batch: int, seed: int, *,
        start: int = 0, mirror: bool = False, part: int = 0, parts: int = 1, workers: int = 0,
    ) -> Iterator[FaceBatch]:  # fmt: skip
        """Endless batches of [batch / parts] from position `start` of the shuffle."""
        order = EndlessShuffle(len(self.pairs), batch, seed, start=start, mirror=mirror, part=part, parts=parts)
        for tensors in DataLoader(self.pairs, batch_sampler=order, num_workers=workers):
            yield FaceBatch(*tensors)
