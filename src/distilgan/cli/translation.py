"""Verbs for photos that are translated into a style."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from distilgan.cli.options import Device, check_device
from distilgan.errors import UserError


def translate(
    model: Annotated[str, typer.Argument(help="Run, folder of a translator, .onnx, .pth of CUT, or builtin:NAME.")],
    source: Annotated[Path, typer.Argument(metavar="IN", help="A photo, a folder of them, or a video.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A file like IN, or a folder.")],
    device: Device = "cpu",
) -> None:
    """Translate photos or a video into the style that a network has learnt; of any size, names and sizes stay."""
    check_device(device)
    from distilgan.evaluation.translation.translators import open_translator
    from distilgan.files import disk_full_is_a_message
    from distilgan.pipeline import translate as translating
    from distilgan.pipeline.photographs import photographs
    from distilgan.progress import counter, steps

    network = open_translator(model, device)
    if translating.is_video(source):
        with disk_full_is_a_message(out), steps("frames") as progress:
            count = translating.translate_video(network, source, out, progress)
        return print(f"{out}: {count} frames")
    made, failed, total = 0, 0, len(photographs(source))
    with disk_full_is_a_message(out), counter("translating", total) as advance, steps("tiles") as progress:
        for photo in translating.translate_photos(network, source, out, progress if total == 1 else None):
            advance(1)
            made, failed = made + bool(photo.result), failed + (not photo.result)
            if not photo.result:
                print(f"{photo.name}: not translated: {photo.note}", file=sys.stderr)
    if not made:
        raise UserError(f"{source}: none of its {failed} pictures could be translated")
    return print(f"{out}: {made} translated, {failed} left out" if source.is_dir() else f"{out}")
