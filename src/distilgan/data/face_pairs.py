"""Pictures of faces with their frontal partners, as one tensor source; and the rule that no person is in two sets."""

from __future__ import annotations

import hashlib
import io
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from distilgan.data.alignment import CUT_OFF, align, check_crop, estimated_yaw
from distilgan.data.archives import builtin_path
from distilgan.data.face_rows import find_pairs
from distilgan.data.face_table import FaceRow
from distilgan.data.images import IN_MEMORY, complaint, fit_square, is_grey, pixels_of, to_float, to_rgb8
from distilgan.data.sampler import EndlessShuffle
from distilgan.errors import UserError
from distilgan.networks.tpgan import template

MIRRORED = [1, 0, 2, 4, 3]
"""Which landmark takes which one's place when a picture is flipped."""

_APART = 45.0  # degrees between the yaw that a table gives and what landmarks say, where one of them is wrong


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
        limit: use no more pairs than these, those of whole people drawn from all, of one at least.

    Attributes:
        rows: what is known of each pair. identities: names of the people, whose numbers `identity` [len] holds.
        yaw: degrees [len], NaN where unknown. landmarked: whether landmarks are known; if not, faces are taken as aligned.
        skipped: file -> why it cannot be used. grey: files without colour, once `check` has looked.

    Raises:
        UserError: no pairs there, a damaged table, landmarks outside a picture, a yaw that the file's name contradicts. See
            `face_rows.find_pairs` for what is read.
    """

    def __init__(self, path: str | Path, resolution: int, *, limit: int | None = None) -> None:
        self.path, self.resolution = builtin_path(str(path)), resolution
        found = find_pairs(self.path)
        self._files, self.skipped, rows = found.files, found.skipped, found.rows
        self.grey: set[str] = set()
        self._landmarks = {row.profile: row.landmarks for row in rows if row.landmarks is not None}
        if limit is not None and limit < len(rows):
            rows = _of_some_people(rows, limit)
        self._known: dict[str, tuple[Tensor, Tensor]] = {}
        names = list(dict.fromkeys(name for row in rows for name in (row.frontal, row.profile)))
        if len(names) * 3 * resolution**2 <= IN_MEMORY:
            self._known = {name: face for name in names if (face := self._decode(name)) is not None}
            rows = [row for row in rows if not {row.profile, row.frontal} & self.skipped.keys()]
        if not rows:
            name, reason = next(iter(self.skipped.items()))
            raise UserError(f"{self.path}: none of its pairs can be used ({name}: {reason})")
        self._index(rows)

    def refuse_skipped(self) -> None:
        """What is strict: UserError for the first file that cannot be used."""
        for name, reason in self.skipped.items():
            raise UserError(f"{self.path}: {name} cannot be used ({reason}); mend or remove it, or read without strict")

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

    def check(self) -> None:
        """Read every picture, which a set too large for the memory has not done yet, and compare yaws with landmarks.

        Raises:
            UserError: landmarks outside a picture, or yaws that contradict them.
        """
        apart, yaws = [], {row.profile: row.yaw for row in self.rows}
        for name in dict.fromkeys(name for row in self.rows for name in (row.frontal, row.profile)):
            face = self._known.get(name) or self._decode(name)
            if face is None:
                continue
            if is_grey(face[0]):
                self.grey.add(name)
            if self.landmarked and (yaw := yaws.get(name)) is not None:
                apart.append(abs(estimated_yaw(face[1].double().numpy()) - yaw))
        self._index([row for row in self.rows if not {row.profile, row.frontal} & self.skipped.keys()])
        if apart and statistics.median(apart) > _APART:
            raise UserError(
                f"{self.path}: half of the yaws are {statistics.median(apart):.0f} degrees or more from what the landmarks say; "
                "they are degrees, positive where a face is turned to its own left"
            )

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
            try:
                check_crop(*rgb.size)
            except ValueError as error:
                self.skipped[name] = str(error)
                return None
            return pixels_of(fit_square(rgb, self.resolution)), template(self.resolution)
        try:
            aligned = align(pixels_of(rgb), np.asarray(points, np.float64), self.resolution)
        except ValueError as error:
            raise UserError(f"{self.path}: {name}: {error}") from error
        if aligned.outside > CUT_OFF:
            self.skipped[name] = f"{aligned.outside:.0%} of the face lies beyond the border"
            return None
        return aligned.picture, torch.from_numpy(aligned.landmarks).float()


def mirrored(landmarks: Tensor, resolution: int) -> Tensor:
    """Landmarks [..., 5, 2] of the picture flipped left to right."""
    flipped = torch.stack([resolution - landmarks[..., 0], landmarks[..., 1]], -1)
    return flipped[..., MIRRORED, :]


def check_disjoint(first: FacePairs, second: FacePairs, keys: tuple[str, str]) -> None:
    """Raise UserError when a person is in both sets; `keys` name them in the recipe."""
    shared = sorted(set(first.identities) & set(second.identities))
    if shared:
        more = f" (and {len(shared) - 1} more)" if len(shared) > 1 else ""
        raise UserError(
            f"{keys[1]}={second.path}: identity {shared[0]}{more} is in {keys[0]}={first.path} too; a result on people "
            "seen in training says nothing about others. If they are others, give them other names: the column identity, or a "
            "folder for each person"
        )


def people_digest(pairs: FacePairs) -> str:
    """Who is in a set, for a network's config.json to tell: a word for each person, from which no name can be read."""
    return " ".join(sorted(_word(name) for name in pairs.identities))


def check_unseen(pairs: FacePairs, known: str, key: str, network: str) -> None:
    """Raise UserError when `network` has learnt from people of `pairs`; `known`: what its config.json tells of them."""
    words = set(known.split())
    seen = [name for name in pairs.identities if _word(name) in words]
    if seen:
        more = f" and {len(seen) - 1} more" if len(seen) > 1 else ""
        raise UserError(
            f"{key}={pairs.path}: {network} has learnt from identity {seen[0]}{more}; a result on people seen in training says "
            "nothing about others. If they are others, give them other names"
        )


def _word(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:10]


def _of_some_people(rows: list[FaceRow], limit: int) -> list[FaceRow]:
    """Those of whole people, in a mixed order, as long as they are no more than `limit`."""
    by_person: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        by_person.setdefault(row.identity, []).append(i)
    people, chosen = sorted(by_person), list[int]()
    for i in np.random.default_rng(0).permutation(len(people)):
        if chosen and len(chosen) + len(by_person[people[i]]) > limit:
            break
        chosen += by_person[people[i]]
    return [rows[i] for i in sorted(chosen)]


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
