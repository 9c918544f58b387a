"""Verbs for faces."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from distilgan.cli.options import Device, check_device
from distilgan.errors import UserError


def frontalize(
    model: Annotated[str, typer.Argument(help="Run, folder of a TP-GAN, its .onnx, or builtin:NAME.")],
    source: Annotated[Path, typer.Argument(metavar="IN", help="A photo, or a folder of them.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A folder.")],
    landmarks: Annotated[
        Path | None,
        typer.Option(
            help="Table of eyes, nose, mouth corners; default: pairs.csv beside the photos.", show_default=False
        ),
    ] = None,
    aligned: Annotated[
        bool,
        typer.Option(
            "--aligned", help="The photos are aligned crops, whose landmarks are where a frontal face has them."
        ),
    ] = False,
    detect: Annotated[bool, typer.Option("--detect", help="Find faces with facenet-pytorch's weights.")] = False,
    device: Device = "cpu",
) -> None:
    """Turn faces to the front: NAME.png, with how it came about in NAME.steps.png, and a list of all in faces.csv."""
    check_device(device)
    from distilgan.evaluation.faces.frontalizers import open_frontalizer, trained_yaws
    from distilgan.files import disk_full_is_a_message
    from distilgan.pipeline import frontalize as turning

    turn = open_frontalizer(model, device)
    provider = turning.provider(source, landmarks, aligned, detect)
    yaws, made, failed = trained_yaws(turn), 0, 0
    if yaws is None:
        print(f"{model}: does not say which angles it learnt from; none are called too large", file=sys.stderr)
    with disk_full_is_a_message(out):
        for face in turning.frontalize(turn, source, out, provider, yaws):
            made, failed = made + (not face.failed), failed + face.failed
            notes = f": {'; '.join(face.notes)}" if face.notes else ""
            if face.failed:
                print(f"{face.name}: not turned{notes}", file=sys.stderr)
            elif notes:
                print(f"{face.name}{notes}", file=sys.stderr)
    if not made:
        raise UserError(f"{source}: none of its {failed} pictures could be turned; {out / turning.REPORT} says why")
    print(f"{out}: {made} faces turned, {failed} pictures left out")
