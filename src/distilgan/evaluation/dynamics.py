"""How a balancer moved the weights of losses over a run, as a section of its report."""

from __future__ import annotations

import html
import math
from pathlib import Path
from typing import Any

import torch

from distilgan.evaluation.page import figures, table_row
from distilgan.recipe import BaseRecipe, DistillRecipe
from distilgan.runs import read_log

_SIGNALS = {
    "factor": "factor on each loss weight",
    "gradient": "gradient norm on shared layers: log of its share of the mean (running mean, clipped at ±5)",
    "alignment": "minus the cosine with the meta-loss's gradient (running mean): negative where more weight would lower it",
}
_BOUND = (
    "The factors' sum is fixed: where one rises the others fall, so figures between factors say nothing. Nor does a figure between "
    "a factor and another loss by itself show that losses compensate each other: a factor that answers to its own loss alone moves "
    "the others too."
)
_FREE = (
    "Each factor answers to its own loss alone, so figures between factors, and between a factor and another loss, only say that "
    "losses went together."
)
_CONTROL = (
    "What is left when a run with balancer.signals=shuffled is held against it, over several seeds, is a finding."
)
_TITLE = "normalised loss: log of its mean over a report's steps, over the first one's"


def dynamics(log: Path, recipe: BaseRecipe) -> str:
    """Plots of factors, normalised losses and signals of a recipe's balanced losses, and how factors and losses went together.

    With fixed weights the losses alone; nothing where fewer than two are balanced.
    """
    if not isinstance(recipe, DistillRecipe):
        return ""
    names = [name for name, weight in recipe.balanced().items() if weight]
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
    return figures(plots) + (_relation(lines, losses, recipe.balancer.kind) if whole and len(lines) >= 4 else "")


def _log_ratio(value: float, first: float) -> float:
    return math.log(max(value, 1e-12) / max(first, 1e-12))


def _relation(lines: list[dict[str, Any]], losses: dict[str, list[float]], kind: str) -> str:
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
        f"Correlation of changes between {len(lines)} reports of this run. {_BOUND if kind != 'uncertainty' else _FREE}"
    )
    if kind == "metakd":
        note += f" {_CONTROL}"
    return f"<div class='wide'><table>{''.join(rows)}</table></div><p class='dim'>{html.escape(note)}</p>"


def correlation(first: torch.Tensor, second: torch.Tensor) -> float:
    """Pearson's, 0 where one does not vary."""
    a, b = first - first.mean(), second - second.mean()
    size = float(a.norm() * b.norm())
    return float(a @ b) / size if size > 1e-12 else 0.0
