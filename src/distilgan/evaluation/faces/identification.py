"""Measuring a network that tells people apart, on people that it has not seen."""

from __future__ import annotations

import html
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from distilgan.data.face_pairs import FacePairs
from distilgan.evaluation.card import cost_lines, figure, origin
from distilgan.evaluation.cost import costed_network, costs
from distilgan.evaluation.faces.measure import FrontalProtocol, FrontalResult
from distilgan.evaluation.faces.people import BATCH, People, means_by_yaw, turned
from distilgan.evaluation.faces.report import points_of
from distilgan.evaluation.page import boxes, cost_table, curves, figures, table_row, write_page
from distilgan.evaluation.protocol import versions
from distilgan.networks.identity import IdentityNetwork
from distilgan.recipe import IdentityRecipe

_PLOTS = (
    ("softmax over people (raw)", ("identity",)),
    ("share of right guesses", ("accuracy",)),
    ("gradient norm", ("gradient_generator",)),
)
_MEANING = {
    "rank1": "share of faces whose nearest gallery face is the right person's",
    "identity_truth": "cosine with the same person's frontal face",
    "identity_other": "cosine with another person's, the nearest in the gallery",
}


def evaluate_identity(
    network: IdentityNetwork, pairs: FacePairs, protocol: FrontalProtocol, name: str
) -> FrontalResult:
    """Who the faces of `pairs`, turned as they are, are taken for."""
    people, found = People(network, pairs), dict[str, list[Tensor]]()
    for rows in torch.split(torch.arange(len(pairs)), BATCH):
        batch = pairs.batch(rows.tolist()).to(torch.device("cpu"))
        for key, values in people.figures(batch.profile, rows, batch.frontal).items():
            found.setdefault(key, []).append(values)
    means, by_yaw = means_by_yaw({key: torch.cat(values) for key, values in found.items()}, pairs.yaw)
    result = FrontalResult(name, means, by_yaw={"student": by_yaw})
    result.cost = costs({"generator": costed_network(network, network.sample_inputs(1))}, protocol.latency_runs)
    result.protocol = {
        **asdict(protocol),
        "pairs": len(pairs),
        "people": len(pairs.identities),
        "gallery": len(people.gallery),
        "probes": int((people.probe & turned(pairs.yaw)).sum()),
        "versions": versions(),
    }
    return result


def identity_card(recipe: IdentityRecipe, result: FrontalResult, facts: dict[str, object]) -> str:
    """Markdown with what the network is, what was measured and whose terms apply."""
    lines = [f"# {recipe.name}", "", recipe.description or "Tells people apart.", "", *origin(recipe, facts)]
    lines += ["", "## Measured", "", "| metric | value | |", "|---|---|---|"]
    lines += [f"| {name} | {figure(value)} | {_MEANING[name]} |" for name, value in result.metrics.items()]
    lines += ["", _sentence(result)]
    return "\n".join([*lines, *cost_lines(result.cost)]) + "\n"


def write_identity_report(path: Path, recipe: IdentityRecipe, result: FrontalResult, log: Path, card: str) -> None:
    """Write the page of a finished run."""
    by_yaw = result.by_yaw["student"]
    rows = [table_row("th", "yaw", *by_yaw)]
    for yaw in by_yaw["identity_truth"]:
        rows.append(table_row("td", yaw, *(figure(values.get(yaw)) for values in by_yaw.values())))
    plots = figures([(f"{name} over yaw, degrees", {"": points_of(values)}) for name, values in by_yaw.items()])
    sections = [
        ("", boxes([(figure(value), _MEANING[name]) for name, value in result.metrics.items()])),
        ("Angle by angle", f"<table>{''.join(rows)}</table>{plots}<p class='dim'>{html.escape(_sentence(result))}</p>"),
        ("Cost of one picture", cost_table(result.cost)),
        ("Training", curves(log, _PLOTS)),
    ]
    write_page(path, recipe, sections, result.protocol, card)


def _sentence(result: FrontalResult) -> str:
    p = result.protocol
    held = {True: " (held out)", False: " (the training set)", None: ""}[p["held_out"]]
    return f"{p['probes']} turned faces among {p['gallery']} people of `{p['data']}`{held}; torch {p['versions']['torch']}."
