"""The model card of a network that turns faces to the front."""

from __future__ import annotations

from typing import Any

from distilgan.evaluation.card import cost_lines, figure, origin
from distilgan.evaluation.faces.measure import FrontalResult
from distilgan.evaluation.faces.report import MEANING
from distilgan.networks.tpgan import TPGAN
from distilgan.recipe import FrontalRecipe


def frontal_card(recipe: FrontalRecipe, result: FrontalResult, facts: dict[str, Any], network: TPGAN) -> str:
    """Markdown with what the network is, how it was made, what was measured and whose terms apply.

    `facts` is its config.json.
    """
    size = network.config.resolution
    lines = [
        "---",
        "library_name: distilgan",
        "tags: [image-to-image, face-frontalization, gan, distillation]",
        f"license: {'other' if recipe.licence else 'unknown'}",
        "---",
        "",
        f"# {recipe.name}",
        "",
        recipe.description or "Turns faces to the front.",
        "",
        "```console",
        "$ distilgan frontalize student/ photo.jpg out/ --landmarks points.csv  # student/ is this folder",
        "```",
        "",
        f"- Takes aligned faces of {size} px in [-1, 1] and five landmarks, gives the face from the front.",
        *origin(recipe, facts),
    ]
    if result.metrics:
        lines += ["", "## Measured", "", "| metric | value | teacher | unturned faces | |", "|---|---|---|---|---|"]
        for name, value in result.metrics.items():
            beside = f"{figure(result.teacher.get(name))} | {figure(result.profile.get(name))}"
            lines.append(f"| {name} | {figure(value)} | {beside} | {MEANING[name]} |")
        p = result.protocol
        held = {True: "people held out of training", False: "people of the training set", None: "people"}[p["held_out"]]
        lines += [
            "",
            f"{p['turned']} turned pictures of {p['people']} {held}, `{p['data']}`; torch {p['versions']['torch']}.",
        ]
    return "\n".join([*lines, *cost_lines(result.cost)]) + "\n"
