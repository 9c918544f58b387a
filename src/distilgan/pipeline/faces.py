"""What runs on faces share: their data, held-out people."""

from __future__ import annotations

from distilgan.data.face_pairs import FacePairs, check_disjoint, check_unseen, people_digest
from distilgan.evaluation.faces.named import known_people
from distilgan.recipe import FrontalRecipe, IdentityRecipe


def open_faces(recipe: FrontalRecipe | IdentityRecipe) -> FacePairs:
    """The training pairs; UserError where there are none, or `data.strict` and a file that cannot be used."""
    d = recipe.data
    pairs = FacePairs(d.path, d.resolution, limit=d.limit)
    if d.strict:
        pairs.refuse_skipped()
    return pairs


def skipped_faces(pairs: FacePairs) -> tuple[int, str]:
    name, reason = next(iter(pairs.skipped.items()), ("", ""))
    return len(pairs.skipped), f"{name}: {reason}"


def open_held_out(recipe: FrontalRecipe | IdentityRecipe, pairs: FacePairs) -> FacePairs | None:
    """Pairs of other people to measure on; None where the recipe names none.

    Raises:
        UserError: a person is in both sets, or the teacher or the network that judges has learnt from one.
    """
    e = recipe.evaluation
    if e.data is None:
        return None
    held_out = FacePairs(e.data, recipe.data.resolution, limit=e.limit)
    check_disjoint(pairs, held_out, ("data.path", "evaluation.data"))
    if isinstance(recipe, FrontalRecipe):
        for network in (recipe.compared_with, recipe.evaluation.identity):
            check_unseen(held_out, known_people(network), "evaluation.data", str(network))
    return held_out


def learnt_people(pairs: FacePairs, teacher: str | None) -> str:
    """Who a network made from these pairs and this teacher has learnt from, for its config.json."""
    return " ".join(sorted({*people_digest(pairs).split(), *known_people(teacher).split()}))
