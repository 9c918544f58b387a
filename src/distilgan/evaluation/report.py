"""report.html: one self-contained page with the pictures and the tables a person looks at."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from distilgan.data.grid import picture_grid, real_row
from distilgan.data.images import ImageSet, to_uint8
from distilgan.evaluation.card import count, figure, protocol_sentence
from distilgan.evaluation.plots import line_plot
from distilgan.evaluation.protocol import Result
from distilgan.evaluation.sources import class_turns
from distilgan.files import write_atomic
from distilgan.networks.generator import ImageGenerator
from distilgan.recipe import BaseRecipe
from distilgan.runs import read_log

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #777; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p.sub, figcaption, .dim { color: var(--dim); } figure { margin: 0 0 1rem; }
img { width: 100%; image-rendering: auto; border-radius: 4px; }
table { border-collapse: collapse; margin: .4rem 0; } td, th { padding: .25rem .9rem .25rem 0; text-align: left; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; } tr + tr td { border-top: 1px solid var(--line); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .8rem; margin: 1.2rem 0; }
.facts div { border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem; }
.facts b { display: block; font-size: 1.35rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 1rem; }
.plot { width: 100%; } .grid { stroke: var(--line); } .tick { font-size: 10px; fill: var(--dim); } .key { font-size: 12px; }
pre { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; padding: .8rem; font-size: 12.5px; }
.wide { overflow-x: auto; }
.rows { display: grid; grid-template-columns: 4.5rem 1fr; gap: .3rem .6rem; align-items: center; }
"""

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
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>",
        f"<title>{html.escape(recipe.name)}</title><style>{_STYLE}</style>",
        f"<h1>{html.escape(recipe.name)}</h1><p class='sub'>{html.escape(recipe.description)}</p>",
        _facts(result),
        "<h2>Same latents, teacher and student</h2>" if teacher else "<h2>Samples</h2>",
        _pictures(painters, images, recipe.seed),
        *(["<h2>Class by class</h2>", *by_class] if by_class else []),
        "<h2>Between latents</h2>",
        _interpolation(painters, recipe.seed),
        "<h2>Quality</h2>",
        _metric_table(result),
        "<h2>Cost of one picture</h2>",
        _cost_table(result),
        "<h2>Training</h2>",
        _curves(log),
        "<h2>Model card</h2>",
        f"<pre>{html.escape(card)}</pre>",
        f"<h2>Protocol</h2><pre>{html.escape(json.dumps(result.protocol, indent=1))}</pre></html>",
    ]
    write_atomic(path, "\n".join(parts))


def _facts(result: Result) -> str:
    student, teacher = result.cost.get("student", {}), result.cost.get("teacher", {})
    boxes = []
    if student and teacher:
        rest = [c["parameters"] - c.get("parameters_mapping", 0) for c in (teacher, student)]
        outside = " outside the mapping network" if "parameters_mapping" in student else ""
        boxes += [
            (f"1/{teacher['macs'] / student['macs']:.1f}", "of the teacher's multiply-adds"),
            (f"1/{rest[0] / rest[1]:.1f}", f"of its parameters{outside}"),
            (
                f"1/{teacher['latency_ms_p50'] / student['latency_ms_p50']:.1f}",
                f"of its time, {student['threads']} threads",
            ),
        ]
    for prefix, label in (("kid", "KID to the data"), ("psnr", "dB to the teacher's picture")):
        name = next(
            (n for n in result.metrics if n.startswith(prefix) and (prefix == "psnr" or not n.endswith("_teacher"))),
            None,
        )
        if name:
            beside = f"; teacher {figure(result.teacher[name])}" if name in result.teacher else ""
            boxes.append((figure(result.metrics[name]), label + beside))
    return "<div class='facts'>" + "".join(f"<div><b>{b}</b>{html.escape(t)}</div>" for b, t in boxes) + "</div>"


def _pictures(painters: list[_Painter], images: ImageSet, seed: int, columns: int = 12) -> str:
    student = painters[-1].network
    z = student.latent.draw(2 * columns, torch.Generator().manual_seed(seed + 1))
    label = class_turns(columns, student.num_classes) if student.num_classes else None
    rows = [("data", real_row(images, columns, label))]
    rows += [paint(part, label) for part in torch.split(z, columns) for paint in painters]
    return _rows(rows)


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
    return _rows(rows)


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
    rows = [_row("th", "class", *heads)]
    for number in ranked[:most]:
        cells = []
        for name in names:
            beside = result.teacher_classes.get(name, {}).get(number)
            cells.append(figure(result.classes[name].get(number)) + ("" if beside is None else f" ({figure(beside)})"))
        rows.append(_row("td", _class_name(result, number), *cells))
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
    return _rows(rows)


def _rows(rows: list[tuple[str, Tensor]]) -> str:
    cells = [
        f"<span class='dim'>{name}</span><img alt='{name}' src='{_data_uri(picture_grid([row]))}'>"
        for name, row in ((html.escape(name), row) for name, row in rows)  # a class is named by whoever made the data
    ]
    return f"<div class='rows'>{''.join(cells)}</div>"


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


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
    protocol = re.sub("`(.+?)`", r"<code>\1</code>", html.escape(protocol_sentence(result)))
    return f"<table>{''.join(rows)}</table><p class='dim'>{protocol}</p>"


def _cost_table(result: Result) -> str:
    rows = [_row("th", "", "parameters", "MACs", "peak activations", "p50", "p90", "threads")]
    for label, c in result.cost.items():
        peak = f"{c['peak_activation_bytes'] / 2**20:.1f} MiB" if "peak_activation_bytes" in c else "–"
        times = (f"{c['latency_ms_p50']:.1f} ms", f"{c['latency_ms_p90']:.1f} ms")
        rows.append(_row("td", label, count(c.get("parameters")), count(c.get("macs")), peak, *times, c["threads"]))
    return f"<table>{''.join(rows)}</table>"


def _row(cell: str, first: str, *rest: object) -> str:
    texts = (html.escape(str(x)).replace("_", "_<wbr>") for x in rest)  # a long name must not push columns off the page
    cells = "".join(f"<{cell} class=n>{text}" for text in texts)
    return f"<tr><{cell}>{html.escape(first)}{cells}</tr>"


def _curves(log: Path) -> str:
    lines, plots = read_log(log), []
    for title, names in _PLOTS:
        series = {n: [(x["images"], x["terms"][n]) for x in lines if n in x["terms"]] for n in names}
        series = {n: s for n, s in series.items() if s}
        if series:
            plots.append(
                f"<figure><figcaption>{title} over images seen</figcaption>{line_plot(title, series)}</figure>"
            )
    return f"<div class='plots'>{''.join(plots)}</div>"
