"""From names to figures: what measures a network that turns faces, of a run or any other."""

from __future__ import annotations

from typing import Any

from distilgan.data.archives import data_sha256, same_set
from distilgan.data.face_pairs import FacePairs
from distilgan.errors import UserError
from distilgan.evaluation.frontal import FrontalProtocol, FrontalResult, evaluate_frontal
from distilgan.evaluation.frontalizers import Frontalizer, open_frontalizer
from distilgan.evaluation.protocol import versions
from distilgan.files import file_sha256
from distilgan.networks.pretrained import network_sha256
from distilgan.perception.identity import IdentityFeatures, open_identity
from distilgan.recipe import FrontalRecipe
from distilgan.runs import generator_folder


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


def identity_features(name: str | None) -> IdentityFeatures | None:
    """The identity network of that name.

    Raises:
        UserError: no such network.
    """
    return None if name is None else open_identity(name, generator_folder)


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
    result = evaluate_frontal(name, student, pairs, protocol, master, identity_features(protocol.identity))
    items = {"student": student, "teacher": master} if master else {"generator": student}
    items |= {label: open_frontalizer(other) for label, other in (extra_costs or {}).items()}
    result.cost = {label: item.cost(protocol.latency_runs) for label, item in items.items() if item is not None}
    return result


def frontal_hashes(name: str, protocol: FrontalProtocol, teacher: str | None) -> dict[str, Any]:
    """SHA-256 of everything that figures depend on."""
    identity = identity_features(protocol.identity)
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
