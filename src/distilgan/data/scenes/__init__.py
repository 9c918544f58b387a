"""Drawn landscapes: a style for translators to learn, of which any number can be had."""

from distilgan.data.scenes.dataset import render_scenes

__all__ = ["render_scenes"]
