"""Training a network that tells people apart, whichever way they look: what identity is measured with.

Source: Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018.
"""

from __future__ import annotations

from torch import Tensor

from distilgan.data.face_pairs import FaceBatch, FaceFeed, FacePairs
from distilgan.errors import UserError
from distilgan.losses.frontal import margin_softmax
from distilgan.methods.base import Method, Terms, add_terms
from distilgan.methods.draws import Draws
from distilgan.networks.augment import DRAWS, diffaugment
from distilgan.networks.identity import IdentityConfig, IdentityNetwork
from distilgan.networks.pretrained import Pretrained
from distilgan.recipe import IdentityRecipe


class IdentityTraining(Method[FaceBatch, IdentityNetwork]):
    """One network, one term: every picture must lie nearest to its person."""

    def __init__(self, recipe: IdentityRecipe, pairs: FacePairs) -> None:
        super().__init__(recipe.optimiser, recipe.training)
        self.pairs = pairs
        self.scale, self.margin = recipe.scale, recipe.margin
        n = recipe.network
        people = len(pairs.identities)
        try:
            config = IdentityConfig(recipe.data.resolution, list(n.channels), n.embedding, people)
        except ValueError as error:
            raise UserError(f"network.{error}") from error
        self.generator = IdentityNetwork(config)
        self.weights = {"identity": 1.0}

    def step(self, batches: list[FaceBatch], draws: list[Draws]) -> Terms:
        report: Terms = {}
        for i, (batch, draw) in enumerate(zip(batches, draws, strict=True)):
            with self._sync("generator", last=i == len(batches) - 1):
                faces = diffaugment(batch.profile, ["color", "translation"], draw.uniform(DRAWS))
                with self.engine.autocast():
                    _, cosines = self.played["generator"](faces, full=True)
                loss = margin_softmax(cosines, batch.identity, self.scale, self.margin)
                self.engine.backward(loss / len(batches))
            right = (cosines.argmax(1) == batch.identity).float().mean()
            add_terms(report, {"identity": loss, "accuracy": right}, 1 / len(batches))
        self._update("generator", report)
        self.steps += 1
        return report

    def check_share(self, samples: int) -> None:
        if samples < 2:
            raise UserError(
                "training.batch: a process holds one face at once, which has no batch statistics; enlarge training.batch or "
                "training.micro_batch"
            )

    def lessons(self) -> FaceFeed:
        return FaceFeed(self.pairs)

    def sample_rows(self, average: IdentityNetwork, seed: int) -> list[Tensor]:
        """It makes no pictures."""
        return []

    def finished(self, average: IdentityNetwork) -> tuple[IdentityNetwork, Pretrained | None]:
        """Without the head: a direction is all that others ask for."""
        c = average.config
        network = IdentityNetwork(IdentityConfig(c.resolution, list(c.channels), c.embedding))
        state = {k: v for k, v in average.state_dict().items() if not k.startswith("people.")}
        network.load_state_dict(state)
        return network.eval(), None
