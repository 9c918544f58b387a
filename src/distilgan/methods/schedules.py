"""How weights change over a run: pure functions of t, the share of it that is over, in [0, 1].

The weight of NijiGAN's supervised branch exists in three versions that contradict each other: its report lets it grow after a
warm-up, its prototype lets it decay, Scenimefy's published code, whose prose says that it decays, keeps it constant.
"""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["constant", "cosine_decay", "linear_ramp", "off_then_constant", "scenimefy_code"]


def factor(schedule: Schedule, t: float, start: float = 0.0, epochs: int = 20) -> float:
    """What the weight is multiplied by at `t`.

    constant: 1. cosine_decay: cos(π t / 2), from 1 to 0 (Scenimefy's prose; NijiGAN's prototype). linear_ramp: 0 until `start`,
    then a line to 1 at the end (NijiGAN's report). off_then_constant: 0 until `start`, then 1. scenimefy_code: cos(π/2 · N · e)
    for the whole epochs e of N = `epochs` that are over, which is 1 in all of them as long as N is a multiple of 4.

    Args:
        t: at the beginning of an epoch e of N, (e - 1) / N.
    """
    match schedule:
        case "constant":
            return 1.0
        case "cosine_decay":
            return math.cos(math.pi / 2 * t)
        case "linear_ramp":
            return 0.0 if t < start else min(1.0, (t - start) / (1 - start))
        case "off_then_constant":
            return float(t >= start)
        case "scenimefy_code":
            return math.cos(math.pi / 2 * epochs * math.floor(t * epochs))


def hardness(t: float, first: float = 50.0, last: float = 10.0) -> float:
    """γ of hDCE's weights: a line from `first` to `last`. Jung et al. 2022, section 4.1 (curriculum).

    The published code moves it in steps, which are ahead: epoch e of N has the value of its end, t = e / N. Its option of γ = 1
    after an epoch is not here.
    """
    return first + (last - first) * t


def geometric(t: float, first: float, last: float | None) -> float:
    """From `first` to `last` by equal factors in equal times; None: it stays. A γ of R1 that fades holds the critic while G is far
    from the style: Huang et al., "The GAN is dead; long live the GAN!", NeurIPS 2024, there along a cosine.
    """
    return first if last is None else first * (last / first) ** t
