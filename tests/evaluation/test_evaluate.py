"""The same generator as run folder, ONNX file and image folder gives the same figures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from distilgan.data.archives import data_sha256, same_set
from distilgan.errors import UserError
from distilgan.evaluation.agreement import picture_agreement
from distilgan.evaluation.evaluate import evaluate
from distilgan.evaluation.profile import profile_target
from distilgan.evaluation.protocol import Protocol, Result, protocol_for, protocol_of, read_result
from distilgan.evaluation.sources import write_pictures
from distilgan.export.onnx import export_onnx
from distilgan.networks.stylegan2 import StyleGAN2, StyleGAN2Config
from distilgan.perception.perceptual import build_perceptual
from distilgan.runs import start_run
from tests.recipes import stylekd_recipe

SAMPLES = 24


@pytest.fixture
def protocol(image_folder: Path) -> Protocol:
    return Protocol(data=str(image_folder), samples=SAMPLES, latency_runs=2)


def test_folder_onnx_and_pictures_alike(teacher_folder: Path, tmp_path: Path, protocol: Protocol) -> None:
    network = StyleGAN2.from_pretrained(teacher_folder)
    export_onnx(network, tmp_path / "onnx")
    write_pictures(str(teacher_folder), tmp_path / "png", SAMPLES, protocol.seed)
    results = [
        evaluate(str(source), protocol, teacher=str(teacher_folder)).metrics
        for source in (teacher_folder, tmp_path / "onnx" / "model.onnx", tmp_path / "png")
    ]
    names = [f"{m}{SAMPLES}_efficientnet" for m in ("fid", "kid", "precision", "recall", "density", "coverage")]
    for name in names:
        for other in results[1:]:  # ONNX differs by float rounding, which may move a pixel by one grey level
            assert other[name] == pytest.approx(results[0][name], rel=2e-3, abs=2e-4), name
    assert results[0]["psnr_teacher"] == 100.0
    assert results[0]["ssim_teacher"] == pytest.approx(1)
    assert results[1]["psnr_teacher"] > 60
    assert (
        results[0][f"fid{SAMPLES}_efficientnet_teacher"] > 1
    )  # two sets of one generator, not the same pictures twice
    assert "psnr_teacher" not in results[2]


def test_costs_and_protocol_are_recorded(teacher_folder: Path, protocol: Protocol) -> None:
    result = evaluate(str(teacher_folder), protocol)
    facts = result.cost["generator"]
    assert facts["parameters"] > facts["parameters_mapping"] > 0
    assert facts["macs"] > 0
    assert facts["latency_ms_p50"] > 0
    stored = json.loads(result.to_json())["protocol"]
    assert stored["samples"] == SAMPLES
    assert stored["reference_images"] == 24
    assert len(stored["extractor_weights_sha256"]) == 64


def test_data_is_measured_at_the_size_of_the_pictures(image_folder: Path, teacher_folder: Path, tmp_path: Path) -> None:
    """Larger data gives the figures of the same data shrunk beforehand; else every small generator would look blurred."""
    large, small = tmp_path / "large", tmp_path / "small"
    large.mkdir(), small.mkdir()
    for i, path in enumerate(sorted(image_folder.iterdir())[:16]):
        picture = Image.open(path).convert("RGB").resize((48, 48), Image.Resampling.BICUBIC)
        picture.save(large / f"{i}.png")
        picture.resize((16, 16), Image.Resampling.LANCZOS).save(small / f"{i}.png")
    found = [evaluate(str(teacher_folder), Protocol(data=str(d), samples=16, latency_runs=1)) for d in (large, small)]
    assert found[0].metrics == pytest.approx(found[1].metrics)
    assert found[0].protocol["reference_resolution"] == 16


def test_agreement_needs_one_size(teacher_folder: Path, tmp_path: Path) -> None:
    StyleGAN2(StyleGAN2Config(32, [4] * 8, z_dim=12, w_dim=16)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="pictures of 32 px"):
        evaluate(str(teacher_folder), Protocol(samples=8, latency_runs=1), teacher=str(tmp_path))


def test_a_small_folder_is_counted(image_folder: Path) -> None:
    result = evaluate(str(image_folder), Protocol(data=str(image_folder), samples=1000))
    assert "fid24_efficientnet" in result.metrics
    assert result.protocol["samples"] == 24


def test_a_run_is_measured_as_its_recipe_says(image_folder: Path, teacher_folder: Path, tmp_path: Path) -> None:
    apart = tmp_path / "apart"
    shutil.copytree(image_folder, apart)
    (apart / "more.png").write_bytes(b"")
    wanted = {"samples": 9, "reference": 10, "truncation": 0.5, "data": str(apart), "latency_runs": 11}
    run = start_run(tmp_path / "run", stylekd_recipe(image_folder, teacher_folder, evaluation=wanted), fresh=False)
    protocol, teacher = protocol_for(str(run.path), samples=None, truncation=1.0)
    assert protocol == Protocol(**(wanted | {"truncation": 1.0, "held_out": True}))  # and the seed is the usual one
    assert teacher == str(teacher_folder)
    protocol, _ = protocol_for(str(run.path), data="other")
    assert (protocol.data, protocol.held_out, protocol.reference) == ("other", None, None)
    assert protocol_for("student", data=None) == (Protocol(), None)
    assert protocol_for(str(run.path), data=str(image_folder))[0].held_out is False


def test_the_training_images_under_another_name_are_not_held_out(
    image_folder: Path, teacher_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "alias").symlink_to(image_folder)
    wanted = {"data": str(tmp_path / "alias")}
    assert protocol_of(stylekd_recipe(image_folder, teacher_folder, evaluation=wanted)).held_out is False


def test_equal_names_and_sizes_do_not_make_one_set(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(tmp_path / name / f"{i}.bmp")
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    a, b, copy = (str(tmp_path / name) for name in ("a", "b", "copy"))
    assert data_sha256(a) == data_sha256(b)
    assert same_set(a, copy)
    assert not same_set(a, b)


def test_without_held_out_images_only_those_trained_on_are_the_reference(
    image_folder: Path, teacher_folder: Path
) -> None:
    def reference(**evaluation: Any) -> int | None:
        return protocol_of(
            stylekd_recipe(image_folder, teacher_folder, data={"limit": 12}, evaluation=evaluation)
        ).reference

    assert reference() == 12
    assert reference(reference=9) == 9
    assert reference(data=str(image_folder)) is None


def test_agreement_by_hand() -> None:
    first = torch.zeros(2, 3, 16, 16)
    second = torch.full((2, 3, 16, 16), 0.2)
    found = picture_agreement([(first, second)], build_perceptual("efficientnet-lite0"))
    assert all(len(values) == 2 for values in found.values())
    assert float(found["psnr"][1]) == pytest.approx(20, abs=1e-4)  # 10 log10(2² / 0.2²)
    # constant pictures: SSIM is its luminance term, (2ab + c) / (a² + b² + c) with a = 0.5, b = 0.6, c = 0.01²
    assert float(found["ssim"][1]) == pytest.approx((0.6 + 1e-4) / (0.25 + 0.36 + 1e-4), rel=1e-4)


@pytest.mark.parametrize(
    ("source", "message"),
    [("nowhere", "no such file or folder"), ("README", "no such file"), ("x.onnx", "not an ONNX file")],
)
def test_unusable_sources(source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.onnx").write_text("not onnx")
    with pytest.raises(UserError, match=message):
        evaluate(source, Protocol(samples=8))


def test_images_need_data(image_folder: Path) -> None:
    with pytest.raises(UserError, match="give --data"):
        evaluate(str(image_folder), Protocol(samples=8))


def test_latents_must_fit(tmp_path: Path, teacher_folder: Path, protocol: Protocol) -> None:
    from tests.conftest import tiny_generator

    tiny_generator(z_dim=5).save_pretrained(tmp_path / "other")
    with pytest.raises(UserError, match="latents differ"):
        evaluate(str(tmp_path / "other"), protocol, teacher=str(teacher_folder))


def test_profile_by_name_and_its_errors() -> None:
    facts = profile_target("stylegan2", ["resolution=32", "channel_base=512", "keep=0.5"], runs=2)
    assert facts["macs"] > 0
    with pytest.raises(UserError, match="unknown key 'resolutoin'; did you mean resolution"):
        profile_target("stylegan2", ["resolutoin=32"])
    with pytest.raises(UserError, match="power of two"):
        profile_target("stylegan2", ["resolution=48"])
    with pytest.raises(UserError, match="did you mean stylegan2"):
        profile_target("stylgan2", [])


def test_results_are_read_back_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    assert read_result(path) is None
    result = Result("here", {"kid": 0.1}, {"kid": 0.2}, {"student": {"macs": 3}}, {"samples": 4})
    path.write_text(result.to_json())
    assert read_result(path) == result
    for damaged in (
        "",
        '{"cut',
        "[]",
        "null",
        '{"source": "x", "protocol": null}',
        '{"source": "x", "metrics": {"kid": "y"}}',
    ):
        path.write_text(damaged)
        assert read_result(path) is None
