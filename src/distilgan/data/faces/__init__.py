"""Rendered faces: a parametric head, photographed. Anyone's, nobody's, free to use."""

from distilgan.data.faces.dataset import render_set

__all__ = ["render_set"]
