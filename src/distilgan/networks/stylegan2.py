"""The StyleGAN2 generator in plain PyTorch, with an explicit channel count for every layer.

Source: Karras et al. 2020 ("skip" generator, weight demodulation). Parameter and buffer names are the official ones, so
an official state dict loads unchanged; a pruned network is an ordinary network with another channel list.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, overload

import torch
from torch import Tensor, nn

from distilgan.networks.generator import ImageGenerator, class_weights
from distilgan.networks.latents import LatentSpec
from distilgan.networks.layers import GAIN, Linear, Modulation, activate_, clip, modulated_conv2d
from distilgan.networks.resample import fir_kernel, upsample2

Noise = Literal["const", "random", "none"] | Sequence[Tensor]


def channel_list(resolution: int, base: int = 32768, maximum: int = 512) -> list[int]:
    """The official widths: min(base / r, maximum) at resolution r, for the constant and every 3x3 convolution in order."""
    widths = [min(base // 4, maximum)] * 2
    for log in range(3, int(math.log2(resolution)) + 1):
        widths += [min(base // 2**log, maximum)] * 2
    return widths


@dataclass(frozen=True)
class StyleGAN2Config:
    """Everything that fixes the architecture.

    Args:
        resolution: a power of two, at least 8.
        channels: output channels of: the 4x4 constant, b4.conv1, b8.conv0, b8.conv1, ..., top conv0, top conv1.
        z_dim, w_dim: latent sizes. mapping_layers: depth of the mapping network.
        label_dim: length of the class vector; 0 is unconditional.
        conv_clamp: activations are clipped to ± this (part of the weights' contract); None does not clip.
    """

    resolution: int
    channels: list[int] = field(default_factory=list)
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    label_dim: int = 0
    conv_clamp: float | None = 256.0

    def __post_init__(self) -> None:
        if self.resolution < 8 or self.resolution & (self.resolution - 1):
            raise ValueError(f"resolution={self.resolution}: must be a power of two, at least 8")
        if not self.channels:
            object.__setattr__(self, "channels", channel_list(self.resolution))
        if len(self.channels) != self.num_ws:
            raise ValueError(
                f"channels has {len(self.channels)} entries; resolution {self.resolution} needs {self.num_ws}"
            )
        if min(self.channels) < 1:
            raise ValueError(f"channels={self.channels}: every entry must be at least 1")
        for name in ("z_dim", "w_dim", "mapping_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least 1")

    @property
    def num_ws(self) -> int:
        """Number of style inputs: one for each convolution and one for the last ToRGB."""
        return 2 * int(math.log2(self.resolution)) - 2

    @property
    def resolutions(self) -> list[int]:
        return [2**i for i in range(2, int(math.log2(self.resolution)) + 1)]


class MappingNetwork(nn.Module):
    """z (and a class vector) to w: normalise, then fully connected layers with a learning-rate multiplier of 0.01."""

    w_avg: Tensor

    def __init__(self, z_dim: int, w_dim: int, layers: int, label_dim: int = 0, track_average: bool = True) -> None:
        super().__init__()
        self.z_dim, self.label_dim, self.num_layers = z_dim, label_dim, layers
        if label_dim:
            self.embed = Linear(label_dim, w_dim)
        features = [z_dim + (w_dim if label_dim else 0)] + [w_dim] * layers
        for i in range(layers):
            self.add_module(f"fc{i}", Linear(features[i], features[i + 1], activate=True, lr=0.01))
        if track_average:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor | None, label: Tensor | None = None) -> Tensor:
        """[N, z_dim], [N, label_dim] -> [N, w_dim]."""
        inputs = []
        if z is not None and self.z_dim:
            inputs.append(_normalise(z.float()))
        if self.label_dim:
            inputs.append(_normalise(self.embed(class_weights(label, self.label_dim))))
        x = torch.cat(inputs, dim=1) if len(inputs) > 1 else inputs[0]
        for i in range(self.num_layers):
            x = self.get_submodule(f"fc{i}")(x)
        return x


def _normalise(x: Tensor) -> Tensor:
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU."""

    noise_const: Tensor
    resample_filter: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, w_dim: int, resolution: int, up: bool, clamp: float | None
    ) -> None:
        super().__init__()
        self.affine = Linear(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.register_buffer("resample_filter", fir_kernel())
        self.up, self.clamp, self.resolution = up, clamp, resolution

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None, form: Modulation = "activations") -> Tensor:
        """[N, I, h, w], [N, w_dim] -> [N, O, H, W]; `noise` broadcasts to [N, 1, H, W].

        The activation's gain √2 is folded into demodulation, noise and bias (the leaky ReLU is positively homogeneous).
        """
        y = modulated_conv2d(
            x, self.weight, self.affine(w), up=self.up, kernel=self.resample_filter, form=form, gain=GAIN,
            shift=self.bias * GAIN,
        )  # fmt: skip
        if noise is not None:
            y.add_((noise * (self.noise_strength * GAIN)).to(y.dtype))
        return activate_(y, self.clamp)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to three channels, not demodulated."""

    def __init__(self, in_channels: int, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.affine = Linear(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(3, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.scale, self.clamp = 1 / math.sqrt(in_channels), clamp

    def forward(self, x: Tensor, w: Tensor, form: Modulation = "activations") -> Tensor:
        styles = self.affine(w) * self.scale
        y = modulated_conv2d(x, self.weight, styles, demodulate=False, form=form)
        y = y.float() + self.bias[None, :, None, None]
        return clip(y, self.clamp)


class SynthesisBlock(nn.Module):
    """One resolution: two convolutions (one at 4x4) and the picture so far."""

    resample_filter: Tensor

    def __init__(
        self, in_channels: int, middle: int, out_channels: int, w_dim: int, resolution: int, clamp: float | None
    ) -> None:
        super().__init__()
        self.register_buffer("resample_filter", fir_kernel())
        if resolution == 4:
            self.const = nn.Parameter(torch.randn(middle, 4, 4))
        else:
            self.conv0 = SynthesisLayer(in_channels, middle, w_dim, resolution, up=True, clamp=clamp)
        self.conv1 = SynthesisLayer(middle, out_channels, w_dim, resolution, up=False, clamp=clamp)
        self.torgb = ToRGB(out_channels, w_dim, clamp)


class GeneratorOutput(NamedTuple):
    """What `StyleGAN2.forward(..., full=True)` gives."""

    image: Tensor  # [N, 3, R, R]
    w: Tensor  # [N, num_ws, w_dim], after mixing, truncation and offset
    features: dict[str, Tensor]  # tap name -> [N, C, r, r]


class SynthesisNetwork(nn.Module):
    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.resolutions = config.resolutions
        previous = 0
        for i, resolution in enumerate(self.resolutions):
            middle, out = config.channels[2 * i : 2 * i + 2]
            self.add_module(
                f"b{resolution}", SynthesisBlock(previous, middle, out, config.w_dim, resolution, config.conv_clamp)
            )
            previous = out

    def block(self, resolution: int) -> SynthesisBlock:
        block = self.get_submodule(f"b{resolution}")
        assert isinstance(block, SynthesisBlock)
        return block

    def layers(self) -> list[tuple[str, SynthesisLayer]]:
        """The 3x3 convolutions in order, with their names (`b4.conv1`, `b8.conv0`, ...)."""
        return [(name, module) for name, module in self.named_modules() if isinstance(module, SynthesisLayer)]

    def forward(
        self, w: Tensor, noise: Noise, form: Modulation, taps: Sequence[str] = ()
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """[N, num_ws, w_dim] -> picture [N, 3, R, R] and the tapped features."""
        features: dict[str, Tensor] = {}
        given = None if isinstance(noise, str) else iter(noise)

        def run(name: str, layer: SynthesisLayer, x: Tensor, style: Tensor) -> Tensor:
            n, r = x.shape[0], layer.resolution
            fields: Tensor | None = None
            if given is not None:
                fields = next(given)
            elif noise == "const":
                fields = layer.noise_const
            elif noise == "random":
                fields = torch.randn(n, 1, r, r, device=x.device)
            y: Tensor = layer(x, style, fields, form)
            if name in taps:
                features[name] = y
            return y

        ws = w.unbind(dim=1)
        first = self.block(4)
        x: Tensor = first.const[None].expand(w.shape[0], -1, -1, -1)
        x = run("synthesis.b4.conv1", first.conv1, x, ws[0])
        image: Tensor = first.torgb(x, ws[1], form)
        index = 1
        for resolution in self.resolutions[1:]:
            block = self.block(resolution)
            name = f"synthesis.b{resolution}"
            x = run(f"{name}.conv0", block.conv0, x, ws[index])
            x = run(f"{name}.conv1", block.conv1, x, ws[index + 1])
            image = upsample2(image) + block.torgb(x, ws[index + 2], form)
            index += 2
        return image, features


class StyleGAN2(ImageGenerator):
    """z -> picture. Everything that training, evaluation and export need goes through `forward`."""

    family = "stylegan2"
    config_class = StyleGAN2Config
    config: StyleGAN2Config

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config = config
        self.mapping = MappingNetwork(config.z_dim, config.w_dim, config.mapping_layers, config.label_dim)
        self.synthesis = SynthesisNetwork(config)
        self.modulation: Modulation = "activations"

    @property
    def tap_names(self) -> list[str]:
        """Names that `taps` accepts: the outputs of the 3x3 convolutions, after their activation."""
        return [f"synthesis.{name}" for name, _ in self.synthesis.layers()]

    @property
    def latent(self) -> LatentSpec:
        return LatentSpec([self.config.z_dim])

    @property
    def num_classes(self) -> int:
        return self.config.label_dim

    def sample_noise(self, n: int, generator: torch.Generator | None = None) -> list[Tensor]:
        """One noise field a convolution, [n, 1, r, r]; independent of the channel counts, so networks can share it."""
        return [
            torch.randn(n, 1, layer.resolution, layer.resolution, generator=generator)
            for _, layer in self.synthesis.layers()
        ]

    @overload
    def forward(
        self, z: Tensor, label: Tensor | None = None, *, truncation: float = 1.0, truncation_cutoff: int | None = None,
        mixing: tuple[Tensor, int] | None = None, offset: Tensor | None = None, noise: Noise = "const",
        taps: Sequence[str] = (), full: Literal[False] = False,
    ) -> Tensor: ...  # fmt: skip
    @overload
    def forward(
        self, z: Tensor, label: Tensor | None = None, *, truncation: float = 1.0, truncation_cutoff: int | None = None,
        mixing: tuple[Tensor, int] | None = None, offset: Tensor | None = None, noise: Noise = "const",
        taps: Sequence[str] = (), full: Literal[True],
    ) -> GeneratorOutput: ...  # fmt: skip
    def forward(
        self, z: Tensor, label: Tensor | None = None, *, truncation: float = 1.0, truncation_cutoff: int | None = None,
        mixing: tuple[Tensor, int] | None = None, offset: Tensor | None = None, noise: Noise = "const",
        taps: Sequence[str] = (), full: bool = False,
    ) -> Tensor | GeneratorOutput:  # fmt: skip
        """Pictures [N, 3, R, R], nominally in [-1, 1], from z [N, z_dim].

        Args:
            label: of a class-conditional network: class numbers [N], or weights [N, label_dim].
            truncation: ψ; w is drawn to its average by w_avg + ψ (w - w_avg) in the first `truncation_cutoff` styles (all).
            mixing: (second z [N, z_dim], k): styles from number k on come from the second z.
            offset: [N, w_dim] or [N, num_ws, w_dim], added to w after truncation.
            noise: `const` (the stored fields), `random` (from torch's global generator), `none`, or one field a convolution.
            taps: layers whose outputs to return, by name; see `tap_names`. Needs `full`.
            full: return a `GeneratorOutput` instead of the picture.

        Raises:
            ValueError: an unknown tap.
        """
        if taps:
            check_taps(taps, self.tap_names)
        w = self.mapping(z, label)[:, None].expand(-1, self.config.num_ws, -1)
        if mixing is not None:
            second, crossover = mixing
            other = self.mapping(second, label)[:, None].expand_as(w)
            w = torch.cat([w[:, :crossover], other[:, crossover:]], dim=1)
        if truncation != 1.0:
            cutoff = self.config.num_ws if truncation_cutoff is None else truncation_cutoff
            drawn = self.mapping.w_avg + truncation * (w[:, :cutoff] - self.mapping.w_avg)
            w = torch.cat([drawn, w[:, cutoff:]], dim=1)
        if offset is not None:
            w = w + (offset[:, None] if offset.dim() == 2 else offset)
        image, features = self.synthesis(w, noise, self.modulation, taps)
        return GeneratorOutput(image, w, features) if full else image


def check_taps(taps: Sequence[str], known: Sequence[str]) -> None:
    """Raise ValueError naming the near names when a tap does not exist."""
    for tap in taps:
        if tap not in known:
            import difflib

            near = difflib.get_close_matches(tap, known, n=3, cutoff=0.3)
            raise ValueError(f"no layer {tap!r} to tap; near names: {', '.join(near or known)}")
