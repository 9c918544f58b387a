"""What the verbs do, from recipe to report; a step whose result is there already is not done again."""

from distilgan.pipeline.run import build_method, execute, kind_of, plan
from distilgan.pipeline.steps import first_process

__all__ = ["build_method", "execute", "first_process", "kind_of", "plan"]
