"""How weights move over a run."""

from __future__ import annotations

import pytest

from distilgan.methods.schedules import factor, geometric, hardness


def epoch(number: int, of: int = 20) -> float:
    """What is over when it begins."""
    return (number - 1) / of


def test_cosine_decay() -> None:
    values = [factor("cosine_decay", epoch(e)) for e in (1, 11, 20)]
    assert values == pytest.approx([1.0, 0.7071, 0.0785], abs=5e-5)
    assert factor("cosine_decay", 1.0) == pytest.approx(0)


def test_scenimefys_code_never_decays() -> None:
    """Its cosine is of the epoch times their number; with a number that is no multiple of four it would have jumped about."""
    assert [factor("scenimefy_code", epoch(e)) for e in range(1, 21)] == pytest.approx([1.0] * 20)
    assert factor("scenimefy_code", 0.123456) == pytest.approx(1.0)
    assert [factor("scenimefy_code", epoch(e, 5), epochs=5) for e in range(1, 6)] == pytest.approx(
        [1, 0, -1, 0, 1], abs=1e-12
    )


def test_a_ramp_begins_after_the_warm_up() -> None:
    values = [factor("linear_ramp", t, start=0.4) for t in (0.0, 0.39, 0.4, 0.7, 1.0)]
    assert values == pytest.approx([0, 0, 0, 0.5, 1])
    assert factor("linear_ramp", 0.25) == pytest.approx(0.25)


def test_a_switch() -> None:
    assert [factor("off_then_constant", t, start=0.4) for t in (0.0, 0.39, 0.4, 1.0)] == [0, 0, 1, 1]
    assert factor("off_then_constant", 0.0) == 1


def test_constant() -> None:
    assert {factor("constant", t) for t in (0.0, 0.5, 1.0)} == {1.0}


def test_hardness_falls_in_a_line() -> None:
    assert [hardness(t) for t in (0.0, 0.25, 1.0)] == [50, 40, 10]
    assert hardness(0.5, 200.0, 40.0) == 120


def test_a_fading_weight_falls_by_equal_factors() -> None:
    assert [geometric(t, 1000.0, 10.0) for t in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([1000, 1000 / 10**0.5, 100, 10])
    assert geometric(0.7, 5.0, None) == 5
