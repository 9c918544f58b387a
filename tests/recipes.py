"""Tiny recipes on a tiny teacher, as trees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distilgan.recipe import GANRecipe, StyleKDRecipe, parse_recipe


def training(**changes: Any) -> dict[str, Any]:
    return {"images": 48, "batch": 8, "report": 16, "sample": 48, "checkpoint": 16, "precision": "32", **changes}


def gan_recipe(images: Path, **changes: Any) -> GANRecipe:
    tree = {
        "name": "tiny-gan",
        "method": "gan",
        "data": {"path": str(images), "resolution": 16, "mirror": True},
        "network": {"channel_base": 128, "channel_max": 8, "z_dim": 8, "w_dim": 8, "mapping_layers": 2},
        "regularisation": {
            "r1_gamma": 1.0,
            "r1_interval": 2,
            "path_length": 2.0,
            "diffaugment": ["color", "translation"],
        },
        "training": training(),
    }
    recipe = parse_recipe(merge(tree, changes), "test")
    assert isinstance(recipe, GANRecipe)
    return recipe


def stylekd_recipe(images: Path, teacher: Path | None, **changes: Any) -> StyleKDRecipe:
    tree = {
        "name": "tiny-kd",
        "method": "stylekd",
        "teacher": str(teacher) if teacher else None,
        "data": {"path": str(images), "resolution": 16},
        "student": {"keep": 0.5, "score_samples": 4},
        "latent_direction": {"group": 4},
        "regularisation": {"r1_interval": 2},
        "training": training(),
    }
    recipe = parse_recipe(merge(tree, changes), "test")
    assert isinstance(recipe, StyleKDRecipe)
    return recipe


def merge(tree: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    for key, value in changes.items():
        if isinstance(value, dict):
            tree[key] = merge(tree.get(key) or {}, value)
        else:
            tree[key] = value
    return tree
