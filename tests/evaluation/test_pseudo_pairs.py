"""Pseudo-pairs: made once, judged as often as anybody likes, with any teacher."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from distilgan.data.pair_filter import Limits
from distilgan.data.translation_pairs import TranslationPairs
from distilgan.errors import UserError
from distilgan.evaluation.translation.translators import OnnxTranslator, TorchTranslator, open_translator
from distilgan.export.graph import to_graph
from distilgan.perception.segmentation import Segmenter
from distilgan.pipeline.pseudo_pairs import Made, make_pairs
from tests.conftest import Command, tiny_cut

WIDE = Limits(luminance=200, colour=300)


@pytest.fixture(scope="module")
def teacher() -> TorchTranslator:
    return TorchTranslator(tiny_cut(), "tiny")


def made(teacher: Any, photos: Path, out: Path, limits: Limits = WIDE, **options: Any) -> Made:
    return make_pairs(teacher, photos, out, size=16, limits=limits, **options)


def manifest(out: Path) -> dict[str, dict[str, str]]:
    return {row["name"]: row for row in csv.DictReader((out / "manifest.csv").read_text().splitlines())}


def seen(path: Path) -> Tensor:
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def halves(pixels: Tensor) -> Tensor:
    """Scores of bright and dark, a segmenter that needs no weights."""
    grey = pixels.float().mean(0) / 255
    return torch.stack([grey, 1 - grey])


def test_pairs_are_photos_and_what_the_teacher_makes_of_them(
    teacher: TorchTranslator, photo_folder: Path, tmp_path: Path
) -> None:
    (photo_folder / "broken.jpg").write_bytes(b"no picture")
    (photo_folder / "deep").mkdir()
    Image.new("RGB", (70, 40), "teal").save(photo_folder / "deep" / "wide.JPG")
    done = made(teacher, photo_folder, tmp_path / "out")
    assert (done.kept, done.left_out) == (13, 0)
    assert done.unusable == {"broken.jpg": "not a usable image (not an image, whatever its name says)"}
    assert set(manifest(tmp_path / "out")) == {*(f"{i:02d}" for i in range(12)), "deep/wide"}
    photo = seen(tmp_path / "out" / "photo" / "deep" / "wide.png")
    assert photo.shape == (3, 16, 28)  # the shorter side is reduced to 16
    assert torch.equal(seen(tmp_path / "out" / "style" / "deep" / "wide.png"), teacher.picture(photo))
    assert seen(tmp_path / "out" / "style" / "03.png").shape == (3, 19, 16)
    assert len(TranslationPairs(tmp_path / "out", 16)) == 13
    assert Image.open(tmp_path / "out" / "borderline.png").size == (8 * 130 - 2, 4 * 130 - 2)
    assert json.loads((tmp_path / "out" / "pairs.json").read_text())["teacher_sha256"] == teacher.sha256


def test_a_stopped_call_is_gone_on_with(
    teacher: TorchTranslator, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(teacher, photo_folder, tmp_path / "whole", segment=halves, segmenter="halves")
    asked: list[int] = []

    def stop(n: int) -> None:
        if len(asked) == 5:
            raise KeyboardInterrupt

    def counted(pixels: Tensor) -> Tensor:
        asked.append(1)
        return TorchTranslator.picture(teacher, pixels)

    monkeypatch.setattr(teacher, "picture", counted)
    options: dict[str, Any] = {"segment": halves, "segmenter": "halves"}
    with pytest.raises(KeyboardInterrupt):
        made(teacher, photo_folder, tmp_path / "out", progress=stop, **options)
    (tmp_path / "out" / "style" / "02.png").unlink()
    lines = (tmp_path / "out" / "manifest.csv").read_text().splitlines()
    assert len(lines) == 6
    (tmp_path / "out" / "manifest.csv").write_text("\n".join([lines[0], lines[1].replace(",", ",x", 1), *lines[2:]]))
    asked.clear()
    asked.extend([0] * 9)
    made(teacher, photo_folder, tmp_path / "out", **options)
    assert len(asked) - 9 == 12 - 3  # neither the lost one nor the damaged line's are known
    files = [p.relative_to(tmp_path / "whole") for p in (tmp_path / "whole").rglob("*") if p.is_file()]
    assert all((tmp_path / "out" / f).read_bytes() == (tmp_path / "whole" / f).read_bytes() for f in files)


def test_other_limits_only_judge_anew(
    teacher: TorchTranslator, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, options = tmp_path / "out", {"segment": halves, "segmenter": "halves"}
    made(teacher, photo_folder, out, Limits(200, 300, agreement=0), **options)
    before = manifest(out)

    def never(pixels: Tensor) -> Tensor:
        raise AssertionError

    monkeypatch.setattr(teacher, "picture", never)
    for limits in (Limits(1, 300), Limits(200, 1), Limits(200, 300, share=0.5), Limits(200, 300, "scenimefy")):
        done = made(teacher, photo_folder, out, limits, segment=never, segmenter="halves")
        after = manifest(out)
        assert done.kept == sum(row["kept"] == "yes" for row in after.values())
        assert done.kept + done.left_out == 12
        assert all((row["kept"] == "yes") == (row["why_not"] == "") for row in after.values())
        for name, row in before.items():
            assert {k: v for k, v in row.items() if k not in ("kept", "why_not")}.items() <= after[name].items()
    agreements = sorted((float(row["agreement"]) for row in before.values()), reverse=True)
    made(teacher, photo_folder, out, Limits(200, 300, share=0.5), segment=never, segmenter="halves")
    kept = [float(row["agreement"]) for row in manifest(out).values() if row["kept"] == "yes"]
    assert sorted(kept, reverse=True) == agreements[: len(kept)]
    assert len(kept) == 6
    assert TranslationPairs(out, 16).names == [name for name, row in manifest(out).items() if row["kept"] == "yes"]


def test_what_was_made_otherwise_or_by_others_is_left_alone(
    teacher: TorchTranslator, photo_folder: Path, style_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    made(teacher, photo_folder, out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    other = TorchTranslator(tiny_cut(seed=9), "other")
    for make, message in (
        (lambda: made(other, photo_folder, out), r"made with other teacher \(tiny\)"),
        (lambda: made(teacher, style_folder, out), "made with other photos"),
        (lambda: make_pairs(teacher, photo_folder, out, size=20, limits=WIDE), r"made with other size \(16\)"),
        (lambda: made(teacher, photo_folder, out, segment=halves, segmenter="halves"), "made with other segmenter"),
        (lambda: made(teacher, photo_folder, photo_folder / "out"), "name a folder outside it"),
        (lambda: made(teacher, photo_folder, style_folder), "holds something else"),
        (lambda: made(teacher, photo_folder, style_folder / "00.png"), "is a file; name a folder"),
        (lambda: made(teacher, tmp_path / "nowhere", tmp_path / "new"), "no such file or folder"),
    ):
        with pytest.raises(UserError, match=message):
            make()
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    for damaged in ("", "7", "{"):
        (out / "pairs.json").write_text(damaged)
        with pytest.raises(UserError, match=r"pairs\.json: damaged"):
            made(teacher, photo_folder, out)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"text: not one of its images can be used \(the first: a\.png: not a usable"):
        made(teacher, tmp_path / "text", tmp_path / "new")


class Halved(nn.Module):
    """A teacher that gives another size."""

    def forward(self, image: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(image, 2)


def test_an_official_checkpoint_is_a_teacher(teacher: TorchTranslator, photo_folder: Path, tmp_path: Path) -> None:
    made(teacher, photo_folder, tmp_path / "ours")
    torch.save({f"module.{k}": v for k, v in teacher.network.state_dict().items()}, tmp_path / "latest_net_G.pth")
    made(open_translator(str(tmp_path / "latest_net_G.pth")), photo_folder, tmp_path / "theirs")
    for path in (tmp_path / "ours" / "style").iterdir():
        assert (tmp_path / "theirs" / "style" / path.name).read_bytes() == path.read_bytes()


def test_a_teacher_of_another_size_is_refused(photo_folder: Path, tmp_path: Path) -> None:
    sides = {2: 4 * torch.export.Dim("rows", min=4), 3: 4 * torch.export.Dim("columns", min=4)}
    path = tmp_path / "half.onnx"
    path.write_bytes(
        to_graph(Halved(), {"image": torch.zeros(2, 3, 16, 24)}, "out", {"image": sides}).SerializeToString()
    )
    with pytest.raises(UserError, match=r"half\.onnx: gives \[1, 3, 10, 8\] for \[1, 3, 20, 16\]; a translator keeps"):
        made(OnnxTranslator(path, "half"), photo_folder, tmp_path / "out")


def test_the_command(run: Command, photo_folder: Path, cut_teacher: Path, tmp_path: Path) -> None:
    (photo_folder / "broken.jpg").write_bytes(b"no picture")
    out, wide = tmp_path / "out", ("--luminance", 200, "--colour", 300)
    command = ("data", "pseudo-pairs", "--teacher", cut_teacher, photo_folder, out, "--size", 16)
    status, shown, error = run(*command, *wide)
    assert (status, shown) == (0, f"{out}: 12 pairs kept, 0 left out; look at {out / 'borderline.png'}\n")
    assert "broken.jpg: left out: not a usable image" in error
    assert "0 pairs kept, 12 left out" in run(*command, "--luminance", 1, "--colour", 1)[1]
    for options, message in (
        (("--rule", "best"), "--rule best: must be agreement or scenimefy"),
        (("--rule", "scenimefy"), "--rule and --share: need --segmenter"),
        (("--share", 0.5), "--rule and --share: need --segmenter"),
        (("--size", 8), "greater than or equal to 16"),
        (("--device", "tpu"), "--device tpu: must be cpu or cuda"),
    ):
        status, _, error = run(*command, *options)
        assert status == 2
        assert message in error.splitlines()[-1]
        assert len(error.splitlines()) == 1


def test_a_segmenter_of_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transformers = pytest.importorskip("transformers")
    small = {"depths": [1] * 4, "hidden_sizes": [8] * 4, "num_attention_heads": [1] * 4, "decoder_hidden_size": 8}
    torch.manual_seed(0)
    model = transformers.SegformerForSemanticSegmentation(transformers.SegformerConfig(num_labels=7, **small)).eval()
    model.save_pretrained(tmp_path / "model")
    transformers.SegformerImageProcessor(do_resize=False).save_pretrained(tmp_path / "model")
    pixels = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    found = Segmenter(tmp_path / "model")(pixels)
    assert found.shape == (7, 64, 96)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    given = (pixels / 255 - mean[:, None, None]) / deviation[:, None, None]
    with torch.no_grad():
        logits = model(pixel_values=given[None]).logits
    torch.testing.assert_close(
        found[:, ::63, ::95], logits[0, :, :: logits.shape[2] - 1, :: logits.shape[3] - 1], atol=1e-4, rtol=0
    )
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"model_type": "bert"}')
    for folder, message in (("other", "no semantic segmenter of transformers"), ("nowhere", "not a model folder")):
        with pytest.raises(UserError, match=message):
            Segmenter(tmp_path / folder)


def test_a_segmenter_with_masks(tmp_path: Path) -> None:
    """Scores are Σ_q p(class) p(mask): at most 1 for each query, between 0 and their number."""
    transformers = pytest.importorskip("transformers")
    swin = transformers.SwinConfig(
        image_size=64, embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=4,
        out_features=[f"stage{i}" for i in range(1, 5)],
    )  # fmt: skip
    config = transformers.Mask2FormerConfig(
        backbone_config=swin, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=16, encoder_layers=1,
        decoder_layers=2, num_attention_heads=2, dim_feedforward=16, num_queries=5, num_labels=6,
    )  # fmt: skip
    transformers.Mask2FormerForUniversalSegmentation(config).save_pretrained(tmp_path / "model")
    transformers.Mask2FormerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(tmp_path / "model")
    found = Segmenter(tmp_path / "model")(torch.randint(0, 256, (3, 50, 70), dtype=torch.uint8))
    assert found.shape == (6, 50, 70)
    assert float(found.min()) > 0
    assert float(found.sum(0).max()) < 5


def test_without_transformers_the_cure_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match="pip install transformers"):
        Segmenter(tmp_path)
