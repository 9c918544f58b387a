"""Measuring translators of photos into a style."""
