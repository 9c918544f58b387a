"""From names to figures: what measures a network that turns faces, of a run or any other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from distilgan.data.archives import builtin_path, data_sha256, same_set
from distilgan.data.face_pairs import FacePairs, check_unseen
from distilgan.errors import UserError, named
from distilgan.evaluation.cost import costs
from distilgan.evaluation.faces.frontalizers import Frontalizer, open_frontalizer
from distilgan.evaluation.faces.measure import FrontalProtocol, FrontalResult, evaluate_frontal
from distilgan.evaluation.protocol import versions
from distilgan.files import file_sha256
from distilgan.networks.pretrained import network_sha256, read_config
from distilgan.networks.tpgan import TPGAN
from distilgan.onnx_session import open_session, stored_facts
from distilgan.perception.identity import IdentityFeatures, open_identity
from distilgan.recipe import FrontalRecipe
from distilgan.runs import generator_folder, is_run, open_run

_IDENTITY = "evaluation.identity"


def protocol_of(recipe: FrontalRecipe) -> FrontalProtocol:
    """How a recipe has its result measured."""
    e = recipe.evaluation
    return FrontalProtocol(
        data=e.data or recipe.data.path,
        resolution=recipe.data.resolution,
        held_out=e.data is not None and not same_set(e.data, recipe.data.path),
        limit=e.limit if e.data else recipe.data.limit,
        identity=e.identity,
        perceptual=e.perceptual,
        latency_runs=e.latency_runs,
    )


def turns_faces(name: str) -> bool:
    """Whether `name` is a TP-GAN: a run's, a folder or an exported file."""
    path = builtin_path(name)
    if path.suffix == ".onnx" and path.is_file():
        return "landmarks" in {i.name for i in open_session(path).get_inputs()}
    if is_run(path):
        return isinstance(open_run(path).recipe, FrontalRecipe)
    return (path / "config.json").is_file() and read_config(path).get("family") == TPGAN.family


def evaluate_named(
    name: str, data: str | None, teacher: str | None, identity: str | None, device: str = "cpu"
) -> FrontalResult:
    """Measure what `name` makes of `data`; where something is not given (None), as the run's recipe says.

    Raises:
        UserError: no data is named, or the network, its teacher or the judge has learnt from people in it.
    """
    recipe = open_run(Path(name)).recipe if is_run(Path(name)) else None
    if isinstance(recipe, FrontalRecipe):
        protocol, teacher = protocol_of(recipe), teacher or recipe.compared_with
        if data is not None:
            protocol = replace(protocol, data=data, held_out=None, limit=None)
    elif data is None:
        raise UserError(f"{name}: give --data with pairs of faces to measure on")
    else:
        protocol = FrontalProtocol(data=data, resolution=open_frontalizer(name).resolution)
    protocol = replace(protocol, device=device, identity=identity or protocol.identity)
    identity_features(protocol.identity, "--identity" if identity else _IDENTITY)
    pairs = FacePairs(protocol.data, protocol.resolution, limit=protocol.limit)
    if data is not None:
        for network in (name, teacher, protocol.identity):
            check_unseen(pairs, known_people(network), "--data", str(network))
    result = measure_frontal(name, pairs, protocol, teacher)
    result.protocol |= frontal_hashes(name, protocol, teacher)
    return result


def known_people(name: str | None) -> str:
    """Who a network has learnt from, as its config.json or exported file tells; nothing for what has none."""
    if name is None or name.startswith("lightcnn"):
        return ""
    if name.endswith(".onnx"):
        return str(json.loads(stored_facts(open_session(Path(name))).get("people", '""')))
    return str(read_config(generator_folder(name)).get("people", ""))


def identity_features(name: str | None, key: str) -> IdentityFeatures | None:
    """The identity network that a recipe's or an option's `key` names.

    Raises:
        UserError: no such network.
    """
    if name is None:
        return None
    with named(key, name):
        return open_identity(name, generator_folder)


def measure_frontal(
    name: str, pairs: FacePairs, protocol: FrontalProtocol, teacher: str | None = None,
    extra_costs: dict[str, str] | None = None,
) -> FrontalResult:  # fmt: skip
    """Measure `name` (run, folder or ONNX file) on pairs, beside its teacher.

    Args:
        extra_costs: more things whose cost belongs in the table: label -> name.

    Raises:
        UserError: networks that take faces of another size than the pairs'.
    """
    student = open_frontalizer(name, protocol.device)
    master = open_frontalizer(teacher, protocol.device) if teacher else None
    for item in (student, master):
        if item is not None and item.resolution != pairs.resolution:
            raise UserError(f"{item.name}: takes faces of {item.resolution} px; the data is read at {pairs.resolution}")
    result = evaluate_frontal(name, student, pairs, protocol, master, identity_features(protocol.identity, _IDENTITY))
    items = {"student": student, "teacher": master} if master else {"generator": student}
    items |= {label: open_frontalizer(other) for label, other in (extra_costs or {}).items()}
    result.cost = costs({label: item.costed() for label, item in items.items() if item}, protocol.latency_runs)
    return result


def frontal_hashes(name: str, protocol: FrontalProtocol, teacher: str | None) -> dict[str, Any]:
    """SHA-256 of everything that figures depend on."""
    identity = identity_features(protocol.identity, _IDENTITY)
    return {
        "student_sha256": _sha256(name),
        "teacher_sha256": _sha256(teacher) if teacher else None,
        "data_sha256": data_sha256(protocol.data),
        "identity_sha256": identity.weights if identity is not None else None,
        "versions": versions(),
    }


def _sha256(name: str) -> str:
    item = open_frontalizer(name)
    return network_sha256(item.network) if isinstance(item, Frontalizer) else file_sha256(item.path)
