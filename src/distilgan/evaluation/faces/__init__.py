"""Measuring networks that turn faces to the front, and networks that tell people apart."""
