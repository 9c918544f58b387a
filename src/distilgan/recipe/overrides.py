"""A recipe as plain keys and values, before it is validated: YAML, `key=value` overrides, what --smoke changes."""

from __future__ import annotations

from typing import Any

import yaml

from distilgan.errors import UserError


def read_yaml(content: bytes) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Raises:
        ValueError: says in one line why it has none.
    """
    try:
        tree = yaml.safe_load(content.decode())
    # ValueError: not UTF-8, or a date that does not exist.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"not valid YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(tree, dict):
        raise ValueError(f"expected keys and values at the top, found {type(tree).__name__}")
    return tree


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Set one dotted `key=value` in the tree; the value is read as YAML."""
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise UserError(f"{override!r} is not an override: write key=value")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{key}: {text!r} is not a valid value") from error
    node = tree
    *parents, last = key.split(".")
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise UserError(f"{key}: {parent} is a single value, not a section")
        node = child
    node[last] = value


def merge(tree: dict[str, Any], changes: dict[str, Any]) -> None:
    """Set the leaves of `changes`."""
    for key, value in changes.items():
        if isinstance(value, dict):
            if not isinstance(tree.get(key), dict):
                tree[key] = {}
            merge(tree[key], value)
        else:
            tree[key] = value


# What --smoke changes in any recipe; its method has changes of its own.
SMOKE: dict[str, Any] = {
    "data": {"limit": 256},
    "training": {"images": 64, "batch": 8, "report": 16, "sample": 64, "checkpoint": 32},
    "evaluation": {"latency_runs": 3},
}
