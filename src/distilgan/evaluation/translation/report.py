"""report.html of a run that translates photos, and the pictures of a test set side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from distilgan.data.archives import stems
from distilgan.data.crops import CropSet
from distilgan.data.grid import picture_grid
from distilgan.data.images import to_float, to_uint8
from distilgan.evaluation.card import figure, without_folders
from distilgan.evaluation.dynamics import dynamics
from distilgan.evaluation.page import (
    boxes,
    cost_table,
    curves,
    data_uri,
    picture_rows,
    saved,
    table_row,
    with_code,
    write_page,
)
from distilgan.evaluation.translation.measure import TranslationProtocol, TranslationResult, open_crops
from distilgan.evaluation.translation.translators import AnyTranslator
from distilgan.recipe import TranslationRecipe

_PLOTS = (
    ("reproduction in the warm-up", ("reproduction",)),
    ("against the critics (raw)", ("gan", "pair_gan")),
    ("PatchNCE (raw)", ("nce", "pair_nce", "contrast")),
    ("semantic relation (raw)", ("relation", "teacher_relation")),
    ("content (raw)", ("content",)),
    ("distance from the teacher's picture (raw)", ("output", "high_frequency")),
    ("perceptual distance from it (raw)", ("perceptual",)),
    ("bottleneck features (raw)", ("alignment", "channel")),
    ("contrast with the teacher (raw)", ("teacher_contrast",)),
    ("critics", ("discriminator", "pair_critic")),
    ("mean scores", ("score_real", "score_fake", "score_real_pair", "score_fake_pair")),
    ("gradient norms", ("gradient_generator", "gradient_discriminator", "gradient_pair_critic")),
    ("evaluations of all blocks", ("evaluations",)),
)
_MEANING = {
    "fid_style": "Fréchet distance to the style's pictures (lower is closer)",
    "kid_style": "kernel distance to the style's pictures (lower is closer)",
    "fid_teacher": "Fréchet distance to the teacher's pictures",
    "kid_teacher": "kernel distance to the teacher's pictures",
    "high_frequency": "energy of the highest band: detail, or noise",
    "psnr_teacher": "dB, against the teacher's picture of the same photo",
    "ssim_teacher": "structural similarity with it",
    "perceptual_teacher": "feature distance from it",
    "mse_teacher": "mean squared difference from it, pictures in [-1, 1]",
    "psnr_photo": "dB, against the photo: how much was changed",
    "ssim_photo": "structural similarity with the photo: what was kept",
    "perceptual_photo": "feature distance from the photo (content; lower keeps more)",
    "mse_photo": "mean squared difference from the photo",
    "psnr_exact_ode": "dB, against its picture with the ODEs solved to three digits",
    "evaluations": "of each block's function for one picture",
}
_COLUMNS, _SHOWN, _TALL = 8, 4, 256
_ALL = "all.png"


def meaning(name: str) -> str:
    """What a figure says; sample counts and extractors stand in the middle of its name."""
    first, last = name.split("_")[0], name.split("_")[-1]
    key = name if name in _MEANING else f"{first[:3]}_{last}"
    return _MEANING.get(key, "")


def write_translation_report(
    path: Path, recipe: TranslationRecipe, result: TranslationResult, protocol: TranslationProtocol,
    student: AnyTranslator, teacher: AnyTranslator | None, log: Path, card: str,
) -> None:  # fmt: skip
    """Write the page of a finished run."""
    photos = open_crops(protocol, protocol.data)
    style = open_crops(protocol, protocol.style) if protocol.style else None
    held = {True: "photos that it has not seen", False: "photos of the training set", None: "the photos given"}
    moved = dynamics(log, recipe)
    sections = [
        ("", _facts(result)),
        (f"Translated: {held[protocol.held_out]}", _whole_pictures(photos, student, teacher)),
        ("Crops of the size that it learnt from", _crops(photos, style, student, teacher)),
        ("Quality", _metric_table(result)),
        *([("Solvers", _solver_table(result))] if result.solvers else []),
        ("Cost of one picture of 256 x 256", cost_table(result.cost) + _timing_table(result)),
        *([("How the balanced losses went", moved)] if moved else []),
        ("Training", curves(log, _PLOTS)),
        ("Photo by photo", _photo_table(result)),
    ]
    write_page(path, recipe, sections, result.protocol, card)


def _facts(result: TranslationResult) -> str:
    facts = saved(result.cost)
    for prefix, text in (("kid", "KID to the style"), ("psnr", "dB to the teacher's picture")):
        target = "style" if prefix == "kid" else "teacher"
        name = next((n for n in result.metrics if n.startswith(prefix) and n.endswith(f"_{target}")), None)
        if name is None:
            continue
        others = {"teacher": result.teacher.get(name), "photos as they are": result.photos.get(name)}
        beside = "; ".join(f"{who} {figure(value)}" for who, value in others.items() if value is not None)
        facts.append((figure(result.metrics[name]), f"{text}; {beside}" if beside and prefix == "kid" else text))
    return boxes(facts)


def side_by_side(photo: Tensor, *translations: Tensor) -> Image.Image:
    """Pictures of one photo, uint8 [3, H, W] each, in a row."""
    height, gap = photo.shape[1], 4
    white = torch.full((3, height, gap), 255, dtype=torch.uint8)
    parts = [photo]
    for made in translations:
        parts += [white, made]
    return Image.fromarray(torch.cat(parts, 2).permute(1, 2, 0).contiguous().numpy())


def _whole_pictures(photos: CropSet, student: AnyTranslator, teacher: AnyTranslator | None) -> str:
    """A few photos as wholes: photo | teacher's | student's."""
    count = min(_SHOWN, len(photos))
    rows = []
    for i in torch.linspace(0, len(photos) - 1, count).long().tolist():
        photo = _at_most(photos[i], _TALL)
        made = [t.picture(photo) for t in (teacher, student) if t is not None]
        rows.append(f"<img alt='{i}' src='{data_uri(side_by_side(photo, *made))}'>")
    who = "photo, teacher, student" if teacher is not None else "photo, translation"
    return f"<p class='dim'>{who}</p><div class='wide'>{'<br>'.join(rows)}</div>"


def _at_most(pixels: Tensor, tall: int) -> Tensor:
    height, width = pixels.shape[1:]
    if height <= tall:
        return pixels
    size = (tall, max(1, round(width * tall / height)))
    small = F.interpolate(to_float(pixels)[None], size, mode="bilinear", antialias=True, align_corners=False)
    return to_uint8(small)[0]


def _crops(photos: CropSet, style: CropSet | None, student: AnyTranslator, teacher: AnyTranslator | None) -> str:
    chosen = _spread(photos)
    images = to_float(chosen)
    rows = [("photo", chosen)]
    rows += [("teacher", to_uint8(teacher(images)))] if teacher is not None else []
    rows.append(("student" if teacher is not None else "translation", to_uint8(student(images))))
    rows += [("style", _spread(style))] if style is not None else []
    return picture_rows(rows)


def _spread(pictures: CropSet) -> Tensor:
    """A crop of each of some pictures, uint8 [columns, 3, R, R]."""
    indices = torch.linspace(0, len(pictures) - 1, _COLUMNS).long().tolist()
    return torch.stack([pictures.crop(i, (0.5, (0.37 * k) % 1, 0.6)) for k, i in enumerate(indices)])


def _metric_table(result: TranslationResult) -> str:
    own = "student" if "student" in result.cost else "generator"
    others = {"teacher": result.teacher, "photos": result.photos, "style": result.style}
    others = {who: found for who, found in others.items() if found}
    rows = [table_row("th", "metric", own, *others, meaning="")]
    for name, value in result.metrics.items():
        beside = [figure(found.get(name)) for found in others.values()]
        rows.append(table_row("td", name, figure(value), *beside, meaning=meaning(name)))
    note = protocol_sentence(result)
    return f"<div class='wide'><table>{''.join(rows)}</table></div><p class='dim'>{with_code(note)}</p>"


def protocol_sentence(result: TranslationResult) -> str:
    """How the figures were made."""
    p = result.protocol
    held = {True: " (held out)", False: " (the training set)", None: ""}
    against = (
        f"; style: {p['style_crops']} crops of {p['style_pictures']} pictures of `{without_folders(p['style'])}`"
        f"{held[p['style_held_out']]}"
        if p["style"]
        else ""
    )
    return (
        f"{p['photo_crops']} crops of {p['resolution']} px of the {p['photos']} photos of `{without_folders(p['data'])}`"
        f"{held[p['held_out']]}{against}. FID and KID: features of {p['extractor']}; perceptual: {p['perceptual']}. PSNR: "
        f"{p['psnr']}; SSIM: {p['ssim']}; high_frequency: {p['high_frequency']}. Photos: as they are, untranslated."
    )


def _solver_table(result: TranslationResult) -> str:
    rows = [table_row("th", "solver", "PSNR to the own solver's", "SSIM", "evaluations a block")]
    for name, found in result.solvers.items():
        cells = (figure(found["psnr"]), figure(found["ssim"]), figure(found["evaluations"]))
        rows.append(table_row("td", name, *cells))
    note = "The same weights under other solvers; 100 dB is no difference. A network is valid near the solver it learnt with."
    return f"<table>{''.join(rows)}</table><p class='dim'>{note}</p>"


def _timing_table(result: TranslationResult) -> str:
    names = ("latency_ms_mean_of_5", "latency_ms_mean_of_50")
    rows = [table_row("th", "", "mean of 5 runs", "mean of 50 runs")]
    for label, cost in result.cost.items():
        if all(name in cost for name in names):
            rows.append(table_row("td", label, *(f"{cost[name]:.1f} ms" for name in names)))
    return (
        f"<table>{''.join(rows)}</table><p class='dim'>After five runs that are not counted.</p>"
        if len(rows) > 1
        else ""
    )


def _photo_table(result: TranslationResult) -> str:
    names: Sequence[str] = list(next(iter(result.each.values()), {}))
    rows = [table_row("th", "photo", *names)]
    rows += [
        table_row("td", Path(photo).name, *(figure(found[n]) for n in names)) for photo, found in result.each.items()
    ]
    return f"<div class='wide'><table>{''.join(rows)}</table></div>"


def write_test_pictures(
    folder: Path, photos: CropSet, student: AnyTranslator, teacher: AnyTranslator | None
) -> list[Path]:
    """FOLDER/NAME.png of every photo: photo | teacher's | student's; and FOLDER/all.png, a grid of crops."""
    written = []
    for i, name in enumerate(stems([*photos.names, _ALL])[:-1]):
        photo = photos[i]
        made = [t.picture(photo) for t in (teacher, student) if t is not None]
        written.append(folder / f"{name}.png")
        written[-1].parent.mkdir(parents=True, exist_ok=True)
        side_by_side(photo, *made).save(written[-1])
    crops = _spread(photos)
    rows = [crops, *(to_uint8(t(to_float(crops))) for t in (teacher, student) if t is not None)]
    written.append(folder / _ALL)
    picture_grid(rows).save(written[-1])
    return written
