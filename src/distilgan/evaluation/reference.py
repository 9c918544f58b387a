"""The real images that generated ones are held against."""

from __future__ import annotations

from itertools import zip_longest

from distilgan.data.images import ImageSet
from distilgan.errors import UserError
from distilgan.evaluation.protocol import Protocol


def open_reference(protocol: Protocol, resolution: int) -> ImageSet | None:
    """The images to measure against, if there are any.

    Raises:
        UserError: no such set, or too few images in it.
    """
    if protocol.data is None:
        return None
    reference = ImageSet(protocol.data, resolution, limit=protocol.reference)
    if len(reference) < 8:
        raise UserError(f"{protocol.data}: {len(reference)} images are too few to measure against; give at least 8")
    return reference


def open_lesson(protocol: Protocol, reference: ImageSet | None) -> ImageSet | None:
    """The images that the classifier learns from; None where they or the reference have no classes.

    Raises:
        UserError: fewer than 8, none of a class that the reference has, or classes that are not the reference's.
    """
    if protocol.classifier_data is None or reference is None or not reference.labelled:
        return None
    count = protocol.classifier_images
    if count < 8:
        raise UserError(f"evaluation.classifier_images={count}: too few to learn from; give at least 8, or 0 for none")
    lesson = ImageSet(protocol.classifier_data, reference.resolution, limit=count)
    if not lesson.labelled:
        return None
    check_same_classes(lesson, reference)
    untaught = set(reference.labels.tolist()) - set(lesson.labels.tolist())
    if untaught:
        raise UserError(
            f"evaluation.classifier_images={count}: none of the {len(lesson)} of {lesson.path} has class {min(untaught)}, "
            f"which {reference.path} has; give more, or 0 for none"
        )
    return lesson


def check_same_classes(first: ImageSet, second: ImageSet) -> None:
    """Raise UserError when two sets name their classes differently, so that one number means two things.

    A set that names none has numbers in its dataset.json, which stand for themselves.
    """
    if not first.class_names or not second.class_names:
        return
    for number, names in enumerate(zip_longest(first.class_names, second.class_names)):
        one, other = (repr(name) if name is not None else "missing" for name in names)
        if one != other:
            raise UserError(
                f"{second.path}: class {number} is {other}, but {one} in {first.path}; give both the same class folders, "
                'or the same "classes" in dataset.json'
            )
