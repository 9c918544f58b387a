"""Verbs for photos that are translated into a style."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from distilgan.cli.options import Device, check_device, print_costs, print_json
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
    from distilgan.pipeline.photographs import photographs
    from distilgan.pipeline.translate import translate_photos
    from distilgan.pipeline.videos import is_video, translate_video
    from distilgan.progress import counter, steps

    network = open_translator(model, device)
    if is_video(source):
        with disk_full_is_a_message(out), steps("frames") as progress:
            film, count = translate_video(network, source, out, progress)
        return print(f"{film}: {count} frames")
    made, failed, total = 0, 0, len(photographs(source))
    with disk_full_is_a_message(out), counter("translating", total) as advance, steps("tiles") as progress:
        for photo in translate_photos(network, source, out, progress if total == 1 else None):
            if photo.note and source.is_file():
                raise UserError(f"{source}: not translated: {photo.note}")
            advance(1)
            made, failed = made + (not photo.note), failed + bool(photo.note)
            if photo.note:
                print(f"{photo.name}: not translated: {photo.note}", file=sys.stderr)
    if not made:
        raise UserError(f"{source}: none of its {failed} pictures could be translated")
    return print(f"{out}: {made} translated, {failed} left out" if source.is_dir() else f"{out}")


def evaluate_translator(
    source: str, data: str | None, style: str | None, teacher: str | None, extractor: str | None, pictures: Path | None,
    device: str, json: bool,
) -> None:  # fmt: skip
    """What `distilgan evaluate` does with a translator."""
    from dataclasses import asdict, fields

    from distilgan.evaluation.card import figure
    from distilgan.evaluation.translation.measure import TranslationProtocol, open_crops
    from distilgan.evaluation.translation.named import evaluate_named
    from distilgan.evaluation.translation.report import protocol_sentence, write_test_pictures
    from distilgan.evaluation.translation.translators import open_translator
    from distilgan.recipe import TranslationRecipe
    from distilgan.runs import is_run, open_run

    if pictures is not None and (pictures.is_file() or (pictures.is_dir() and any(pictures.iterdir()))):
        raise UserError(f"--pictures {pictures}: is there already; name a new folder")
    result = evaluate_named(source, data, style, teacher, device, extractor=extractor)
    if pictures is not None:
        known = {f.name for f in fields(TranslationProtocol)}
        protocol = TranslationProtocol(**{k: v for k, v in result.protocol.items() if k in known})
        recipe = open_run(Path(source)).recipe if is_run(Path(source)) else None
        beside = teacher or (recipe.compared_with if isinstance(recipe, TranslationRecipe) else None)
        write_test_pictures(
            pictures, open_crops(protocol, protocol.data), open_translator(source, device),
            open_translator(beside, device) if beside else None,
        )  # fmt: skip
    if json:
        return print_json(asdict(result))
    for name, value in result.metrics.items():
        others = {"teacher": result.teacher, "photos": result.photos, "style": result.style}
        beside_it = [f"{who} {figure(found[name])}" for who, found in others.items() if name in found]
        print(f"{name:36} {figure(value):>10}   {'   '.join(beside_it)}")
    for photo, found in result.each.items():
        print(
            f"{Path(photo).name:36} "
            + "  ".join(f"{k} {figure(v)}" for k, v in found.items() if k.startswith(("mse", "psnr")))
        )
    for name, found in result.solvers.items():
        print(f"solver {name:29} {figure(found['psnr']):>10} dB to its own solver's picture")
    print_costs(result.cost)
    return print(protocol_sentence(result).replace("`", ""))
