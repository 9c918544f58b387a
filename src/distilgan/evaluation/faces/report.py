"""report.html of a run that turns faces to the front."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from distilgan.data.face_pairs import FacePairs
from distilgan.data.images import to_uint8
from distilgan.evaluation.card import figure, without_folders
from distilgan.evaluation.dynamics import dynamics
from distilgan.evaluation.faces.measure import FrontalResult, Turn
from distilgan.evaluation.faces.people import FRONTAL, ByYaw
from distilgan.evaluation.page import (
    boxes,
    cost_table,
    curves,
    figures,
    picture_rows,
    saved,
    table_row,
    with_code,
    write_page,
)
from distilgan.recipe import FrontalRecipe

_PLOTS = (
    ("distance from the target (raw)", ("pixel", "local", "half", "quarter")),
    ("encoder features (raw)", ("feature",)),
    ("symmetry and variation (raw)", ("symmetry", "variation")),
    ("identity (raw)", ("identity",)),
    ("who it is: cross-entropy (raw)", ("cross_entropy",)),
    ("against the critic (raw)", ("gan",)),
    ("discriminator", ("discriminator",)),
    ("mean scores", ("score_real", "score_fake")),
    ("gradient norms", ("gradient_generator", "gradient_discriminator", "gradient_adapters")),
)
MEANING = {
    "psnr_truth": "dB, against the true frontal face",
    "ssim_truth": "structural similarity with the true frontal face",
    "perceptual_truth": "feature distance from the true frontal face",
    "psnr_teacher": "dB, against the teacher's picture",
    "ssim_teacher": "structural similarity with the teacher's picture",
    "perceptual_teacher": "feature distance from the teacher's picture",
    "identity_truth": "cosine of identity features with the true frontal face",
    "identity_other": "cosine with the nearest gallery face of another person",
    "rank1": "share of pictures whose nearest gallery face is the right person's",
    "asymmetry": "mean difference from the own mirror image; true faces have some too",
}
_PEOPLE, _SEED = 4, 11


def write_frontal_report(
    path: Path, recipe: FrontalRecipe, result: FrontalResult, student: Turn, teacher: Turn | None, pairs: FacePairs,
    log: Path, card: str,
) -> None:  # fmt: skip
    """Write the page of a finished run."""
    moved = dynamics(log, recipe)
    held = {True: "people that it has not seen", False: "people of the training set", None: "the data given"}
    sections = [
        ("", _facts(result)),
        (f"Turned to the front: {held[result.protocol.get('held_out')]}", _pictures(pairs, student, teacher)),
        ("Quality", _metric_table(result)),
        ("Angle by angle", _angle_table(result) + _angle_plots(result)),
        ("Cost of one picture", cost_table(result.cost)),
        *([("How the balanced losses went", moved)] if moved else []),
        ("Training", curves(log, _PLOTS)),
    ]
    write_page(path, recipe, sections, result.protocol, card)


def _facts(result: FrontalResult) -> str:
    facts = saved(result.cost)
    for name, text in (("psnr_teacher", "dB to the teacher's picture"), ("psnr_truth", "dB to the true frontal face")):
        if name in result.metrics:
            beside = f"; teacher {figure(result.teacher[name])}" if name in result.teacher else ""
            facts.append((figure(result.metrics[name]), text + beside))
    if "rank1" in result.metrics:
        beside = f"unturned faces {result.profile['rank1']:.0%}, true ones {result.truth['rank1']:.0%}"
        facts.append((f"{result.metrics['rank1']:.0%}", f"recognised; {beside}"))
    return boxes(facts)


def _pictures(pairs: FacePairs, student: Turn, teacher: Turn | None) -> str:
    """A few people from every side: what is given, what is true, what is made of it."""
    order = torch.randperm(len(pairs.identities), generator=torch.Generator().manual_seed(_SEED))[:_PEOPLE]
    rows = []
    for person in order.tolist():
        mine = (pairs.identity == person).nonzero().flatten().tolist()
        first = pairs.rows[mine[0]].frontal  # one moment of the person
        chosen = sorted((i for i in mine if pairs.rows[i].frontal == first), key=lambda i: float(pairs.yaw[i]))[:13]
        batch = pairs.batch(chosen).to(torch.device("cpu"))
        made = [] if teacher is None else [("teacher", teacher(batch.profile, batch.landmarks))]
        made.append(("generator" if teacher is None else "student", student(batch.profile, batch.landmarks)))
        named = [(f"person {pairs.identities[person]}", batch.profile), *made, ("truth", batch.frontal)]
        rows += [(name, to_uint8(pictures)) for name, pictures in named]
    columns = max((len(pictures) for _, pictures in rows), default=0)
    return picture_rows([(name, _padded(pictures, columns)) for name, pictures in rows])


def _padded(pictures: Tensor, columns: int) -> Tensor:
    """White pictures after the others, so that all rows are drawn at one scale."""
    white = torch.full_like(pictures[:1], 255).expand(columns - len(pictures), -1, -1, -1)
    return torch.cat([pictures, white])


def _metric_table(result: FrontalResult) -> str:
    own = "student" if "student" in result.cost else "generator"
    rows = [table_row("th", "metric", own, *(["teacher"] if result.teacher else []), "unturned", "truth", meaning="")]
    for name, value in result.metrics.items():
        beside = [result.teacher] if result.teacher else []
        others = [figure(figures.get(name)) for figures in (*beside, result.profile, result.truth)]
        rows.append(table_row("td", name, figure(value), *others, meaning=MEANING[name]))
    note = f"{protocol_sentence(result)} Unturned: the faces as they were given. Truth: the true frontal faces."
    return f"<div class='wide'><table>{''.join(rows)}</table></div><p class='dim'>{with_code(note)}</p>"


def protocol_sentence(result: FrontalResult) -> str:
    """How the figures were made."""
    p = result.protocol
    judged = ""
    if "gallery" in p:
        judged = (
            f" Identity and rank-1: `{p['identity']}`, a gallery of {p['gallery']} people with one frontal face each, "
            f"{p['probes']} probes from other moments than the gallery's."
        )
    aligned = " Without landmarks: taken as aligned." if p.get("aligned") else ""
    held = {True: " who are held out of training", False: " of the training set", None: ""}[p["held_out"]]
    return (
        f"Means over {p['turned']} of the {p['pairs']} pictures of `{without_folders(p['data'])}`: those turned by {FRONTAL:g}° or "
        f"more, or by an unknown angle. They show {p['people']} people{held}. PSNR: {p['psnr']}; SSIM: "
        f"{p['ssim']}; perceptual: features of {p['perceptual']}.{judged}{aligned}"
    )


def _angle_table(result: FrontalResult) -> str:
    """One line an angle, teacher's figure beside the student's."""
    own = result.by_yaw.get("student", {})
    names = [n for n in ("psnr_truth", "psnr_teacher", "ssim_truth", "identity_truth", "rank1") if own.get(n)]
    others = {"teacher": result.by_yaw.get("teacher", {}), "unturned": result.by_yaw.get("profile", {})}
    beside = {n: [k for k, v in others.items() if n in v] for n in names}
    head = [table_row("th", "yaw", *(f"{n} ({'; '.join(who)})" if who else n for n, who in beside.items()))]
    for yaw in next((own[n] for n in names), {}):
        cells = []
        for name in names:
            # A face that was not turned is the truth itself.
            same = {"unturned"} if yaw != "unknown" and abs(float(yaw)) < FRONTAL else set[str]()
            shown = ["–" if who in same else figure(others[who][name].get(yaw)) for who in beside[name]]
            cells.append(figure(own[name].get(yaw)) + (f" ({'; '.join(shown)})" if shown else ""))
        head.append(table_row("td", f"{yaw}°" if yaw != "unknown" else yaw, *cells))
    return f"<div class='wide'><table>{''.join(head)}</table></div>"


def _angle_plots(result: FrontalResult) -> str:
    """Over the angle: student, teacher, faces as they are."""
    plots = []
    for name in ("psnr_truth", "ssim_truth", "identity_truth", "rank1"):
        series = {
            {"profile": "unturned", "truth": "true faces"}.get(who, who): points_of(figures_by_name[name])
            for who, figures_by_name in result.by_yaw.items()
            if name in figures_by_name
        }
        if "unturned" in series:  # a face that was not turned is the truth itself, and would stretch the scale
            series["unturned"] = [(yaw, value) for yaw, value in series["unturned"] if abs(yaw) >= FRONTAL]
        plots.append((f"{name} over yaw, degrees", series))
    return figures(plots)


def points_of(by_yaw: ByYaw) -> list[tuple[float, float]]:
    return sorted((float(yaw), value) for yaw, value in by_yaw.items() if yaw != "unknown")
