"""The figures of a pseudo-pair against numbers made by hand, and the rules on them."""

from __future__ import annotations

import math

import pytest
import torch

from distilgan.data.colour import lab
from distilgan.data.pair_filter import Figures, Limits, nearness, segmentation_figures, shifts, verdicts


def flat(*rgb: int, size: int = 4) -> torch.Tensor:
    return torch.tensor(rgb, dtype=torch.uint8)[:, None, None].expand(3, size, size).contiguous()


# CIE L*a*b* of sRGB colours, white D65, as published tables have them.
@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((0, 0, 0), (0, 0, 0)),
        ((255, 255, 255), (100, 0, 0)),
        ((119, 119, 119), (50.03, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((255, 255, 0), (97.14, -21.55, 94.48)),
        ((3, 3, 3), (0.82, 0, 0)),
    ],
)
def test_lab_of_known_colours(rgb: tuple[int, int, int], expected: tuple[float, float, float]) -> None:
    torch.testing.assert_close(lab(flat(*rgb))[:, 0, 0], torch.tensor(expected).float(), atol=0.06, rtol=0)


def test_shifts_are_of_the_means() -> None:
    halves = torch.cat([flat(0, 0, 0), flat(255, 255, 255)], 2)
    luminance, colour = shifts(flat(255, 255, 255), halves)
    assert luminance == pytest.approx(-50, abs=0.01)
    assert colour == pytest.approx(0, abs=0.02)
    luminance, colour = shifts(flat(119, 119, 119), flat(255, 0, 0))
    assert luminance == pytest.approx(53.24 - 50.03, abs=0.05)
    assert colour == pytest.approx(math.hypot(80.09, 67.20), abs=0.1)


def scores(labels: torch.Tensor, kinds: int = 150) -> torch.Tensor:
    """Of a segmenter that is sure: 1 for the class, 0 for all others."""
    return torch.nn.functional.one_hot(labels, kinds).permute(2, 0, 1).float()


def test_scenimefys_score_lies_between_4_02_and_5_02() -> None:
    first = torch.zeros(10, 10, dtype=torch.long)
    first[:, 5:] = 7
    other = torch.full_like(first, 9)
    half = first.clone()
    half[:5] = 9
    for made, same in ((first, 1.0), (other, 0.0), (half, 0.5)):
        agreement, _, entropy, classes = segmentation_figures(scores(first), scores(made))
        assert agreement == same
        assert entropy == pytest.approx(math.log(149 + math.e) - same, abs=1e-4)
        assert classes == 2
    uniform = segmentation_figures(scores(first), torch.full((150, 10, 10), 0.3))[2]
    assert uniform == pytest.approx(math.log(150), abs=1e-4)
    assert (math.log(149 + math.e) - 1, math.log(149 + math.e)) == pytest.approx((4.022, 5.022), abs=1e-3)


def test_iou_is_over_the_classes_that_are_seen() -> None:
    photo = torch.zeros(20, 20, dtype=torch.long)
    photo[:, 10:] = 1
    photo[0, 0] = 5  # a quarter of a percent: not counted, but a class of the photo
    made = torch.zeros_like(photo)
    made[:, 15:] = 2
    agreement, iou, _, classes = segmentation_figures(scores(photo, 6), scores(made, 6))
    assert agreement == pytest.approx(199 / 400)
    assert iou == pytest.approx((199 / 300 + 0 + 0) / 3, abs=1e-6)
    assert classes == 3


def test_equal_pictures_are_perfect() -> None:
    labels = torch.randint(0, 4, (8, 8), generator=torch.Generator().manual_seed(0))
    agreement, iou, _, classes = segmentation_figures(scores(labels, 4), scores(labels, 4))
    assert (agreement, iou, classes) == (1.0, 1.0, 4)


FAR, DARK = Figures(2, 50.0), Figures(-30, 5)
PAIRS = {f"{share:g}": Figures(0, 0, share, share, 5.02 - share, 3) for share in (0.9, 0.7, 0.5, 0.3, 0.01)}


def kept(limits: Limits, pairs: dict[str, Figures] = PAIRS) -> list[str]:
    return [name for name, why in verdicts(pairs, limits).items() if not why]


def test_rules() -> None:
    assert kept(Limits()) == ["0.9", "0.7"]
    assert kept(Limits(agreement=0.5)) == ["0.9", "0.7", "0.5"]
    assert kept(Limits(share=0.8)) == ["0.9", "0.7", "0.5", "0.3"]
    assert kept(Limits(rule="scenimefy")) == ["0.9", "0.7", "0.5", "0.3"]  # the published limit refuses next to nothing
    assert kept(Limits(rule="scenimefy", cross_entropy=4.3)) == ["0.9"]
    single = {"sky": Figures(0, 0, 1.0, 1.0, 4.02, 1)}
    assert verdicts(single, Limits()) == {"sky": "1 class in the photo"}
    assert kept(Limits(rule="scenimefy"), single) == []
    assert kept(Limits(rule="scenimefy"), {"on it": Figures(0, 0, 0.02, 0, 5.0, 2)}) == []


def test_checks_that_need_no_model() -> None:
    assert verdicts({"far": FAR, "dark": DARK, "fine": Figures(10, 10)}, Limits()) == {
        "far": "colour moved by 50", "dark": "darker by 30", "fine": "",
    }  # fmt: skip
    assert verdicts({"bright": Figures(30, 0)}, Limits()) == {"bright": "brighter by 30"}
    assert kept(Limits(luminance=31, colour=51), {"far": FAR, "dark": DARK}) == ["far", "dark"]


def test_the_nearest_to_a_limit() -> None:
    limits = Limits()
    assert nearness(Figures(25, 0), limits, 0.6) == 0
    assert nearness(Figures(-25, 0), limits, 0.6) == 0
    assert nearness(Figures(0, 30), limits, 0.6) == pytest.approx(0.25)
    assert nearness(PAIRS["0.5"], limits, 0.6) == pytest.approx(1 / 6)
    assert nearness(PAIRS["0.5"], limits, 0.5) == 0  # of a share, whose limit the pairs make
    assert nearness(Figures(0, 0, 0.9, 0.9, 4.5, 2), Limits(rule="scenimefy"), 0.6) == pytest.approx(0.1)
