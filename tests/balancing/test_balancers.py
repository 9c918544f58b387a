"""Each balancer against its own equations, against torchjd where that has it, and through a checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchjd import scalarization

from distilgan.balancing import DWA, FAMO, Balancer, GradNorm, MetaKD, Seen, Uncertainty

BASE = {"pixel": 1.0, "local": 3.0, "feature": 0.5}
MAKERS: dict[str, Callable[[], Balancer]] = {
    "uncertainty": lambda: Uncertainty(BASE, 0.1),
    "dwa": lambda: DWA(BASE, interval=24),
    "gradnorm": lambda: GradNorm(BASE, 0.05, every=2),
    "famo": lambda: FAMO(BASE, 0.1),
    "metakd": lambda: MetaKD(BASE, 0.05, every=2, warmup=16),
}


def steps(count: int, seed: int = 0) -> Iterator[Seen]:
    """Falling losses with noise, and whatever else a balancer may want."""
    generator = torch.Generator().manual_seed(seed)
    for i in range(count):
        fall = torch.tensor([0.9, 0.97, 0.99], dtype=torch.float64) ** i
        losses = fall * (1 + 0.1 * torch.rand(3, generator=generator, dtype=torch.float64))
        yield Seen(
            8 * i, i / count, losses,
            norms=0.1 + torch.rand(3, generator=generator, dtype=torch.float64),
            alignment=2 * torch.rand(3, generator=generator, dtype=torch.float64) - 1,
            after=losses * (0.8 + 0.1 * torch.rand(3, generator=generator, dtype=torch.float64)),
        )  # fmt: skip


def show(balancer: Balancer, seen: Seen) -> dict[str, float]:
    """One step as the training does it: weights, then what was asked for."""
    wants = balancer.wants(seen.images)
    weights = balancer.weights(seen.losses)
    balancer.update(
        Seen(
            seen.images, seen.progress, seen.losses,
            seen.norms if wants.norms else None,
            seen.alignment if wants.alignment else None,
            seen.after if wants.after else None,
        )
    )  # fmt: skip
    return weights


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_a_resumed_balancer_goes_on_bit_for_bit(kind: str) -> None:
    whole, first, second = MAKERS[kind](), MAKERS[kind](), MAKERS[kind]()
    for i, seen in enumerate(steps(20)):
        expected = show(whole, seen)
        if i == 11:
            second.load_state_dict(copy.deepcopy(first.state_dict()))
        assert show(first if i < 11 else second, seen) == expected
    assert whole.signals() == second.signals()


@pytest.mark.parametrize("kind", sorted(set(MAKERS) - {"uncertainty"}))
def test_factors_keep_the_whole_weight(kind: str) -> None:
    balancer = MAKERS[kind]()
    for seen in steps(40):
        show(balancer, seen)
        assert float(balancer.factors.sum()) == pytest.approx(len(BASE))
        assert float(balancer.factors.min()) > 0


@pytest.mark.parametrize("kind", sorted(set(MAKERS) - {"famo"}))
def test_every_balancer_starts_as_fixed_weights(kind: str) -> None:
    """But for FAMO, whose weights are those of the losses' logarithms."""
    assert MAKERS[kind]().weights(torch.ones(3, dtype=torch.float64)) == BASE


def test_a_loss_without_weight_cannot_be_balanced() -> None:
    with pytest.raises(ValueError, match="weight above 0"):
        Uncertainty({"pixel": 1.0, "local": 0.0}, 0.1)


# -- against torchjd -----------------------------------------------------------------------------------------------------


def gradient_of(scalarise: Callable[[Tensor], Tensor], losses: Tensor) -> Tensor:
    """What a scalarizer weighs each loss with: the derivative for it."""
    losses = losses.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(scalarise(losses), losses)
    return gradient


def test_uncertainty_is_torchjds_twice() -> None:
    theirs, ours = scalarization.UW(3).double(), Uncertainty(BASE, 0.1)
    adam = torch.optim.Adam(theirs.parameters(), lr=0.1)
    for i, seen in enumerate(steps(30)):
        wanted = 2 * gradient_of(theirs, seen.losses)
        show(ours, seen) if i == 0 else None
        torch.testing.assert_close(ours.factors if i else torch.ones(3, dtype=torch.float64), wanted)
        adam.zero_grad()
        theirs(seen.losses).backward()
        adam.step()
        if i:
            show(ours, seen)


def test_dwa_is_torchjds() -> None:
    theirs, ours = scalarization.DWA(2.0), MAKERS["dwa"]()
    moved = False
    for i, seen in enumerate(steps(30)):
        if i and i % 3 == 0:  # 24 images
            theirs.step()
            ours.update(seen)  # an epoch ends when the next one's first step is seen
            ours_now = ours.factors
            wanted = gradient_of(theirs, seen.losses)
            torch.testing.assert_close(ours_now, wanted)
            moved = moved or bool((ours_now - 1).abs().max() > 1e-3)
            continue
        gradient_of(theirs, seen.losses)
        ours.update(seen)
    assert moved


