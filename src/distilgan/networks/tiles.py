"""Translating a picture of any size in bounded memory, without seams.

A large picture is cut into tiles, each translated with as much around it as can change its pixels (`reach`), and all with the same
normalisation statistics: those of the whole picture, at a size that fits into memory. With these held, the tiles are exactly
what the network makes of the whole picture; and the statistics of a photo depend less on its size than on where one looks.

Source: Chen et al., "Towards Ultra-Resolution Neural Style Transfer via Thumbnail Instance Normalization", AAAI 2022.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from distilgan.networks.resnet_translator import ResnetTranslator
from distilgan.networks.statistics import InstanceNorm, release, taken_statistics

WHOLE = 2**20
"""Pixels up to which a picture is translated in one piece."""
TILE = 512
_SMALLEST = 4  # positions along a side of the bottleneck, which reflects at its edges


@torch.no_grad()
def translate_picture(
    network: ResnetTranslator, pixels: Tensor, *, whole: int = WHOLE, tile: int = TILE,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:  # fmt: skip
    """What `network`, in eval mode, makes of a picture of any size, uint8 [3, H, W] -> uint8 [3, H, W], on the CPU.

    Args:
        whole: pixels up to which no tiles are made. tile: side of what one tile adds. progress: tiles done, and of how many.
    """
    height, width = pixels.shape[1:]
    multiple = network.config.multiple
    rows, columns = (max(_SMALLEST * multiple, _up(side, multiple)) for side in (height, width))
    if rows * columns <= whole:
        made = _run(network, _window(pixels, 0, 0, rows, columns))
        return made[:, :height, :width]
    network = network.with_fixed_steps()  # an adaptive solver would take others in each tile
    normalises = any(isinstance(m, InstanceNorm) for m in network.modules())
    try:
        if normalises:
            _hold_statistics(network, pixels, rows, columns, whole)
        margin = _up(network.reach, multiple)
        cores = list(_cores(rows, columns, _up(tile, multiple)))
        made = torch.empty_like(pixels, device="cpu")
        for done, (top, left, tall, wide) in enumerate(cores):
            first_row, first_column = max(0, top - margin), max(0, left - margin)
            last_row, last_column = min(rows, top + tall + margin), min(columns, left + wide + margin)
            window = _window(pixels, first_row, first_column, last_row - first_row, last_column - first_column)
            found = _run(network, window)[:, top - first_row :, left - first_column :]
            bottom, right = min(height, top + tall), min(width, left + wide)
            made[:, top:bottom, left:right] = found[:, : bottom - top, : right - left]
            if progress:
                progress(done + 1, len(cores))
    finally:
        release(network)
    return made


def _up(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple


def _cores(rows: int, columns: int, tile: int) -> Iterator[tuple[int, int, int, int]]:
    """(top, left, height, width) of tiles that cover a picture."""
    for top in range(0, rows, tile):
        for left in range(0, columns, tile):
            yield top, left, min(tile, rows - top), min(tile, columns - left)


def _window(pixels: Tensor, top: int, left: int, tall: int, wide: int) -> Tensor:
    """A part of the picture [3, tall, wide]; beyond its lower and right edge it goes on as its mirror image, or, where it is too
    small for that, as its last row and column."""
    height, width = pixels.shape[1:]
    found = pixels[:, top : min(top + tall, height), left : min(left + wide, width)].float() / 127.5 - 1
    for below, right in ((tall - found.shape[1], 0), (0, wide - found.shape[2])):
        if below or right:
            mirror = below < found.shape[1] and right < found.shape[2]
            found = F.pad(found[None], (0, right, 0, below), mode="reflect" if mirror else "replicate")[0]
    return found


def _run(network: ResnetTranslator, image: Tensor) -> Tensor:
    """uint8 on the CPU."""
    device = next(network.parameters()).device
    made: Tensor = network(image[None].to(device))
    return (made[0].float() * 127.5 + 128).clamp(0, 255).to(torch.uint8).cpu()


def _hold_statistics(network: ResnetTranslator, pixels: Tensor, rows: int, columns: int, whole: int) -> None:
    """Of the picture reduced to about `whole` pixels."""
    multiple = network.config.multiple
    share = math.sqrt(whole / (rows * columns))
    small = [max(_SMALLEST, int(share * side / multiple)) * multiple for side in (rows, columns)]
    thumbnail = F.interpolate(pixels[None], small, mode="bilinear", antialias=True)[0]
    with taken_statistics(network):
        _run(network, _window(thumbnail, 0, 0, *small))
