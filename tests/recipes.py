"""Tiny recipes on a tiny teacher, as trees."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from distilgan.recipe import (
    BigGANRecipe,
    CUTRecipe,
    GANRecipe,
    IdentityRecipe,
    MetaKDRecipe,
    NijiGANRecipe,
    StyleKDRecipe,
    TinyGANRecipe,
    TPGANRecipe,
    parse_recipe,
)


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


def biggan_recipe(images: Path, **changes: Any) -> BigGANRecipe:
    tree = {
        "name": "tiny-biggan",
        "method": "biggan",
        "data": {"path": str(images), "resolution": 16},
        "network": {"channels": [16, 16, 8], "z_dim": 6, "embed_dim": 4, "discriminator_channels": [8, 16]},
        "augment": ["translation"],
        "training": training(),
    }
    recipe = parse_recipe(merge(tree, changes), "test")
    assert isinstance(recipe, BigGANRecipe)
    return recipe


def tinygan_recipe(images: Path, teacher: Path | None, **changes: Any) -> TinyGANRecipe:
    tree = {
        "name": "tiny-tinygan",
        "method": "tinygan",
        "teacher": str(teacher) if teacher else None,
        "data": {"path": str(images), "resolution": 16},
        "student": {"channels": [12, 8, 8], "embed_dim": 4},
        "critic": {"channels": [8, 8]},
        "losses": {"adversarial_every": 2, "pixel_fall": 0.5},
        "training": training(),
    }
    recipe = parse_recipe(merge(tree, changes), "test")
    assert isinstance(recipe, TinyGANRecipe)
    return recipe


def identity_recipe(faces: Path, **changes: Any) -> IdentityRecipe:
    tree = {
        "name": "tiny-identity",
        "method": "identity",
        "data": {"path": str(faces), "resolution": 32},
        "network": {"channels": [4, 8], "embedding": 6},
        "training": training(),
    }
    recipe = parse_recipe(merge(tree, changes), "test")
    assert isinstance(recipe, IdentityRecipe)
    return recipe


def tpgan_recipe(faces: Path, **changes: Any) -> TPGANRecipe:
    tree = {
        "name": "tiny-tpgan",
        "method": "tpgan",
        "data": {"path": str(faces), "resolution": 32},
        "network": {"width": 0.0625, "local_width": 0.03125, "fused": 4, "code": 8, "critic_width": 0.0625},
        "losses": {"identity": 0},
        "adversary": {"r1_interval": 2},
        "training": training(),
    }
    recipe = parse_recipe(merge(tree, changes), "test")
    assert isinstance(recipe, TPGANRecipe)
    return recipe


def metakd_recipe(faces: Path, teacher: Path | None, **changes: Any) -> MetaKDRecipe:
    tree = {
        "name": "tiny-metakd",
        "method": "metakd",
        "teacher": str(teacher) if teacher else None,
        "data": {"path": str(faces), "resolution": 32},
        "student": {"width": 0.5, "local_width": 0.5, "critic_width": 0.0625},
        "adversary": {"r1_interval": 2},
        "balancer": {"every": 2} if changes.get("balancer", {}).get("kind", "metakd") == "metakd" else {},
        "training": training(),
    }
    recipe = parse_recipe(merge(tree, changes), "test")
    assert isinstance(recipe, MetaKDRecipe)
    return recipe


# What two tiny recipes of translators have in common.
_TRANSLATION: dict[str, Any] = {
    "critic": {"width": 4, "layers": 2},
    "contrast": {"places": 8, "width": 6, "taps": ["image", "down1", "block1"]},
    "evaluation": {"crops": 2, "latency_runs": 1},
}


def cut_recipe(photos: Path, style: Path, **changes: Any) -> CUTRecipe:
    tree = {
        "name": "tiny-cut",
        "method": "cut",
        "data": {"path": str(photos), "style": str(style), "resolution": 16},
        "network": {"channels": [4, 5, 6], "blocks": 2},
        "unsupervised": {"nce": 1.0},
        "training": training(),
        **copy.deepcopy(_TRANSLATION),
    }
    recipe = parse_recipe(merge(tree, changes), "test")
    assert isinstance(recipe, CUTRecipe)
    return recipe


def nijigan_recipe(photos: Path, style: Path, teacher: Path | None, **changes: Any) -> NijiGANRecipe:
    tree = {
        "name": "tiny-nijigan",
        "method": "nijigan",
        "teacher": str(teacher) if teacher else None,
        "data": {"path": str(photos), "style": str(style), "resolution": 16},
        "student": {"blocks": 2},
        "training": training(),
        **copy.deepcopy(_TRANSLATION),
    }
    recipe = parse_recipe(merge(tree, changes), "test")
    assert isinstance(recipe, NijiGANRecipe)
    return recipe


def merge(tree: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    for key, value in changes.items():
        if isinstance(value, dict):
            tree[key] = merge(tree.get(key) or {}, value)
        else:
            tree[key] = value
    return tree