def test_famo_is_torchjds_scaled_to_n() -> None:
    theirs, ours = scalarization.FAMO(3, lr=0.1, weight_decay=1e-3).double(), FAMO(BASE, 0.1, decay=1e-3)
    for seen in steps(30):
        assert seen.after is not None
        wanted = gradient_of(theirs, seen.losses)
        found = show(ours, seen)
        torch.testing.assert_close(torch.tensor([found[n] / BASE[n] for n in BASE], dtype=torch.float64), 3 * wanted)
        theirs.update(seen.after)


# -- GradNorm ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.5, 1.5])
def test_gradnorm_descends_its_objective(alpha: float) -> None:
    """Σ |G_i - mean(G) r_i^α| with the targets held fixed, differentiated by torch, under the same Adam."""
    balancer, factors = GradNorm(BASE, 0.02, alpha), []
    a = torch.ones(3, dtype=torch.float64, requires_grad=True)
    adam, first = torch.optim.Adam([a], lr=0.02), None
    for seen in steps(12):
        assert seen.norms is not None
        first = seen.losses if first is None else first
        sizes, ratios = a * seen.norms, seen.losses / first
        target = (sizes.mean() * (ratios / ratios.mean()) ** alpha).detach()
        adam.zero_grad()
        (sizes - target).abs().sum().backward()
        adam.step()
        with torch.no_grad():
            a.mul_(3 / a.sum())
        show(balancer, seen)
        torch.testing.assert_close(balancer.factors, a.detach())
        factors.append(balancer.factors)
    assert float((factors[-1] - 1).abs().max()) > 0.05


def test_gradnorm_looks_only_when_it_is_due() -> None:
    balancer = GradNorm(BASE, 0.01, every=3)
    wants = []
    for seen in steps(6):
        wants.append(balancer.wants(seen.images).norms)
        show(balancer, seen)
    assert wants == [True, False, False, True, False, False]


# -- MetaKD --------------------------------------------------------------------------------------------------------------


def constant(h: list[float], norms: list[float] | None = None) -> Iterator[Seen]:
    """The same alignment in every step."""
    for i, seen in enumerate(steps(400)):
        yield Seen(8 * i, i / 400, seen.losses, torch.tensor(norms or [1.0, 1, 1]).double(), torch.tensor(h).double())


def test_metakd_weighs_what_serves_the_meta_loss_within_its_bounds() -> None:
    """h = ∂M/∂λ up to scale: the loss with the most negative one gains until the floor of the others."""
    balancer = MetaKD(BASE, 0.02, every=1, floor=0.15, entropy=0.0)
    for seen in constant([-0.8, 0.1, 0.0]):
        show(balancer, seen)
        assert float(balancer.factors.min()) >= 0.15 - 1e-9
    assert balancer.factors[0] == pytest.approx(3 - 2 * 0.15, abs=0.1)


def test_metakd_with_entropy_alone_stays_at_equal_factors() -> None:
    balancer = MetaKD(BASE, 0.02, every=1, entropy=1.5)
    for seen in constant([0.0, 0.0, 0.0]):
        show(balancer, seen)
    torch.testing.assert_close(balancer.factors, torch.ones(3, dtype=torch.float64), atol=0.02, rtol=0)


def test_metakd_with_entropy_stays_in_between() -> None:
    """At the optimum of h·a + β Σ p log p with p = a/N: p is the softmax of -N h / β, here inside the bounds."""
    h, beta = [-0.1, 0.05, 0.0], 1.5
    balancer = MetaKD(BASE, 0.01, every=1, floor=0.0, entropy=beta)
    for seen in constant(h):
        show(balancer, seen)
    wanted = 3 * torch.softmax(-3 * torch.tensor(h).double() / beta, 0)
    torch.testing.assert_close(balancer.factors, wanted, atol=0.05, rtol=0)


def test_metakd_with_a_floor_of_one_is_fixed() -> None:
    balancer = MetaKD(BASE, 0.1, every=1, floor=1.0)
    for seen in steps(30):
        assert show(balancer, seen) == pytest.approx(BASE)


def test_metakd_waits_for_its_warm_up_and_its_turn() -> None:
    balancer = MAKERS["metakd"]()
    wants = []
    for seen in steps(6):
        wants.append(balancer.wants(seen.images).alignment)
        show(balancer, seen)
    assert wants == [False, False, False, True, False, True]


