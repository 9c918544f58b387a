"""What the pages of reports are made of."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from distilgan.data.grid import picture_grid
from distilgan.evaluation.card import count
from distilgan.evaluation.plots import line_plot
from distilgan.files import write_atomic
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
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 1rem; }
.plot { width: 100%; } .grid { stroke: var(--line); } .tick { font-size: 10px; fill: var(--dim); } .key { font-size: 12px; }
pre { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; padding: .8rem; font-size: 12.5px; }
.wide { overflow-x: auto; }
.rows { display: grid; grid-template-columns: 4.5rem 1fr; gap: .3rem .6rem; align-items: center; }
"""


def write_page(
    path: Path, recipe: BaseRecipe, sections: Sequence[tuple[str, str]], protocol: dict[str, Any], card: str
) -> None:
    """Write a self-contained page: (heading, HTML) a section; without a heading it goes on with the one before."""
    body = "\n".join(f"<h2>{title}</h2>\n{content}" if title else content for title, content in sections)
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>",
        f"<title>{html.escape(recipe.name)}</title><style>{_STYLE}</style>",
        f"<h1>{html.escape(recipe.name)}</h1><p class='sub'>{html.escape(recipe.description)}</p>",
        body,
        f"<h2>Model card</h2><pre>{html.escape(card)}</pre>",
        f"<h2>Protocol</h2><pre>{html.escape(json.dumps(protocol, indent=1))}</pre></html>",
    ]
    write_atomic(path, "\n".join(parts))


def boxes(facts: Sequence[tuple[str, str]]) -> str:
    """Figures that stand out: (figure, what it is)."""
    return "<div class='facts'>" + "".join(f"<div><b>{b}</b>{html.escape(t)}</div>" for b, t in facts) + "</div>"


def saved(cost: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Boxes that say how much smaller the student is than its teacher; none without one."""
    student, teacher = cost.get("student", {}), cost.get("teacher", {})
    if not student or not teacher:
        return []
    rest = [c["parameters"] - c.get("parameters_mapping", 0) for c in (teacher, student)]
    outside = " outside the mapping network" if "parameters_mapping" in student else ""
    return [
        (_share(student["macs"], teacher["macs"]), "of the teacher's multiply-adds"),
        (_share(rest[1], rest[0]), f"of its parameters{outside}"),
        (_share(student["latency_ms_p50"], teacher["latency_ms_p50"]), f"of its time, {_where(student)}"),
    ]


def _share(part: float, whole: float) -> str:
    return f"1/{whole / part:.1f}" if part <= whole else f"{part / whole:.1f} ×"


def _where(cost: dict[str, Any]) -> str:
    threads = cost["threads"]
    return f"{threads} thread{'' if threads == 1 else 's'}" if cost["device"] == "cpu" else str(cost["device"])


def picture_rows(rows: list[tuple[str, Tensor]]) -> str:
    cells = [
        f"<span class='dim'>{name}</span><img alt='{name}' src='{data_uri(picture_grid([row]))}'>"
        for name, row in ((html.escape(name), row) for name, row in rows)  # a class is named by whoever made the data
    ]
    return f"<div class='rows'>{''.join(cells)}</div>"


def data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def cost_table(costs: dict[str, dict[str, Any]]) -> str:
    rows = [table_row("th", "", "parameters", "MACs", "peak activations", "p50", "p90", "on")]
    for label, c in costs.items():
        peak = f"{c['peak_activation_bytes'] / 2**20:.1f} MiB" if "peak_activation_bytes" in c else "–"
        times = (f"{c['latency_ms_p50']:.1f} ms", f"{c['latency_ms_p90']:.1f} ms")
        rows.append(table_row("td", label, count(c.get("parameters")), count(c.get("macs")), peak, *times, _where(c)))
    return f"<table>{''.join(rows)}</table>"


def with_code(text: str) -> str:
    """Escaped, what stands between `backticks` as code."""
    return re.sub("`(.+?)`", r"<code>\1</code>", html.escape(text))


def table_row(cell: str, first: str, *rest: object, meaning: str | None = None) -> str:
    """A line of numbers behind a name, before what they mean."""
    texts = (html.escape(str(x)).replace("_", "_<wbr>") for x in rest)  # a long name must not push columns off the page
    cells = "".join(f"<{cell} class=n>{text}" for text in texts)
    said = "" if meaning is None else f"<{cell}>{html.escape(meaning)}"
    return f"<tr><{cell}>{html.escape(first)}{cells}{said}</tr>"


def curves(log: Path, plots: Sequence[tuple[str, Sequence[str]]]) -> str:
    """What a log's terms did over the run: (title, terms) a plot; those that the log does not have are left out."""
    lines = read_log(log)
    series = [
        (
            f"{title} over images seen",
            {n: [(x["images"], x["terms"][n]) for x in lines if n in x["terms"]] for n in names},
        )
        for title, names in plots
    ]
    return figures(series)


def figures(plots: Sequence[tuple[str, Mapping[str, Sequence[tuple[float, float]]]]]) -> str:
    """(title, name -> points) a plot; empty ones are left out."""
    drawn = []
    for title, series in plots:
        filled = {name: list(points) for name, points in series.items() if points}
        if filled:
            drawn.append(f"<figure><figcaption>{title}</figcaption>{line_plot(title, filled)}</figure>")
    return f"<div class='plots'>{''.join(drawn)}</div>"
