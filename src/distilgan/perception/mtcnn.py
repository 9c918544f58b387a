"""Where a photograph's face has its eyes, nose and mouth: MTCNN, with the weights that the package facenet-pytorch carries.

The package is not imported: it wants torchvision and old versions of everything. Only its three weight files are read (MIT).

Source: Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", 2016. Boxes are (left,
top, right, bottom) in pixels; where the paper leaves thresholds and rounding open they are the package's, whose points ours equal.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilgan.errors import UserError

_THRESHOLDS, _SHRINK, _CELL = (0.6, 0.7, 0.7), 0.709, 12
Array = npt.NDArray[np.float64]


class _Stage(nn.Module):
    """A network of the cascade: convolutions, then heads for being a face (2), moving the box (4), landmarks (10)."""

    def __init__(self, widths: list[tuple[int, int, int]], pools: list[int], dense: int, heads: str) -> None:
        super().__init__()
        before = 3
        for i, (width, kernel, _) in enumerate(widths, 1):
            self.add_module(f"conv{i}", nn.Conv2d(before, width, kernel))
            self.add_module(f"prelu{i}", nn.PReLU(width))
            before = width
        self.pools, self.depth = pools, len(widths)
        n = self.depth + 1
        if dense:
            side = widths[-1][2]
            self.add_module(f"dense{n}", nn.Linear(before * side**2, dense))
            self.add_module(f"prelu{n}", nn.PReLU(dense))
            n += 1
        for k, size in enumerate((2, 4, 10)[: len(heads)], 1):
            name = f"dense{n}_{k}" if dense else f"conv{n}_{k}"
            self.add_module(name, nn.Linear(dense, size) if dense else nn.Conv2d(before, size, 1))
        self.dense, self.heads = dense, [f"{'dense' if dense else 'conv'}{n}_{k}" for k in range(1, len(heads) + 1)]

    def forward(self, x: Tensor) -> list[Tensor]:
        layer = self.get_submodule
        for i in range(1, self.depth + 1):
            x = layer(f"prelu{i}")(layer(f"conv{i}")(x))
            if i <= len(self.pools):
                x = F.max_pool2d(x, self.pools[i - 1], 2, ceil_mode=True)
        if self.dense:
            n = self.depth + 1
            x = layer(f"prelu{n}")(layer(f"dense{n}")(x.permute(0, 3, 2, 1).flatten(1)))  # columns first, as it learnt
        return [layer(name)(x) for name in self.heads]


def _stages() -> dict[str, _Stage]:
    return {
        "pnet": _Stage([(10, 3, 0), (16, 3, 0), (32, 3, 0)], [2], 0, "sb"),
        "rnet": _Stage([(28, 3, 0), (48, 3, 0), (64, 2, 3)], [3, 3], 128, "sb"),
        "onet": _Stage([(32, 3, 0), (64, 3, 0), (64, 3, 0), (128, 2, 3)], [3, 3, 2], 256, "sbp"),
    }


def installed() -> bool:
    """Whether the package with the weights is there."""
    return _weights_folder() is not None


def _weights_folder() -> Path | None:
    spec = importlib.util.find_spec("facenet_pytorch")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / "data"


class FaceDetector:
    """Finds a photograph's largest face.

    Raises:
        UserError: facenet-pytorch is not installed.
    """

    def __init__(self) -> None:
        folder = _weights_folder()
        if folder is None:
            raise UserError("finding faces needs the package facenet-pytorch: pip install --no-deps facenet-pytorch")
        self.stages = _stages()
        for name, stage in self.stages.items():
            try:
                stage.load_state_dict(torch.load(folder / f"{name}.pt", weights_only=True))
            except (OSError, EOFError, RuntimeError, TypeError, AttributeError, UnpicklingError) as error:
                raise UserError(f"{folder / name}.pt: cannot be read; install facenet-pytorch again") from error
            stage.eval().requires_grad_(False)

    def landmarks(self, photograph: Tensor, smallest: int = 20) -> Array | None:
        """Eyes, nose, mouth corners [5, 2] of the largest face in an RGB photograph, uint8 [3, H, W]; None without a face.

        Args:
            smallest: side of the smallest face that is looked for, pixels.
        """
        image = (photograph.float() - 127.5) / 128
        boxes = self._propose(image, smallest)
        boxes, _ = self._refine(image, boxes, "rnet", 24, _THRESHOLDS[1])
        boxes, points = self._refine(image, boxes, "onet", 48, _THRESHOLDS[2])
        if not len(boxes):
            return None
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        chosen: Array = points[int(areas.argmax())].double().numpy()
        return chosen

    def _propose(self, image: Tensor, smallest: int) -> Tensor:
        """Boxes [N, 4] that may hold a face, from a pyramid of sizes."""
        height, width = image.shape[1:]
        scale, found = _CELL / smallest, []
        while min(height, width) * scale >= _CELL:
            size = int(height * scale + 1), int(width * scale + 1)
            logits, moves = self.stages["pnet"](F.interpolate(image[None], size=size, mode="area"))
            scores = logits.softmax(1)[0, 1]
            rows, columns = torch.nonzero(scores >= _THRESHOLDS[0], as_tuple=True)
            corner = torch.stack([columns, rows], 1).float() * 2
            boxes = torch.cat([((corner + 1) / scale).floor(), ((corner + _CELL) / scale).floor()], 1)
            score = scores[rows, columns]
            kept = suppress(boxes, score, 0.5)
            found.append(torch.cat([boxes, score[:, None], moves[0, :, rows, columns].t()], 1)[kept])
            scale *= _SHRINK
        if not found or not sum(map(len, found)):
            return torch.zeros(0, 4)
        every = torch.cat(found)
        every = every[suppress(every[:, :4], every[:, 4], 0.7)]
        sides = (every[:, 2:4] - every[:, :2]).repeat(1, 2)
        return _square(every[:, :4] + every[:, 5:] * sides)

    def _refine(self, image: Tensor, boxes: Tensor, name: str, size: int, threshold: float) -> tuple[Tensor, Tensor]:
        """The boxes that a stage takes for faces, moved by it, [N, 4], and landmarks [N, 5, 2] (or [N, 0])."""
        height, width = image.shape[1:]
        whole = boxes.trunc().int()
        first, last = whole[:, :2].clamp(min=1), torch.minimum(whole[:, 2:], torch.tensor([width, height]))
        inside = (last > first - 1).all(1)
        boxes, corners = boxes[inside], torch.cat([first, last], 1)[inside].tolist()
        if not corners:
            return boxes, torch.zeros(0, 5, 2)
        cuts = [
            F.interpolate(image[None, :, top - 1 : bottom, left - 1 : right], size=(size, size), mode="area")
            for left, top, right, bottom in corners
        ]
        logits, moves, *points = self.stages[name](torch.cat(cuts))
        scores = logits.softmax(1)[:, 1]
        faces = scores > threshold
        boxes, scores, moves = boxes[faces], scores[faces], moves[faces]
        sides = boxes[:, 2:] - boxes[:, :2] + 1
        marks = torch.zeros(len(boxes), 0)
        if points:
            marks = points[0][faces].reshape(-1, 2, 5).transpose(1, 2) * sides[:, None] + boxes[:, None, :2] - 1
        moved = boxes + moves * sides.repeat(1, 2)
        if points:
            kept = suppress(moved, scores, 0.7, of_smaller=True)
            return moved[kept], marks[kept]
        kept = suppress(boxes, scores, 0.7)
        return _square(moved[kept]), marks[kept]


def suppress(boxes: Tensor, scores: Tensor, most: float, of_smaller: bool = False) -> Tensor:
    """Indices of boxes [N, 4], the best first, none of which shares more than `most` with a better one.

    Args:
        of_smaller: the share is of the smaller box, else of the union; pixels are counted with both ends.
    """
    edge = 1.0 if of_smaller else 0.0
    order, kept = scores.argsort(descending=True).tolist(), []
    area = (boxes[:, 2] - boxes[:, 0] + edge) * (boxes[:, 3] - boxes[:, 1] + edge)
    rest = torch.tensor(order, dtype=torch.long)
    while len(rest):
        best, rest = int(rest[0]), rest[1:]
        kept.append(best)
        low, high = torch.maximum(boxes[best, :2], boxes[rest, :2]), torch.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = (high - low + edge).clamp(min=0).prod(1)
        whole = torch.minimum(area[best], area[rest]) if of_smaller else area[best] + area[rest] - shared
        rest = rest[shared / whole <= most]
    return torch.tensor(kept, dtype=torch.long)


def _square(boxes: Tensor) -> Tensor:
    """Boxes about the same centres whose sides are the longer one."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longest = sides.max(1, keepdim=True).values
    corner = boxes[:, :2] + sides / 2 - longest / 2
    return torch.cat([corner, corner + longest], 1)
