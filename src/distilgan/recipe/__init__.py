"""The typed recipe: everything that decides the result of a run, in one YAML file."""

from distilgan.recipe.balancer import Balancing
from distilgan.recipe.base import BaseRecipe, DistillRecipe, Optimiser, Training
from distilgan.recipe.conditional import BigGANRecipe, ConditionalStudent, Critic, TinyGANRecipe
from distilgan.recipe.frontal import Adversary, FrontalStudent, IdentityRecipe, MetaKDRecipe, TPGANRecipe
from distilgan.recipe.load import (
    METHODS,
    AnyRecipe,
    FrontalRecipe,
    LatentRecipe,
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
    "Adversary",
    "AnyRecipe",
    "Balancing",
    "BaseRecipe",
    "BigGANRecipe",
    "ConditionalStudent",
    "Critic",
    "DistillRecipe",
    "FrontalRecipe",
    "FrontalStudent",
    "GANRecipe",
    "IdentityRecipe",
    "LatentDirection",
    "LatentRecipe",
    "MetaKDRecipe",
    "Optimiser",
    "Regularisation",
    "StyleKDRecipe",
    "StyleTraining",
    "TPGANRecipe",
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
