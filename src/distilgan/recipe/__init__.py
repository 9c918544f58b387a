"""The typed recipe: everything that decides the result of a run, in one YAML file."""

from distilgan.recipe.base import BaseRecipe, DistillRecipe, Optimiser, Training
from distilgan.recipe.conditional import BigGANRecipe, ConditionalStudent, Critic, TinyGANRecipe
from distilgan.recipe.load import (
    METHODS,
    AnyRecipe,
    described,
    difference,
    dump_recipe,
    known_keys,
    load_recipe,
    packaged,
    parse_recipe,
)
from distilgan.recipe.stylegan import GANRecipe, LatentDirection, Regularisation, StyleKDRecipe, StyleTraining

__all__ = [
    "METHODS",
    "AnyRecipe",
    "BaseRecipe",
    "BigGANRecipe",
    "ConditionalStudent",
    "Critic",
    "DistillRecipe",
    "GANRecipe",
    "LatentDirection",
    "Optimiser",
    "Regularisation",
    "StyleKDRecipe",
    "StyleTraining",
    "TinyGANRecipe",
    "Training",
    "described",
    "difference",
    "dump_recipe",
    "known_keys",
    "load_recipe",
    "packaged",
    "parse_recipe",
]
