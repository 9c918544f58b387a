"""The model card of a network that turns faces to the front."""

from __future__ import annotations

from typing import Any

from distilgan.evaluation.card import cost_lines, measured_lines, origin
from distilgan.evaluation.faces.measure import FrontalResult
from distilgan.evaluation.faces.report import MEANING, protocol_sentence
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
        *_learnt(facts),
        *origin(recipe, facts),
    ]
    if recipe.identity_network is not None:
        lines.append(
            f"- Identity term: `{recipe.identity_network}`; the terms of its weights may bind what learnt from it."
        )
    if result.metrics:
        others = {"teacher": result.teacher, "unturned faces": result.profile, "true faces": result.truth}
        made = f"{protocol_sentence(result)} torch {result.protocol['versions']['torch']}."
        lines += measured_lines(result.metrics, others, MEANING.__getitem__, made)
    return "\n".join([*lines, *cost_lines(result.cost)]) + "\n"


def _learnt(facts: dict[str, Any]) -> list[str]:
    """From how many people and which sides; `people` are hashes of their names."""
    if "people" not in facts:
        return []
    sides = f", yaws from {facts['yaw'][0]:g} to {facts['yaw'][1]:g} degrees" if "yaw" in facts else ""
    others = ", its teacher's included" if "teacher" in facts else ""
    return [f"- Learnt from {len(facts['people'].split())} people{sides}{others}."]
