"""report.html: one self-contained page with the pictures and the tables a person looks at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from distilgan.data.grid import real_row
from distilgan.data.images import ImageSet, to_uint8
from distilgan.evaluation.card import figure, protocol_sentence
from distilgan.evaluation.dynamics import dynamics
from distilgan.evaluation.page import boxes, cost_table, curves, picture_rows, saved, table_row, with_code, write_page
from distilgan.evaluation.protocol import Result
from distilgan.evaluation.sources import class_turns
from distilgan.networks.generator import ImageGenerator
from distilgan.recipe import BaseRecipe

# What the log's terms are drawn with: one plot a row.
_PLOTS = (
    ("generator terms (raw)", ("gan", "pixel", "perceptual")),
    ("latent direction (raw)", ("latent_direction",)),
    ("feature distance (raw)", ("feature",)),
    ("critic on the student (raw)", ("distill_gan",)),
    ("feature moments (raw)", ("moments",)),
    ("discriminator", ("discriminator", "critic_distill", "critic_gan")),
    ("R1 penalty (raw)", ("r1",)),
    ("mean scores", ("score_real", "score_fake", "score_random", "score_teacher", "score_student")),
    ("gradient norms", ("gradient_generator", "gradient_discriminator")),
    ("path length", ("path_length",)),
)
_MEANING = {
    "fid": "Fréchet distance to the data (lower is closer)",
    "kid": "kernel distance to the data (lower is closer)",
    "precision": "share of pictures that lie among the data",
    "recall": "share of the data that lies among the pictures",
    "density": "how densely the data surrounds the pictures",
    "coverage": "share of the data with a picture nearby",
    "psnr": "dB, same latents as the teacher",
    "ssim": "structural similarity, same latents as the teacher",
    "perceptual": "feature distance, same latents as the teacher",
    "intra_fid": "Fréchet distance of one class",
    "intra_kid": "kernel distance of one class",
    "accuracy_real": "of the same classifier on held-out real pictures: what can be reached",
    "accuracy": "share of pictures that a classifier of real ones gives the right class",
    "cas": "share of real pictures that a classifier of these gives the right class",
}


_MORE_IS_BETTER = ("accuracy", "cas", "psnr", "ssim")


@dataclass
class _Painter:
    """Draws one of the networks as the report shows it."""

    label: str
    network: ImageGenerator
    truncation: float = 1.0

    @torch.no_grad()
    def __call__(self, z: Tensor, label: Tensor | None) -> tuple[str, Tensor]:
        given = {"z": z} if label is None else {"z": z, "label": label}
        return self.label, to_uint8(self.network(**given, truncation=self.truncation))


def write_report(
    path: Path,
    recipe: BaseRecipe,
    result: Result,
    student: ImageGenerator,
    teacher: ImageGenerator | None,
    images: ImageSet,
    log: Path,
    card: str,
) -> None:
    """Write the page of a finished run."""
    painters = [_Painter("generator" if teacher is None else "student", student, result.protocol["truncation"])]
    if teacher is not None:
        truncation = result.protocol.get("teacher_truncation")
        painters.insert(0, _Painter("teacher", teacher, painters[0].truncation if truncation is None else truncation))
    by_class = [_class_pictures(painters, result, recipe.seed), _class_table(result)] if student.num_classes else []
    moved = dynamics(log, recipe)
    sections = [
        ("", _facts(result)),
        (
            "Same latents, teacher and student" if teacher else "Samples",
            _pictures(painters, images, recipe.seed),
        ),
        *([("Class by class", "".join(by_class))] if by_class else []),
        ("Between latents", _interpolation(painters, recipe.seed)),
        ("Quality", _metric_table(result)),
        ("Cost of one picture", cost_table(result.cost)),
        *([("How the balanced losses went", moved)] if moved else []),
        ("Training", curves(log, _PLOTS)),
    ]
    write_page(path, recipe, sections, result.protocol, card)


def _facts(result: Result) -> str:
    facts = saved(result.cost)
    for prefix, label in (("kid", "KID to the data"), ("psnr", "dB to the teacher's picture")):
        name = next(
            (n for n in result.metrics if n.startswith(prefix) and (prefix == "psnr" or not n.endswith("_teacher"))),
            None,
        )
        if name:
            beside = f"; teacher {figure(result.teacher[name])}" if name in result.teacher else ""
            facts.append((figure(result.metrics[name]), label + beside))
    return boxes(facts)


def _pictures(painters: list[_Painter], images: ImageSet, seed: int, columns: int = 12) -> str:
    student = painters[-1].network
    z = student.latent.draw(2 * columns, torch.Generator().manual_seed(seed + 1))
    label = class_turns(columns, student.num_classes) if student.num_classes else None
    rows = [("data", real_row(images, columns, label))]
    rows += [paint(part, label) for part in torch.split(z, columns) for paint in painters]
    return picture_rows(rows)


def _class_pictures(painters: list[_Painter], result: Result, seed: int, columns: int = 12, most: int = 20) -> str:
    """The same latents in every class; of many classes those that are worst, best and between."""
    student = painters[-1].network
    z = student.latent.draw(columns, torch.Generator().manual_seed(seed + 3))
    classes = _worst_first(result) or list(range(student.num_classes))
    chosen = (
        classes if len(classes) <= most else [classes[round(i * (len(classes) - 1) / (most - 1))] for i in range(most)]
    )
    rows = []
    for number in sorted(chosen) if len(classes) <= most else chosen:
        label = torch.full((columns,), number)
        for paint in painters:
            who, pixels = paint(z, label)
            name = _class_name(result, number) if paint is painters[0] else ""
            rows.append((f"{name} {who}".strip(), pixels))
    return picture_rows(rows)


def _worst_first(result: Result) -> list[int]:
    """The classes by KID, or by the first figure that there is; those that it leaves out at the end."""
    figures = {name: values for name, values in result.classes.items() if values}
    by = next((n for n in figures if n.startswith("intra_kid")), next(iter(figures), None))
    if by is None:
        return []
    values, up = figures[by], 1 if by.startswith(_MORE_IS_BETTER) else -1
    every = sorted(set().union(*figures.values()))
    return sorted(every, key=lambda c: (c not in values, up * values.get(c, 0.0)))


def _class_name(result: Result, number: int) -> str:
    return result.class_names[number] if number < len(result.class_names) else f"class {number}"


def _class_table(result: Result, most: int = 40) -> str:
    """One line a class, teacher's figure beside the student's, the worst class first."""
    if not result.classes:
        return ""
    names = [name for name, values in result.classes.items() if values]
    heads = [n if n not in result.teacher_classes else f"{n} (teacher)" for n in names]
    ranked = _worst_first(result)
    rows = [table_row("th", "class", *heads)]
    for number in ranked[:most]:
        cells = []
        for name in names:
            beside = result.teacher_classes.get(name, {}).get(number)
            cells.append(figure(result.classes[name].get(number)) + ("" if beside is None else f" ({figure(beside)})"))
        rows.append(table_row("td", _class_name(result, number), *cells))
    notes = [f"The worst {most} of {len(ranked)} classes."] if len(ranked) > most else []
    if small := result.protocol.get("classes_too_small"):
        notes.append(
            f"{small} classes have too few pictures for distances of their own; mean and worst leave them out."
        )
    return f"<div class='wide'><table>{''.join(rows)}</table></div><p class='dim'>{' '.join(notes)}</p>"


def _interpolation(painters: list[_Painter], seed: int, columns: int = 12) -> str:
    """From one z to another along the sphere, teacher above student; between classes nothing changes."""
    student = painters[-1].network
    generator = torch.Generator().manual_seed(seed + 2)
    rows = []
    for row in range(2):
        first, second = student.latent.draw(2, generator)
        t = torch.linspace(0, torch.pi / 2, columns).reshape(-1, *[1] * len(student.latent.shape))
        z = torch.cos(t) * first + torch.sin(t) * second
        label = torch.full((columns,), row % student.num_classes) if student.num_classes else None
        rows += [paint(z, label) for paint in painters]
    return picture_rows(rows)


def _metric_table(result: Result) -> str:
    if not result.metrics:
        return "<p class='dim'>No held-out data was given, so nothing was measured against data.</p>"
    taught = "student" in result.cost
    own, beside = ("student", "<th class=n>teacher") if taught else ("generator", "")
    rows = [f"<tr><th>metric<th class=n>{own}{beside}<th>meaning</tr>"]
    for name, value in result.metrics.items():
        meaning = next((m for prefix, m in _MEANING.items() if name.startswith(prefix)), "")
        meaning = meaning.replace("the data", "the teacher's pictures") if name.endswith("_teacher") else meaning
        teacher = f"<td class=n>{figure(result.teacher.get(name))}" if taught else ""
        rows.append(f"<tr><td>{name}<td class=n>{figure(value)}{teacher}<td class=dim>{meaning}</tr>")
    return f"<table>{''.join(rows)}</table><p class='dim'>{with_code(protocol_sentence(result))}</p>"
