"""Rendered faces: a parametric head, photographed. Anyone's, nobody's, free to use."""

from distilgan.data.faces.dataset import render_set
from distilgan.data.faces.poses import PoseSet, render_poses

__all__ = ["PoseSet", "render_poses", "render_set"]