def test_metakd_sees_what_its_equations_say() -> None:
    """d, p and q of three looks by hand, and how the applied factors follow."""
    balancer = MetaKD(BASE, 0.05, every=1, smoothing=0.7)
    losses, norms, first = [], [], None
    for seen in steps(3):
        assert seen.norms is not None
        before = balancer.factors
        show(balancer, seen)
        losses, norms = [*losses, seen.losses], [*norms, seen.norms]
        ages = torch.tensor([0.1 * 0.9**k for k in reversed(range(len(losses)))], dtype=torch.float64)
        mean = torch.stack([w * x for w, x in zip(ages, losses, strict=True)]).sum(0) / ages.sum()
        norm = torch.stack([w * x for w, x in zip(ages, norms, strict=True)]).sum(0) / ages.sum()
        first = mean if first is None else first
        signals = balancer.signals()
        assert signals["loss_change"] == pytest.approx((losses[-1] / mean).log().tolist())
        assert signals["loss"] == pytest.approx((mean / first).log().tolist())
        assert signals["gradient"] == pytest.approx((norm / norm.mean()).log().tolist())
        inputs = [*signals["loss_change"], *signals["loss"], *signals["gradient"], seen.progress]
        z = balancer.network(torch.tensor(inputs, dtype=torch.float64)).detach()
        wanted = 3 * ((1 - 0.15) * torch.softmax(z, 0) + 0.15 / 3)
        torch.testing.assert_close(balancer.factors, 0.7 * before + 0.3 * wanted)


@pytest.mark.parametrize(
    ("kind", "blind"), [("loss", "norms"), ("gradient", "losses"), ("none", "losses"), ("none", "norms")]
)
def test_metakd_does_not_see_the_signals_that_it_is_denied(kind: str, blind: str) -> None:
    def factors(scale: float) -> Tensor:
        balancer = MetaKD(BASE, 0.05, every=1, signals=kind)  # type: ignore[arg-type]
        for i, seen in enumerate(steps(25)):
            change = torch.tensor([1.0, scale**i, 1.0], dtype=torch.float64)
            other = {"norms": seen.norms, "losses": seen.losses}
            other[blind] = other[blind] * change  # type: ignore[operator]
            show(balancer, Seen(seen.images, seen.progress, other["losses"], other["norms"], seen.alignment))  # type: ignore[arg-type]
        return balancer.factors

    assert torch.equal(factors(1.0), factors(1.2))


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_metakd_with_one_signal_sees_that_one(kind: str) -> None:
    def factors(signals: str) -> Tensor:
        balancer = MetaKD(BASE, 0.05, every=1, signals=signals)  # type: ignore[arg-type]
        for seen in steps(25):
            show(balancer, seen)
        return balancer.factors

    assert not torch.equal(factors(kind), factors("none"))
    assert not torch.equal(factors(kind), factors("both"))


def test_shuffled_signals_are_logged_as_they_were() -> None:
    balancer = MetaKD(BASE, 0.02, every=1, signals="shuffled")
    for seen in constant([-0.9, 0.0, 0.5]):
        show(balancer, seen)
        assert balancer.signals()["alignment"] == pytest.approx([-0.9, 0.0, 0.5])


def test_shuffled_signals_teach_nothing_about_which_loss() -> None:
    """Without entropy a control may end in any corner, by chance; over seeds none is preferred."""

    def factor(signals: str, seed: int) -> float:
        balancer = MetaKD(BASE, 0.02, every=1, signals=signals, entropy=0.0, seed=seed)  # type: ignore[arg-type]
        for i, seen in enumerate(constant([-0.8, 0.4, 0.4])):
            if i < 120:
                show(balancer, seen)
        return float(balancer.factors[0])

    assert all(factor("both", seed) > 2.4 for seed in range(3))
    assert 0.4 < sum(factor("shuffled", seed) for seed in range(12)) / 12 < 1.7


@settings(max_examples=25, deadline=None)
@given(
    h=st.lists(st.floats(-1, 1), min_size=3, max_size=3),
    norms=st.lists(st.floats(0, 1e6), min_size=3, max_size=3),
    losses=st.lists(st.floats(0, 1e6), min_size=3, max_size=3),
)
def test_metakd_stays_finite_and_bounded(h: list[float], norms: list[float], losses: list[float]) -> None:
    balancer = MetaKD(BASE, 0.1, every=1)
    for i in range(4):
        show(
            balancer,
            Seen(8 * i, i / 4, torch.tensor(losses).double(), torch.tensor(norms).double(), torch.tensor(h).double()),
        )
    assert bool(torch.isfinite(balancer.factors).all())
    assert 0.15 - 1e-9 <= float(balancer.factors.min()) <= float(balancer.factors.max()) <= 2.7 + 1e-9
