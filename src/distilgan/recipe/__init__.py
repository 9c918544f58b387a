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
    TranslationRecipe,
    described,
    difference,
    dump_recipe,
    known_keys,
    load_recipe,
    packaged,
    parse_recipe,
)
from distilgan.recipe.stylegan import GANRecipe, LatentDirection, Regularisation, StyleKDRecipe, StyleTraining
from distilgan.recipe.translation import (
    Contrast,
    CUTRecipe,
    NijiGANRecipe,
    ODEStudent,
    PatchCritic,
    SupervisedLosses,
    UnsupervisedLosses,
)

__all__ = [
    "METHODS",
    "Adversary",
    "AnyRecipe",
    "Balancing",
    "BaseRecipe",
    "BigGANRecipe",
    "CUTRecipe",
    "ConditionalStudent",
    "Contrast",
    "Critic",
    "DistillRecipe",
    "FrontalRecipe",
    "FrontalStudent",
    "GANRecipe",
    "IdentityRecipe",
    "LatentDirection",
    "LatentRecipe",
    "MetaKDRecipe",
    "NijiGANRecipe",
    "ODEStudent",
    "Optimiser",
    "PatchCritic",
    "Regularisation",
    "StyleKDRecipe",
    "StyleTraining",
    "SupervisedLosses",
    "TPGANRecipe",
    "TinyGANRecipe",
    "Training",
    "TranslationRecipe",
    "UnsupervisedLosses",
    "described",
    "difference",
    "dump_recipe",
    "known_keys",
    "load_recipe",
    "packaged",
    "parse_recipe",
]
