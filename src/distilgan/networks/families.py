"""The families of generators that this package knows."""

from __future__ import annotations

from pathlib import Path

from distilgan.errors import UserError, near_names
from distilgan.networks.biggan import BigGAN, BigGANDeep
from distilgan.networks.distylegan import DiStyleGAN
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.pretrained import read_config
from distilgan.networks.stylegan2 import StyleGAN2
from distilgan.networks.tinygan import TinyGAN

FAMILIES: dict[str, type[ImageGenerator]] = {
    kind.family: kind for kind in (StyleGAN2, BigGAN, BigGANDeep, TinyGAN, DiStyleGAN)
}


def load_generator(folder: str | Path) -> ImageGenerator:
    """The generator in `folder`, whatever its family; float32, in eval mode.

    Raises:
        UserError: not such a folder, damaged, or of an unknown family.
    """
    folder = Path(folder)
    family = str(read_config(folder).get("family"))
    if family not in FAMILIES:
        raise UserError(f"{folder / 'config.json'}: unknown family {family!r}{near_names(family, FAMILIES)}")
    return FAMILIES[family].from_pretrained(folder)
