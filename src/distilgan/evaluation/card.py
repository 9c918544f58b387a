"""The model card: README.md of a generator's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from distilgan.evaluation.protocol import Result
from distilgan.networks.generator import ImageGenerator
from distilgan.recipe import BaseRecipe, DistillRecipe


def model_card(recipe: BaseRecipe, result: Result | None, facts: dict[str, Any], network: ImageGenerator) -> str:
    """Markdown with what the network is, how it was made, what was measured and whose terms apply.

    `facts` is the generator's config.json.
    """
    latent = ", ".join(map(str, network.latent.shape))
    arguments = "**generator.sample_inputs(4)" if network.num_classes else f"torch.randn(4, {latent})"
    lines = [
        "---",
        "library_name: distilgan",
        "tags: [image-generation, gan, distillation]",
        f"license: {'other' if recipe.licence else 'unknown'}",
        "---",
        "",
        f"# {recipe.name}",
        "",
        recipe.description or f"A generator of the family {facts.get('family')}.",
        "",
        "```python",
        "import distilgan, torch",
        "",
        'generator = distilgan.load("student/")  # this folder',
        f"images = generator({arguments})  # [4, 3, R, R] in [-1, 1]",
        "```",
        "",
        f"- Takes latents {network.latent.words}"
        + (f" and one of {network.num_classes} classes." if network.num_classes else "."),
        *origin(recipe, facts),
    ]
    if result is not None and result.metrics:
        lines += ["", "## Measured", "", "| metric | value | teacher |", "|---|---|---|"]
        for name, value in result.metrics.items():
            lines.append(f"| {name} | {figure(value)} | {figure(result.teacher.get(name))} |")
        lines += ["", protocol_sentence(result)]
    return "\n".join([*lines, *cost_lines({} if result is None else result.cost)]) + "\n"


def measured_lines(
    metrics: Mapping[str, float],
    others: Mapping[str, Mapping[str, float]],
    meaning: Callable[[str], str],
    protocol: str,
) -> list[str]:
    """The table of figures beside those of others (without the empty ones), and how they were made."""
    others = {who: found for who, found in others.items() if found}
    lines = ["", "## Measured", "", f"| metric | value | {' | '.join(others)} | |", "|---" * (3 + len(others)) + "|"]
    for name, value in metrics.items():
        beside = " | ".join(figure(found.get(name)) for found in others.values())
        lines.append(f"| {name} | {figure(value)} | {beside} | {meaning(name)} |")
    return [*lines, "", protocol]


def cost_lines(costs: dict[str, dict[str, Any]]) -> list[str]:
    """A table of what one picture costs; nothing without figures."""
    if not costs:
        return []
    lines = ["", "## Cost of one picture", "", "| | parameters | MACs | latency p50 |", "|---|---|---|---|"]
    for label, cost in costs.items():
        size = f"{count(cost.get('parameters'))} | {count(cost.get('macs'))}"
        lines.append(f"| {label} | {size} | {cost['latency_ms_p50']:.1f} ms |")
    return lines


def origin(recipe: BaseRecipe, facts: dict[str, Any]) -> list[str]:
    """Lines that say how a network was made, of what, and whose terms apply; `facts` is its config.json."""
    lines = [
        f"- Made by distilgan with the recipe `{recipe.name}`, seed {recipe.seed}, {recipe.training.images} images seen.",
        f"- Data: `{without_folders(recipe.data.path)}` at {recipe.data.resolution} px.",
    ]
    teacher = facts.get("teacher") or (recipe.teacher if isinstance(recipe, DistillRecipe) else None)
    if isinstance(recipe, DistillRecipe) and teacher and sum(map(bool, recipe.balanced().values())) > 1:
        lines.append(f"- Loss weights: {recipe.balancer.kind}.")
    if teacher or "pairs" in facts:
        named = f"`{teacher}`" if teacher else "unknown but for its pairs"
        lines.append(f"- Teacher: {named} (its licence: {facts.get('teacher_licence') or 'not recorded'}).")
    elif isinstance(recipe, DistillRecipe) and recipe.like:
        lines.append(
            f"- No teacher; its sizes are shares of those of `{recipe.like}`, whose figures stand beside its own."
        )
    if "pairs" in facts:
        lines.append(f"- Pairs: a store with the identity {facts['pairs'][:16]}.")
    terms = recipe.licence or "not recorded; a student inherits the terms of its teacher and data"
    return [*lines, f"- Licence: {terms}."]


def without_folders(name: str) -> str:
    """A set's name as given, but of an absolute path the last part: the rest says nothing to others."""
    return Path(name).name if Path(name).is_absolute() else name


def protocol_sentence(result: Result) -> str:
    """How the figures were made, in one sentence."""
    p = result.protocol
    against = (
        f"{p['reference_images']} images of `{without_folders(p['reference_data'])}` at {p['reference_resolution']} px"
        if "reference_data" in p
        else "no data"
    )
    noise = " with stored noise" if p.get("noise") else ""
    other = p.get("teacher_truncation")
    beside = f" (teacher {other:g})" if other is not None and other != p["truncation"] else ""
    held = {True: " (held out)", False: " (the training images)", None: ""}[p.get("held_out")]
    return (
        f"{p['samples']} pictures at truncation {p['truncation']:g}{noise}{beside}, against {against}{held}; features: "
        f"{p['extractor']}, {p['resize']}; seed {p['seed']}; torch {p['versions']['torch']}."
    )


def figure(value: float | None) -> str:
    """Four significant digits, or a dash."""
    return "–" if value is None else f"{value:.4g}"


def count(value: Any) -> str:
    """1234567 as 1.23 M."""
    if value is None:
        return "–"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.2f} {unit}"
    return str(value)
