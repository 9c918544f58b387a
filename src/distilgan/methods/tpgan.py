"""TP-GAN: training the generator that turns faces to the front, as a teacher is trained.

For a turned face x with frontal partner y, G(x) = (ŷ, ŷ_2, ŷ_4) at full, half and quarter size, ŷ_k of each local pathway k and
the bottleneck's guess p of the person, the generator minimises

    L = L_pixel + L_half + L_quarter + L_local + λ_sym L_symmetry + λ_adv L_gan + λ_ip L_identity + λ_tv L_variation + α L_CE,
    L_pixel = E |ŷ - y| and so at the smaller sizes,   L_local = mean_k E |ŷ_k - y_k|, y_k cropped around y's landmarks,
    L_symmetry = E |ŷ - mirror(ŷ)|, the three sizes with the weights of their pixel terms,
    L_identity = 1 - E cos(f(ŷ), f(y)), f a fixed identity network,
    L_variation = total variation of ŷ,   L_CE = cross-entropy of p,

each term with its weight in the recipe and each a mean over batch, channels and pixels. The critic sees y as real, ŷ as fake.

Source: Huang et al., "Beyond Face Rotation: Global and Local Perception GAN for Photorealistic and Identity Preserving Frontal
View Synthesis", ICCV 2017, section 3.2.
"""

from __future__ import annotations

import torch.nn.functional as F

from distilgan.data.face_pairs import FacePairs
from distilgan.errors import UserError
from distilgan.losses.frontal import absolute, asymmetry, patches, total_variation
from distilgan.methods.base import Terms
from distilgan.methods.draws import Draws
from distilgan.methods.frontal import FrontalMethod, View, patches_of, sizes_of
from distilgan.networks.tpgan import TPGAN, tpgan_config
from distilgan.perception.identity import IdentityFeatures
from distilgan.recipe import TPGANRecipe


class TPGANTraining(FrontalMethod):
    """All of the paper's terms."""

    def __init__(self, recipe: TPGANRecipe, pairs: FacePairs, identity_network: IdentityFeatures | None = None) -> None:
        n, losses = recipe.network, recipe.losses
        people = len(pairs.identities) if losses.cross_entropy else 0
        size = recipe.data.resolution
        try:
            config = tpgan_config(
                size, n.width, n.local_width, fused=n.fused, code=n.code, z_dim=n.z_dim, identities=people
            )
        except ValueError as error:
            raise UserError(f"data.{error}") from error
        super().__init__(
            pairs, recipe.adversary, recipe.optimiser, recipe.training, TPGAN(config), n.critic_width, identity_network
        )
        self.weights = {name: weight for name, weight in losses.model_dump().items() if weight}

    def terms(self, view: View, draws: Draws) -> Terms:
        weights, out, batch = self.weights, view.out, view.batch
        made = {"pixel": out.image, "half": out.half, "quarter": out.quarter}
        wanted = dict(zip(made, sizes_of(batch.frontal), strict=True))
        terms = {name: absolute(made[name], wanted[name]) for name in made if name in weights}
        if "local" in weights:
            terms["local"] = patches(out.patches, patches_of(batch.frontal, batch.frontal_landmarks))
        if "symmetry" in weights:
            sizes = [weights.get(name, 0.0) * asymmetry(image) for name, image in made.items()]
            terms["symmetry"] = sizes[0] + sizes[1] + sizes[2]
        if "identity" in weights:
            terms["identity"] = self.identity_term(out.image, batch.frontal)
        if "variation" in weights:
            terms["variation"] = total_variation(out.image)
        if out.identity is not None and "cross_entropy" in weights:
            terms["cross_entropy"] = F.cross_entropy(out.identity.float(), batch.identity)
        return terms
