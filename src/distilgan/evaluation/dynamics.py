"""How a balancer moved the weights of losses over a run, as a section of its report."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from distilgan.evaluation.page import figures, table_row
from distilgan.recipe import BaseRecipe, DistillRecipe
from distilgan.runs import read_log

_SIGNALS = {
    "factor": "factor on each loss weight",
    "gradient": "gradient norm: log of its share of the mean",
    "alignment": "angle to the meta-loss's gradient: negative where more weight would lower it",
}
_TITLE = "normalised loss: log of its mean over a report's steps, over the first one's"


def balanced_names(recipe: BaseRecipe) -> list[str]:
    """The losses of a recipe that a balancer weighs, or could."""
    return [name for name, weight in recipe.balanced().items() if weight] if isinstance(recipe, DistillRecipe) else []


def dynamics(log: Path, names: Sequence[str]) -> str:
    """Plots of factors, normalised losses and signals of the balanced losses `names`, and how factors and losses went together.

    With fixed weights the losses alone; nothing where fewer than two are balanced.
    """
    lines = [x for x in read_log(log) if all(n in x["terms"] for n in names)]
    if len(names) < 2 or len(lines) < 2:
        return ""
    losses = {n: [_log_ratio(x["terms"][n], lines[0]["terms"][n]) for x in lines] for n in names}
    seen = [x["images"] for x in lines]
    moved = [x for x in lines if x.get("balance")]

    def series(signal: str) -> dict[str, list[tuple[float, float]]]:
        return {n: [(x["images"], x["balance"][signal][n]) for x in moved if signal in x["balance"]] for n in names}

    plots = [(f"{text}, over images seen", series(signal)) for signal, text in _SIGNALS.items()]
    plots.insert(1, (f"{_TITLE}, over images seen", {n: list(zip(seen, losses[n], strict=True)) for n in names}))
    whole = len(moved) == len(lines)
    return figures(plots) + (_relation(lines, losses) if whole and len(lines) >= 4 else "")


def _log_ratio(value: float, first: float) -> float:
    return math.log(max(value, 1e-12) / max(first, 1e-12))


def _relation(lines: list[dict[str, Any]], losses: dict[str, list[float]]) -> str:
    """Correlation, over the reports, of the change of each factor with the change of each normalised loss."""
    names = list(losses)
    factor = torch.tensor([[x["balance"]["factor"][n] for n in names] for x in lines], dtype=torch.float64).diff(dim=0)
    loss = torch.tensor([losses[n] for n in names], dtype=torch.float64).t().diff(dim=0)
    rows = [table_row("th", "factor of", *(f"{n} loss" for n in names), *(f"{n} factor" for n in names))]
    for i, name in enumerate(names):
        with_losses = [correlation(factor[:, i], loss[:, j]) for j in range(len(names))]
        with_factors = [correlation(factor[:, i], factor[:, j]) for j in range(len(names))]
        rows.append(table_row("td", name, *(f"{c:+.2f}" for c in [*with_losses, *with_factors])))
    note = (
        f"Correlation of changes between {len(lines)} reports of this run. The factors' sum is fixed: where one rises the others "
        "fall, so figures between factors say nothing. Nor does a figure between a factor and another loss by itself show that "
        "losses compensate each other: a factor that answers to its own loss alone moves the others too. What is left when a run "
        "with balancer.signals=shuffled is held against it, over several seeds, is a finding."
    )
    return f"<div class='wide'><table>{''.join(rows)}</table></div><p class='dim'>{html.escape(note)}</p>"


def correlation(first: torch.Tensor, second: torch.Tensor) -> float:
    """Pearson's, 0 where one does not vary."""
    a, b = first - first.mean(), second - second.mean()
    size = float(a.norm() * b.norm())
    return float(a @ b) / size if size > 1e-12 else 0.0
