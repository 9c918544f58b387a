"""Translators of pictures with a ResNet bottleneck: CUT's and Scenimefy's generator, and what others are built of.

Sources: Johnson et al., "Perceptual Losses for Real-Time Style Transfer", 2016 (the layout); Park et al., "Contrastive Learning
for Unpaired Image-to-Image Translation", ECCV 2020, appendix C (CUT; antialiased as in Zhang 2019). Parameter names are those of
the official code, so its checkpoints load as they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilgan.errors import near_names
from distilgan.networks.statistics import InstanceNorm
from distilgan.networks.translator import Translator

Norm = Literal["instance", "batch"]
_INIT_GAIN = 0.02


class BlurDownsample(nn.Module):
    """Half the size: [1, 2, 1] along both axes after reflecting one pixel, every second pixel kept."""

    filt: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("filt", (torch.outer(taps, taps) / 16).expand(channels, 1, 3, 3).clone())

    def forward(self, x: Tensor) -> Tensor:
        # Slices instead of a strided depthwise convolution, whose gradient takes 20 times as long on CPUs.
        x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        x = x[:, :, :-2:2] + 2 * x[:, :, 1:-1:2] + x[:, :, 2::2]
        return (x[..., :-2:2] + 2 * x[..., 1:-1:2] + x[..., 2::2]) / 16


class BlurUpsample(nn.Module):
    """Twice the size: zero insertion, then [1, 3, 3, 1] along both axes with gain 4, edges repeated: bilinear interpolation."""

    filt: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.register_buffer("filt", (torch.outer(taps, taps) / 16).expand(channels, 1, 4, 4).clone())

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class ResidualBlock(nn.Module):
    """x + f(x), f = reflect, 3x3, norm, activation, reflect, 3x3, norm."""

    def __init__(self, channels: int, function: nn.Sequential | None = None) -> None:
        super().__init__()
        self.conv_block = function or residual_function(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.conv_block(x)
        return y


def residual_function(
    channels: int, *, norm: Norm = "instance", activation: Callable[[], nn.Module] = nn.ReLU, last_norm: bool = True,
    depthwise: bool = False, extra: int = 0,
) -> nn.Sequential:  # fmt: skip
    """The layers of a residual block.

    Args:
        depthwise: 3x3 of each channel, then 1x1, in place of each 3x3. extra: channels that each convolution is given besides.
    """

    def convolution() -> nn.Module:
        if depthwise:
            given = channels + extra
            return nn.Sequential(nn.Conv2d(given, given, 3, groups=given), nn.Conv2d(given, channels, 1))
        return nn.Conv2d(channels + extra, channels, 3)

    layers: list[nn.Module] = [nn.ReflectionPad2d(1), convolution(), normalisation(norm, channels), activation()]
    layers += [nn.ReflectionPad2d(1), convolution()]
    return nn.Sequential(*layers, *([normalisation(norm, channels)] if last_norm else []))


def normalisation(norm: Norm, channels: int) -> nn.Module:
    return InstanceNorm() if norm == "instance" else nn.BatchNorm2d(channels)


@dataclass(frozen=True)
class ResnetConfig:
    """Args:
    channels: widths at full size, at half, ... as far down as the bottleneck. blocks: in the bottleneck.
    antialias: halve by a 3x3 convolution and a blur instead of one of stride 2. antialias_up: double by a blur and a 3x3
        convolution instead of a transposed one.
    resolution: side of the pictures that it learnt from; it takes any size whose sides are multiples of `multiple`.
    """

    channels: list[int]
    blocks: int = 9
    antialias: bool = True
    antialias_up: bool = True
    resolution: int = 256

    def __post_init__(self) -> None:
        if len(self.channels) < 2 or min(self.channels) < 1:
            raise ValueError(f"channels={self.channels}: two widths at least, each at least 1")
        if self.blocks < 1:
            raise ValueError(f"blocks={self.blocks}: at least 1")
        if self.resolution % self.multiple or self.resolution < 4 * self.multiple:
            raise ValueError(
                f"resolution={self.resolution}: must be a multiple of {self.multiple}, at least {4 * self.multiple}"
            )

    @property
    def halvings(self) -> int:
        return len(self.channels) - 1

    @property
    def multiple(self) -> int:
        """What a picture's sides are multiples of."""
        return int(2**self.halvings)


