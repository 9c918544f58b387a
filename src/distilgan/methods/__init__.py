"""Distillation methods: networks, losses and one page of algorithm each."""
