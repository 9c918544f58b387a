"""The families of networks that this package knows."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from distilgan.errors import UserError, near_names
from distilgan.networks.biggan import BigGAN, BigGANDeep
from distilgan.networks.distylegan import DiStyleGAN
from distilgan.networks.identity import IdentityNetwork
from distilgan.networks.ode_translator import ODETranslator
from distilgan.networks.pretrained import Pretrained, read_config
from distilgan.networks.resnet_translator import CUTTranslator
from distilgan.networks.stylegan2 import StyleGAN2
from distilgan.networks.tinygan import TinyGAN
from distilgan.networks.tpgan import TPGAN

FAMILIES: dict[str, type[Pretrained]] = {
    kind.family: kind
    for kind in (
        StyleGAN2, BigGAN, BigGANDeep, TinyGAN, DiStyleGAN, TPGAN, IdentityNetwork, CUTTranslator, ODETranslator,
    )
}  # fmt: skip
N = TypeVar("N", bound=Pretrained)


def load_network(folder: str | Path, kind: type[N]) -> N:
    """The network in `folder`, of any family that is a `kind`; float32, in eval mode.

    Raises:
        UserError: not such a folder, damaged, of an unknown family or of one that is something else.
    """
    folder = Path(folder)
    family = str(read_config(folder).get("family"))
    if family not in FAMILIES:
        raise UserError(f"{folder / 'config.json'}: unknown family {family!r}{near_names(family, FAMILIES)}")
    if not issubclass(FAMILIES[family], kind):
        raise UserError(f"{folder}: is {FAMILIES[family].what}, not {kind.what}")
    return FAMILIES[family].from_pretrained(folder)  # type: ignore[return-value]
