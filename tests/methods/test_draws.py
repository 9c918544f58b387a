from __future__ import annotations

import torch

from distilgan.methods.draws import Draws, initialisation_seed


def all_of(draws: Draws) -> list[torch.Tensor]:
    return [draws.normal(3), draws.uniform(2), draws.integers(7).float(), draws.normal(1, 4, 4)]


def test_shares_make_up_the_whole_batch() -> None:
    whole = all_of(Draws(1, 64, 12))
    for parts in (2, 3, 4):
        shares = [all_of(Draws(1, 64, 12, part=p, parts=parts)) for p in range(parts)]
        for i, values in enumerate(whole):
            for p in range(parts):
                assert torch.equal(values[p::parts], shares[p][i])


def test_a_pure_function_of_seed_and_images() -> None:
    assert all(torch.equal(a, b) for a, b in zip(all_of(Draws(1, 5, 4)), all_of(Draws(1, 5, 4)), strict=True))
    assert not torch.equal(Draws(1, 5, 4).normal(9), Draws(1, 6, 4).normal(9))
    assert not torch.equal(Draws(1, 5, 4).normal(9), Draws(2, 5, 4).normal(9))


def test_shared_numbers_agree_between_shares() -> None:
    first, second = Draws(1, 5, 4, part=0, parts=2), Draws(1, 5, 4, part=1, parts=2)
    first.normal(2)
    assert [first.shared_uniform(), first.shared_integer(0, 99)] == [
        second.shared_uniform(),
        second.shared_integer(0, 99),
    ]


def test_first_weights_share_no_stream_with_latents_or_steps() -> None:
    seeds = range(5)
    assert len({initialisation_seed(s) for s in seeds}) == len(seeds)
    for seed in seeds:
        weights = torch.randn(8, 16, generator=torch.Generator().manual_seed(initialisation_seed(seed)))
        latents = torch.randn(8, 16, generator=torch.Generator().manual_seed(seed))
        for other in (latents, Draws(seed, 0, 8).normal(16)):
            assert abs(torch.corrcoef(torch.stack([weights.flatten(), other.flatten()]))[0, 1]) < 0.4
