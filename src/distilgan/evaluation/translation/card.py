"""The model card of a translator."""

from __future__ import annotations

from typing import Any

from distilgan.evaluation.card import cost_lines, measured_lines, origin
from distilgan.evaluation.translation.measure import TranslationResult
from distilgan.evaluation.translation.report import meaning, protocol_sentence
from distilgan.networks.ode_translator import ODETranslator
from distilgan.networks.resnet_translator import ResnetTranslator
from distilgan.recipe import TranslationRecipe


def translation_card(
    recipe: TranslationRecipe, result: TranslationResult, facts: dict[str, Any], network: ResnetTranslator
) -> str:
    """Markdown with what the network is, how it was made, what was measured and whose terms apply.

    `facts` is its config.json.
    """
    c = network.config
    lines = [
        "---",
        "library_name: distilgan",
        "tags: [image-to-image, style-transfer, gan, distillation]",
        f"license: {'other' if recipe.licence else 'unknown'}",
        "---",
        "",
        f"# {recipe.name}",
        "",
        recipe.description or "Translates photos into a style.",
        "",
        "```console",
        "$ distilgan translate student/ photos/ out/  # student/ is this folder",
        "```",
        "",
        f"- Takes pictures [N, 3, H, W] in [-1, 1], sides multiples of {c.multiple}, gives pictures of the same size; learnt from "
        f"crops of {c.resolution} px.",
    ]
    if isinstance(network, ODETranslator):
        solver = (
            f"{network.config.solver}, tolerances {network.config.rtol:g}"
            if network.config.solver == "dopri5"
            else (f"{network.config.solver}, {network.config.steps} step{'s' * (network.config.steps > 1)}")
        )
        lines.append(f"- {c.blocks} neural-ODE blocks, solved by {solver}; valid near this solver.")
    lines += [f"- Style: `{recipe.data.style}`.", *origin(recipe, facts)]
    if result.metrics:
        made = f"{protocol_sentence(result)} torch {result.protocol['versions']['torch']}."
        lines += measured_lines(result.metrics, {"teacher": result.teacher, "photos": result.photos}, meaning, made)
    return "\n".join([*lines, *cost_lines(result.cost)]) + "\n"
