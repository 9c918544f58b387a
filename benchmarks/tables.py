"""Puts the tables of benchmarks/results/ into README.md and docs/, between `<!-- table NAME -->` and `<!-- end -->`.

    python benchmarks/tables.py [--check]

With --check nothing is written and the exit status says whether the files are up to date.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import summary

HERE = Path(__file__).parent
ROOT = HERE.parent
FILES = ["README.md", "docs/stylekd.md", "docs/tinygan.md", "docs/metakd.md", "docs/nijigan.md", "docs/speed.md"]


def value(metric: dict[str, Any] | None, digits: int, scale: float = 1, sign: str = "-") -> str:
    if metric is None:
        return "–"
    text = f"{metric['mean'] * scale:{sign}.{digits}f}"
    return text if metric["sd"] is None else f"{text} ± {metric['sd'] * scale:.{digits}f}"


def millions(n: int) -> str:
    return f"{n / 1e6:.2f} M"


def times(ratio: float) -> str:
    return f"{ratio:.2f} ×"


def milliseconds(ms: float | None, ratio: float | None) -> str:
    """With the ratio to the teacher's; what cannot be exported has none."""
    return "–" if ms is None or ratio is None else f"{ms:.2f} ({times(ratio)})"


def methods(tree: dict[str, Any], columns: list[tuple[str, str, int, float]], against: str | None = None) -> str:
    """One line a row; columns are (heading, metric, digits, scale).

    With `against`, a row's name, the first figure is also given as its difference from that row's at the same seed.
    """
    heading = [c[0] for c in columns]
    beside = next((row for row in tree["rows"] if row["name"] == against), None)
    if beside is not None:
        heading.insert(1, f"more than {against}, same seed")
    clocks = {
        "ONNX ms": ("latency_ms", "latency_ratio_to_teacher"),
        "PyTorch ms": ("torch_ms", "torch_ratio_to_teacher"),
    }
    clocks = {name: keys for name, keys in clocks.items() if keys[0] in tree["rows"][0]}
    heading = ["params", "MACs", *clocks, *heading]
    lines = ["| | " + " | ".join(heading) + " |", "|---|" + "---:|" * len(heading)]
    for row in tree["rows"]:
        cells = [value(row["metrics"].get(name), digits, scale) for _, name, digits, scale in columns]
        if beside is not None:
            _, name, digits, scale = columns[0]
            cells.insert(1, "–" if row is beside else value(difference(row, beside, name), digits, scale, "+"))
        cells = [*(milliseconds(row[ms], row[ratio]) for ms, ratio in clocks.values()), *cells]
        lines.append(f"| {row['name']} | {millions(row['params'])} | {millions(row['macs'])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def difference(row: dict[str, Any], beside: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Seed by seed: what the seeds do to all rows alike cancels out."""
    if name not in row["metrics"]:
        return None
    pairs = zip(row["metrics"][name]["values"], beside["metrics"][name]["values"], strict=True)
    return summary([a - b for a, b in pairs])


_STYLEKD = [
    ("KID to data · 10³", "kid_data", 2, 1e3),
    ("FID to data", "fid_data", 1, 1.0),
    ("recall", "recall_data", 3, 1.0),
    ("KID to teacher · 10³", "kid_teacher", 2, 1e3),
    ("perceptual to teacher", "perceptual_teacher", 4, 1.0),
    ("PSNR to teacher, dB", "psnr_teacher", 2, 1.0),
]


_TINYGAN = [
    ("KID to data · 10³", "kid_data", 2, 1e3),
    ("FID to data", "fid_data", 1, 1.0),
    ("recall", "recall_data", 3, 1.0),
    ("KID of a class · 10³, mean", "intra_kid_mean", 1, 1e3),
    ("KID of the worst class · 10³", "intra_kid_worst", 1, 1e3),
    ("class accuracy, %", "accuracy_mean", 1, 100.0),
    ("of the worst class, %", "accuracy_worst", 1, 100.0),
    ("CAS, %", "cas_mean", 1, 100.0),
    ("KID to teacher · 10³", "kid_teacher", 2, 1e3),
    ("PSNR to teacher, dB", "psnr_teacher", 2, 1.0),
]


_METAKD = [
    ("PSNR to teacher, dB", "psnr_teacher", 2, 1.0),
    ("SSIM to teacher", "ssim_teacher", 4, 1.0),
    ("perceptual to teacher · 10³", "perceptual_teacher", 1, 1e3),
    ("PSNR to truth, dB", "psnr_truth", 2, 1.0),
    ("SSIM to truth", "ssim_truth", 4, 1.0),
    ("perceptual to truth · 10³", "perceptual_truth", 1, 1e3),
    ("identity", "identity_truth", 3, 1.0),
    ("rank-1, %", "rank1", 1, 100.0),
    ("asymmetry · 10³", "asymmetry", 1, 1e3),
]


_NIJIGAN = [
    ("KID to style · 10³", "kid_style", 1, 1e3),
    ("FID to style", "fid_style", 1, 1.0),
    ("KID to teacher · 10³", "kid_teacher", 1, 1e3),
    ("FID to teacher", "fid_teacher", 1, 1.0),
    ("PSNR to teacher, dB", "psnr_teacher", 1, 1.0),
    ("perceptual to photo · 10³", "perceptual_photo", 0, 1e3),
    ("high frequency · 10³", "high_frequency", 1, 1e3),
    ("PSNR to exact ODE, dB", "psnr_exact_ode", 1, 1.0),
]


# Of the rows with a comma in their names those that README shows: the control, and the best fixed weights.
_SHORT = ("metakd, shuffled", "fixed, local 1, feature 3")


def short(tree: dict[str, Any]) -> dict[str, Any]:
    """The table without its lesser rows."""
    return {**tree, "rows": [row for row in tree["rows"] if ", " not in row["name"] or row["name"] in _SHORT]}


def overhead(tree: dict[str, Any]) -> str:
    lines = ["| balancer | s a step | against fixed | middle half of the rounds |", "|---|---:|---:|---:|"]
    for row in tree["rows"]:
        spread = " to ".join(f"{ratio:.2f}" for ratio in row["middle_half"])
        lines.append(f"| {row['name']} | {row['seconds_per_step']:.3f} | {row['ratio_to_fixed']:.2f} × | {spread} |")
    return "\n".join(lines)


def speed(tree: dict[str, Any]) -> str:
    columns = {
        "share of the matrix-product rate": ("share_of_matrix_rate", lambda x: f"{100 * x:.0f} %"),
        "against our float32": ("ratio_to_float32", times),
        "PSNR to float32": ("psnr_to_float32", lambda x: f"{x:.0f} dB"),
        "against the official code": ("ratio_to_official", times),
        "against the public figure": ("ratio_to_public", times),
    }
    lines = [f"| | time or rate | {' | '.join(columns)} |", "|---|---:|" + "---:|" * len(columns)]
    for row in tree["rows"]:
        figure = f"{row['seconds']:.3f} s" if "seconds" in row else f"{row['images_per_second']:.1f} images/s"
        cells = [draw(row[key]) if key in row else "–" for key, draw in columns.values()]
        lines.append(f"| {row['name']} | {figure} | {' | '.join(cells)} |")
    rates = ", ".join(f"{k} {v:.0f} GFLOP/s" for k, v in tree["matrix_gflops"].items())
    return "\n".join(lines) + f"\n\nMatrix products in the same rounds: {rates}."


# name in the text -> result file, how it is drawn
TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "stylekd": ("stylekd", lambda tree: methods(tree, _STYLEKD)),
    "stylekd-short": ("stylekd", lambda tree: methods(tree, [_STYLEKD[0], _STYLEKD[3], _STYLEKD[5]])),
    "stylekd-parts": ("stylekd-parts", lambda tree: methods(tree, _STYLEKD)),
    "tinygan": ("tinygan", lambda tree: methods(tree, _TINYGAN)),
    "tinygan-short": ("tinygan", lambda tree: methods(tree, [_TINYGAN[i] for i in (0, 4, 5, 9)])),
    "tinygan-options": ("tinygan-options", lambda tree: methods(tree, _TINYGAN)),
    "metakd": ("metakd", lambda tree: methods(tree, _METAKD, "fixed")),
    "metakd-short": ("metakd", lambda tree: methods(short(tree), [_METAKD[i] for i in (0, 1, 3, 6)], "fixed")),
    "metakd-grid": ("metakd-grid", lambda tree: methods(tree, _METAKD)),
    "metakd-long": ("metakd-long", lambda tree: methods(tree, _METAKD, "fixed")),
    "nijigan": ("nijigan", lambda tree: methods(tree, _NIJIGAN)),
    "nijigan-short": ("nijigan", lambda tree: methods(short(tree), [_NIJIGAN[i] for i in (0, 2, 4)])),
    "nijigan-ablation": ("nijigan-ablation", lambda tree: methods(tree, _NIJIGAN)),
    "overhead": ("overhead", overhead),
    "speed": ("speed", speed),
}


def filled(text: str) -> str:
    """The text with every table made anew."""

    def replace(match: re.Match[str]) -> str:
        name, draw = TABLES[match[1]]
        results = HERE / "results" / f"{name}.json"
        if not results.exists():
            return match[0]
        return f"<!-- table {match[1]} -->\n{draw(json.loads(results.read_text()))}\n<!-- end -->"

    return re.sub(r"<!-- table ([\w-]+) -->\n.*?<!-- end -->", replace, text, flags=re.S)


def main() -> None:
    stale = []
    for name in FILES:
        path = ROOT / name
        text = path.read_text()
        new = filled(text)
        if new != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(new)
    if stale and "--check" in sys.argv:
        sys.exit(f"out of date: {', '.join(stale)}; run python benchmarks/tables.py")


if __name__ == "__main__":
    main()
