"""Our Inception, LPIPS, FID and KID against digits of torch-fidelity 0.4.0 and lpips 0.1.4.

The references were given weights by the formula of `filled.py` (LPIPS with its own linear heads) and the same pictures.
Tolerances are relative 2e-4 for networks (float32, other order of sums, a resize in front) and 1e-6 for the distances.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from distilgan.errors import UserError
from distilgan.evaluation.fidelity import frechet_distance, kernel_distance
from distilgan.perception.features import build_extractor
from distilgan.perception.inception import FIDInception
from distilgan.perception.lpips import LPIPS, heads_path, load_lpips
from tests.parity.filled import fill_convolutional, latents, pictures

DIGITS = json.loads((Path(__file__).parent / "perception_reference.json").read_text())


def test_inception_with_its_resize(tmp_path: Path) -> None:
    path = tmp_path / "inception.pth"
    torch.save({**fill_convolutional(FIDInception().state_dict()), "fc.weight": torch.zeros(1)}, path)
    features = build_extractor(f"inception:{path}")(pictures(3, 64))
    assert features.shape == (3, 2048)
    expected = torch.tensor(DIGITS["inception"])
    torch.testing.assert_close(features[:, ::127].flatten(), expected, rtol=2e-4, atol=2e-4)


def vgg_file(path: Path) -> Path:
    """A weight file in torchvision's layout: convolutions at the indices of its `features`, and a classifier."""
    network = LPIPS()
    layers = [m for block in network.blocks for m in block.modules() if isinstance(m, nn.Conv2d)]
    filled = fill_convolutional(
        {f"{i}.{k}": v for i, layer in enumerate(layers) for k, v in layer.state_dict().items()}
    )
    indices = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    state = {f"features.{n}.{k}": filled[f"{i}.{k}"] for i, n in enumerate(indices) for k in ("weight", "bias")}
    torch.save({**state, "classifier.0.weight": torch.zeros(1)}, path)
    return path


def test_lpips(tmp_path: Path) -> None:
    distance = load_lpips(vgg_file(tmp_path / "vgg.pth"))
    x = pictures(3, 64).float() / 127.5 - 1
    found = torch.cat([distance(x, x.flip(0)), distance(x, x.flip(-1))])
    torch.testing.assert_close(found, torch.tensor(DIGITS["lpips"]), rtol=2e-4, atol=1e-5)
    assert float(distance(x, x).abs().max()) == 0
    assert heads_path().is_file()


def test_distances() -> None:
    x, y = latents(40, 16), latents(60, 16)[20:] * 1.3 + 0.4
    assert frechet_distance(x, y) == pytest.approx(DIGITS["fid"], rel=1e-6)
    assert kernel_distance(x, y) == pytest.approx(DIGITS["kid"], rel=1e-6)


@pytest.mark.parametrize("content", [None, b"junk", "unfit"])
def test_unfit_weight_files_get_one_line(tmp_path: Path, content: object) -> None:
    path = tmp_path / "w.pth"
    if content == "unfit":
        torch.save({"a": torch.zeros(1)}, path)
    elif content:
        path.write_bytes(b"junk")
    for call in (lambda: build_extractor(f"inception:{path}"), lambda: load_lpips(path)):
        with pytest.raises(UserError, match=r"w\.pth: (no such file|not )") as caught:
            call()
        assert "\n" not in str(caught.value)
