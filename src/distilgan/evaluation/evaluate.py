"""Measuring a source of pictures: fidelity to data, agreement with the teacher, cost; each value with its protocol."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from distilgan.data.archives import same_set
from distilgan.data.images import ImageSet
from distilgan.devices import to_device
from distilgan.errors import UserError
from distilgan.evaluation.agreement import picture_agreement
from distilgan.evaluation.cost import Costed, costed_network, costs, count_parameters
from distilgan.evaluation.fidelity import frechet_distance, kernel_distance, precision_recall
from distilgan.evaluation.per_class import PerClass, Sample, mean_by_class, measure_classes, spread
from distilgan.evaluation.protocol import EVALUATION_SEED, Protocol, Result, data_hashes, thousands, versions
from distilgan.evaluation.reference import check_same_classes, open_lesson, open_reference
from distilgan.evaluation.samples import sample_of, sample_of_set
from distilgan.evaluation.sources import Drawn, Folder, Generator, OnnxFile, drawn_inputs, open_source
from distilgan.networks.stylegan2 import StyleGAN2
from distilgan.onnx_session import onnx_facts
from distilgan.perception.features import Extractor, build_extractor
from distilgan.perception.perceptual import build_perceptual


def evaluate(
    name: str, protocol: Protocol, teacher: str | None = None, extra_costs: dict[str, str] | None = None
) -> Result:
    """Measure the source `name` (run, folder, ONNX, images).

    Args:
        teacher: a generator to measure agreement with and to measure beside the student.
        extra_costs: more things whose cost belongs in the table: label -> source name.

    Raises:
        UserError: missing data, too few images, classes that are not the data's, a teacher with other latents, classes or
            picture size, a truncation that a source cannot draw at.
    """
    source, master = _open(name, protocol, teacher)
    # At the size of what is measured: a picture of half the size is blurred to any extractor.
    reference = open_reference(protocol, source.resolution)
    classes = _classes(source, master, reference)
    lesson = None if classes is None else open_lesson(protocol, reference)
    extractor = build_extractor(protocol.extractor, protocol.device)

    fake = sample_of(source, extractor, protocol.samples, protocol.seed, classes)
    count = len(fake.features)  # a folder may hold fewer
    # Latents of its own: KID is unbiased and FID comparable between independent sets only, and pictures that follow the
    # teacher's one by one are not independent of them.
    taught = sample_of(master, extractor, count, protocol.seed + 1, classes, keep=True) if master else None
    suffix = f"{thousands(count)}_{extractor.name}"

    result = Result(source=name)
    if reference is not None:
        truth = _Truth(
            sample_of_set(reference, extractor, classes is not None),
            None if lesson is None else sample_of_set(lesson, extractor, with_classes=True),
            unseen=lesson is not None and not same_set(str(protocol.data), str(protocol.classifier_data)),
        )
        result.metrics, result.classes = _against(truth, fake, suffix)
        if taught is not None:
            result.teacher, result.teacher_classes = _against(truth, taught, suffix)
        result.class_names = [] if classes is None else reference.class_names
    if taught is not None:
        result.metrics[f"kid{suffix}_teacher"] = kernel_distance(taught.features, fake.features)
        result.metrics[f"fid{suffix}_teacher"] = frechet_distance(taught.features, fake.features)
    if isinstance(source, Drawn) and isinstance(master, Drawn):
        figures, by_class = _agreement(master, source, protocol, classes)
        result.metrics, result.classes = result.metrics | figures, result.classes | by_class
    result.cost = _costs(source, master, extra_costs or {}, protocol.latency_runs)
    result.protocol = _conditions(protocol, source, reference, extractor, count)
    if classes is not None and reference is not None:
        result.protocol["classes_too_small"] = len(classes) - len(result.classes.get(f"intra_kid{suffix}", {}))
    return result


def costed(source: Generator | OnnxFile) -> Costed:
    """Parameters, MACs and peak activation memory of one picture (batch 1), and how it is made."""
    inputs = next(drawn_inputs(source.latent, source.num_classes, 1, EVALUATION_SEED))
    if isinstance(source, OnnxFile):
        return Costed(lambda: source.images(inputs), onnx_facts(source.session, source.path))
    found = costed_network(source.network, to_device(inputs, source.device))
    if isinstance(source.network, StyleGAN2):  # which distillation leaves as it is
        found.facts["parameters_mapping"] = count_parameters(source.network.mapping)
    return found


@dataclass(frozen=True)
class _Truth:
    """What pictures are held against: the data, and what a classifier learns from; `unseen`: that is not the data."""

    real: Sample
    lesson: Sample | None
    unseen: bool


def _open(
    name: str, protocol: Protocol, teacher: str | None
) -> tuple[Folder | Generator | OnnxFile, Folder | Generator | OnnxFile | None]:
    """The source and its teacher, which fits it."""
    source = open_source(name, device=protocol.device, truncation=protocol.truncation)
    if protocol.data is None and isinstance(source, Folder):
        raise UserError(f"{name}: images are measured against other images; give --data")
    if not teacher:
        return source, None
    truncation = protocol.truncation if protocol.teacher_truncation is None else protocol.teacher_truncation
    master = open_source(teacher, device=protocol.device, truncation=truncation)
    if isinstance(source, Drawn) and isinstance(master, Drawn):
        _check_comparable(master, source)
    return source, master


def _check_comparable(teacher: Drawn, student: Drawn) -> None:
    if teacher.latent.shape != student.latent.shape:
        raise UserError(
            f"latents differ: {teacher.name} takes {teacher.latent.words}, {student.name} {student.latent.words}"
        )
    if teacher.num_classes != student.num_classes:
        raise UserError(
            f"classes differ: {teacher.name} has {teacher.num_classes}, {student.name} {student.num_classes}"
        )
    if teacher.resolution != student.resolution:
        raise UserError(
            f"{teacher.name} makes pictures of {teacher.resolution} px, {student.name} of {student.resolution}"
        )


def _classes(source: Folder | Drawn, master: Folder | Drawn | None, reference: ImageSet | None) -> list[int] | None:
    """The classes that are measured one by one: the data's, of a source that has classes; None where there are none.

    Raises:
        UserError: the data has classes that a generator does not, or a set of pictures names them otherwise.
    """
    if isinstance(source, Drawn):
        if not source.num_classes:
            return None
        if reference is None:
            return list(range(source.num_classes))
    if reference is None or not reference.labelled:
        return None
    if isinstance(source, Folder):
        if not source.images.labelled:
            return None
        check_same_classes(reference, source.images)
    for item in (source, master):
        if isinstance(item, Drawn) and item.num_classes:
            reference.check_classes(item.num_classes, item.name)
    return sorted(set(reference.labels.tolist()))


def _against(truth: _Truth, fake: Sample, suffix: str) -> tuple[dict[str, float], dict[str, PerClass]]:
    """Figures over all pictures, and by class."""
    real = truth.real
    n = min(len(real.features), len(fake.features))
    figures = {
        f"fid{suffix}": frechet_distance(real.features, fake.features),
        f"kid{suffix}": kernel_distance(real.features, fake.features),
    }
    figures |= {f"{k}{suffix}": v for k, v in precision_recall(real.features[:n], fake.features[:n]).items()}
    by_class = {}
    if real.label is not None and fake.label is not None:
        by_class = measure_classes(real, fake, truth.lesson, truth.unseen)
    classes = {f"{name}{suffix}": values for name, values in by_class.items()}
    for name, values in classes.items():
        figures |= spread(name, values, lower_is_better=name.startswith("intra_"))
    return figures, classes


def _agreement(
    teacher: Drawn, student: Drawn, protocol: Protocol, classes: list[int] | None
) -> tuple[dict[str, float], dict[str, PerClass]]:
    """Figures picture by picture, as means over all and by class."""
    drawn = drawn_inputs(student.latent, student.num_classes, protocol.samples, protocol.seed, classes)
    pairs = ((teacher.images(x), student.images(x)) for x in drawn)
    found = picture_agreement(pairs, build_perceptual("efficientnet-lite0"))
    label = student.labels(protocol.samples, classes)
    by_class: dict[str, PerClass] = {}
    if label is not None:
        by_class = {f"{key}_teacher": mean_by_class(values, label) for key, values in found.items()}
    return {f"{key}_teacher": float(values.mean()) for key, values in found.items()}, by_class


def _costs(
    source: Folder | Drawn, master: Folder | Drawn | None, others: dict[str, str], runs: int
) -> dict[str, dict[str, Any]]:
    items = {"student": source, "teacher": master} if master else {"generator": source}
    items |= {label: open_source(other) for label, other in others.items()}
    return costs({label: costed(x) for label, x in items.items() if isinstance(x, Generator | OnnxFile)}, runs)


def _conditions(
    protocol: Protocol, source: Folder | Drawn, reference: ImageSet | None, extractor: Extractor, count: int
) -> dict[str, Any]:
    """How the figures were made: the protocol, and what it met."""
    sets = [s for s in (reference, source.images if isinstance(source, Folder) else None) if s is not None]
    found: dict[str, Any] = {
        **asdict(protocol),
        **data_hashes(protocol),
        "samples": count,
        "skipped": {str(s.path): len(s.skipped) for s in sets if s.skipped},
        "extractor_weights_sha256": extractor.weights,
        "resize": f"{extractor.resize_name} to {extractor.resolution} px",
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }
    if reference is not None:
        found |= {
            "reference_images": len(reference),
            "reference_data": str(protocol.data),
            "reference_resolution": reference.resolution,
            "precision_recall_samples": min(len(reference), count),  # of each, the first ones
        }
    if isinstance(getattr(source, "network", None), StyleGAN2):
        found["noise"] = "stored fields"
    return found