class ResnetTranslator(Translator):
    """Encoder, bottleneck, decoder in one sequence, `model`, whose parts are tapped by name.

    Names of taps: `image` (after the first padding), `down1` ... (the halving convolutions, before their norm), `block1` ...
    (bottleneck blocks).
    """

    config: ResnetConfig
    model: nn.Sequential

    def _build(self, block: Callable[[], nn.Module], norm: Norm = "instance", folded: int = 1, stem: int = 7) -> None:
        """Make `model`. `folded`: pixels of each side that one position of the first and last layer holds."""
        c = self.config
        self.tap_index: dict[str, int] = {"image": int(folded > 1)}
        layers: list[nn.Module] = [nn.PixelUnshuffle(folded)] if folded > 1 else []
        layers += [nn.ReflectionPad2d(stem // 2), nn.Conv2d(3 * folded**2, c.channels[0], stem)]
        layers += [normalisation(norm, c.channels[0]), nn.ReLU()]
        for i, (before, after) in enumerate(itertools.pairwise(c.channels)):
            self.tap_index[f"down{i + 1}"] = len(layers)
            layers += [nn.Conv2d(before, after, 3, 1 if c.antialias else 2, 1), normalisation(norm, after), nn.ReLU()]
            layers += [BlurDownsample(after)] if c.antialias else []
        for i in range(c.blocks):
            self.tap_index[f"block{i + 1}"] = len(layers)
            layers.append(block())
        for before, after in itertools.pairwise(reversed(c.channels)):
            layers += (
                [BlurUpsample(before), nn.Conv2d(before, after, 3, padding=1)]
                if c.antialias_up
                else [nn.ConvTranspose2d(before, after, 3, 2, 1, 1)]
            )
            layers += [normalisation(norm, after), nn.ReLU()]
        layers += [nn.ReflectionPad2d(stem // 2), nn.Conv2d(c.channels[0], 3 * folded**2, stem)]
        layers += [nn.PixelShuffle(folded)] if folded > 1 else []
        self.model = nn.Sequential(*layers, nn.Tanh())
        self.apply(_initialise)

    @property
    def blocks(self) -> list[nn.Module]:
        """Of the bottleneck, in order."""
        return [self.model[self.tap_index[f"block{i + 1}"]] for i in range(self.config.blocks)]

    def with_fixed_steps(self) -> ResnetTranslator:
        """A network that does the same to every picture, whatever the picture: itself, or a twin without adaptive steps."""
        return self

    @property
    def reach(self) -> int:
        """Pixels beyond which nothing of a picture changes an output pixel, when norms have fixed statistics.

        Raises:
            ValueError: of an ODE's adaptive steps.
        """
        total, step = 0, 1
        for layer in self.model:
            if isinstance(layer, nn.PixelUnshuffle):
                total, step = total + layer.downscale_factor - 1, layer.downscale_factor
            elif isinstance(layer, nn.PixelShuffle):
                step //= layer.upscale_factor
                total += layer.upscale_factor - 1
            elif isinstance(layer, BlurUpsample | nn.ConvTranspose2d):
                total += step  # a neighbour at the size before
                step //= 2
            else:
                total += step * self._neighbours(layer)
                step *= 2 if _halves(layer) else 1
        return total

    def _neighbours(self, layer: nn.Module) -> int:
        """How far a layer looks, in positions of its input."""
        if isinstance(layer, BlurDownsample):
            return 1
        return sum(m.kernel_size[0] // 2 for m in layer.modules() if isinstance(m, nn.Conv2d))

    def tap_widths(self, taps: Sequence[str]) -> dict[str, int]:
        """Channels of each tap.

        Raises:
            ValueError: no such tap; the message lists near names.
        """
        self._check(taps)
        c, found = self.config, {}
        for tap in taps:
            layer = self.model[self.tap_index[tap]]
            if tap == "image":
                first = next(m for m in self.model if isinstance(m, nn.Conv2d))
                found[tap] = first.in_channels
            else:
                found[tap] = layer.out_channels if isinstance(layer, nn.Conv2d) else c.channels[-1]
        return found

    def _check(self, taps: Sequence[str]) -> None:
        for tap in taps:
            if tap not in self.tap_index:
                raise ValueError(f"tap {tap!r} is unknown{near_names(tap, self.tap_index)}")

    def sample_inputs(self, n: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        return {"image": torch.rand(n, *self.image_shape, generator=generator) * 2 - 1}

    def forward(self, image: Tensor, taps: Sequence[str] = (), encode_only: bool = False) -> Any:
        """The translated picture [N, 3, H, W] in [-1, 1].

        Args:
            image: [N, 3, H, W] in [-1, 1], sides multiples of `config.multiple`.
            taps: features to give besides: (picture, {tap: [N, C, H', W']}). encode_only: the features alone; stops at the last.

        Raises:
            ValueError: no such tap.
        """
        if not taps:
            translated: Tensor = self.model(image)
            return translated
        self._check(taps)
        wanted = {self.tap_index[tap]: tap for tap in taps}
        found, x = {}, image
        for i, layer in enumerate(self.model):
            x = layer(x)
            if i in wanted:
                found[wanted[i]] = x
            if encode_only and i == max(wanted):
                break
        features = {tap: found[tap] for tap in taps}
        return features if encode_only else (x, features)


def _halves(layer: nn.Module) -> bool:
    return isinstance(layer, BlurDownsample) or (isinstance(layer, nn.Conv2d) and layer.stride[0] == 2)


def _initialise(module: nn.Module) -> None:
    """Xavier with gain 0.02, biases zero, as in the official training."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.xavier_normal_(module.weight, _INIT_GAIN)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class CUTTranslator(ResnetTranslator):
    """The generator of CUT, FastCUT, Scenimefy (and, without antialiasing, CycleGAN)."""

    family = "cut_translator"
    config_class = ResnetConfig

    def __init__(self, config: ResnetConfig) -> None:
        super().__init__()
        self.config = config
        self._build(lambda: ResidualBlock(config.channels[-1]))


def doubling_widths(width: int, halvings: int = 2) -> list[int]:
    """Widths that double with each halving: 64, 128, 256."""
    return [width * 2**i for i in range(halvings + 1)]
