"""Figures of translators against numbers made by hand, and the command that prints them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from distilgan.data.crops import CropSet
from distilgan.errors import UserError
from distilgan.evaluation.cost import Costed, costs
from distilgan.evaluation.translation import measure as measuring
from distilgan.evaluation.translation.measure import (
    TranslationProtocol,
    TranslationResult,
    evaluate_translation,
    read_translation_result,
)
from distilgan.evaluation.translation.named import MEANS, check_size, evaluate_named, translates
from distilgan.evaluation.translation.report import meaning, write_test_pictures
from distilgan.evaluation.translation.solvers import OWN, SOLVERS_TRIED, solver_sensitivity
from distilgan.evaluation.translation.translators import TorchTranslator
from distilgan.networks.ode_translator import ODEConfig, ODETranslator
from distilgan.networks.resnet_translator import CUTTranslator, ResnetConfig
from distilgan.perception.features import Extractor, resize_antialiased
from distilgan.pipeline import translate as translating
from tests.conftest import Command, lively, tiny_cut, tiny_generator, write_pictures


class Means(nn.Module):
    """Mean colours: a set's features are known by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


@pytest.fixture
def means(monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = Extractor("means", Means(), 16, resize_antialiased, "antialiased", "0" * 64)
    monkeypatch.setattr(measuring, "build_extractor", lambda *_: extractor)


def protocol(data: Path, style: Path | None = None, **changes: object) -> TranslationProtocol:
    return TranslationProtocol(
        data=str(data), style=str(style) if style else None, resolution=16, crops=4, latency_runs=1, **changes
    )  # type: ignore[arg-type]


def darker(images: Tensor) -> Tensor:
    return images - 0.2


def flat_photos(folder: Path) -> Path:
    folder.mkdir()
    for i in range(4):
        Image.new("RGB", (20, 24), (100 + 10 * i, 120, 140 - 10 * i)).save(folder / f"{i}.png")
    return folder


def test_mse_and_psnr_have_the_peak_of_two(means: None, tmp_path: Path) -> None:
    photos = flat_photos(tmp_path / "photos")
    result = evaluate_translation("s", darker, protocol(photos), lambda x: x)
    step = 25 / 127.5  # 0.2 are 25.5 levels of 8 bits, rounded up
    assert result.metrics["mse_teacher"] == pytest.approx(step**2, rel=1e-4)
    assert result.metrics["psnr_teacher"] == pytest.approx(10 * math.log10(4 / step**2), abs=0.01)
    assert result.metrics["psnr_photo"] == pytest.approx(result.metrics["psnr_teacher"])
    assert result.teacher["psnr_photo"] == 100
    assert result.teacher["mse_photo"] == 0
    assert (result.photos["psnr_teacher"], result.photos["ssim_teacher"]) == (100, pytest.approx(1))
    assert result.metrics["high_frequency"] == pytest.approx(0, abs=1e-10)
    assert set(result.each) == {f"{i}.png" for i in range(4)}
    for found in result.each.values():
        assert found["psnr_teacher"] == pytest.approx(result.metrics["psnr_teacher"], abs=0.01)


def test_each_photo_has_its_own_figures(means: None, tmp_path: Path) -> None:
    photos = flat_photos(tmp_path / "photos")

    def uneven(images: Tensor) -> Tensor:
        """The redder, the darker."""
        return torch.where(images[:, :1].mean((2, 3), keepdim=True) > 0, images - 0.4, images)

    result = evaluate_translation("s", uneven, protocol(photos))
    assert [found["mse_photo"] == 0 for found in result.each.values()] == [True, True, True, False]
    average = sum(found["mse_photo"] for found in result.each.values()) / 4
    assert result.metrics["mse_photo"] == pytest.approx(average)
    assert not [name for name in result.metrics if name.endswith(("teacher", "style"))]


def test_distances_to_style_and_teacher(means: None, photo_folder: Path, style_folder: Path) -> None:
    """Of features that one shift moves, the Fréchet distance is the shift's square; the photos are the anchor."""
    both = evaluate_translation("s", darker, protocol(photo_folder, style_folder), lambda x: x)
    style = next(n for n in both.metrics if n.startswith("fid") and n.endswith("_style"))
    teacher = next(n for n in both.metrics if n.startswith("fid") and n.endswith("_teacher"))
    assert (style, teacher) == ("fid48_means_style", "fid48_means_teacher")
    assert both.photos[style] == pytest.approx(both.teacher[style])  # this teacher changes nothing
    assert both.photos[style] > 0
    assert both.photos[teacher] == pytest.approx(0, abs=1e-6)
    assert both.metrics[teacher] > 100 * abs(both.photos[teacher])
    assert set(both.style) == {"high_frequency"}
    own = evaluate_translation("s", lambda x: x, protocol(photo_folder, photo_folder))
    assert own.metrics[style] == pytest.approx(0, abs=1e-6)


def test_high_frequency_is_the_energy_of_the_haar_bands(means: None, tmp_path: Path) -> None:
    """Stripes of ±1 have all of it in one of three bands; a gradient has next to none."""
    (tmp_path / "stripes").mkdir()
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2] = 255
    for i in range(2):
        Image.fromarray(stripes).save(tmp_path / "stripes" / f"{i}.png")
    found = evaluate_translation("s", lambda x: x, protocol(tmp_path / "stripes")).metrics["high_frequency"]
    assert found == pytest.approx(4 / 3)  # orthonormal: (1 + 1)² / 4 a band of four pixels, over three bands


def test_too_few_crops_are_refused(means: None, tmp_path: Path, photo_folder: Path) -> None:
    (tmp_path / "one").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "one" / "a.png")
    with pytest.raises(UserError, match="one: 4 crops are too few to measure on; give at least 8"):
        evaluate_translation("s", darker, protocol(tmp_path / "one"))
    with pytest.raises(UserError, match="one: 4 crops are too few"):
        evaluate_translation("s", darker, protocol(photo_folder, tmp_path / "one"))


def test_a_result_is_read_as_written(tmp_path: Path) -> None:
    result = TranslationResult("s", {"a": 1.5}, each={"p": {"a": 2.0}}, cost={"student": {"macs": 3}})
    (tmp_path / "metrics.json").write_text(result.to_json())
    assert read_translation_result(tmp_path / "metrics.json") == result
    (tmp_path / "metrics.json").write_text("{")
    assert read_translation_result(tmp_path / "metrics.json") is None


# -- solvers, costs -------------------------------------------------------------------------------------------------------


def test_solvers_agree_with_themselves_alone() -> None:
    network = lively(ODETranslator(ODEConfig([4, 6], 2, solver="euler", steps=2, resolution=16)))
    crops = torch.randint(0, 256, (9, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = solver_sensitivity(network, crops)
    assert set(found) == set(SOLVERS_TRIED)
    assert found[OWN] == found["euler 2"] == {"psnr": 100, "ssim": pytest.approx(1), "evaluations": 2}
    assert (found["euler 1"]["evaluations"], found["rk4 1"]["evaluations"]) == (1, 4)
    assert found["dopri5"]["evaluations"] >= 7  # two to begin with, six a step, the first of which is known
    assert all(found[name]["psnr"] < 60 for name in ("euler 1", "rk4 1", "dopri5"))
    assert network.config.steps == 2
    assert solver_sensitivity(tiny_cut(), crops) == {}


def test_the_timing_table_counts_after_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that take 1000 ms five times, then 1, 2, ... ms."""
    clock, calls = [0.0], [0]

    def run() -> None:
        calls[0] += 1
        clock[0] += 1.0 if calls[0] <= 5 else (calls[0] - 5) / 1000

    monkeypatch.setattr("distilgan.evaluation.cost.time.perf_counter", lambda: clock[0])
    found = costs({"student": Costed(run, {})}, 50, MEANS)["student"]
    assert calls == [55]
    assert found["latency_ms_mean_of_5"] == pytest.approx(3.0)
    assert found["latency_ms_mean_of_50"] == pytest.approx(25.5)
    assert "latency_ms_mean_of_50" not in costs({"student": Costed(run, {})}, 49, MEANS)["student"]


def test_sizes_that_a_network_cannot_take() -> None:
    item = TorchTranslator(tiny_cut(), "tiny")
    check_size(item, 16)
    for size in (12, 18):
        with pytest.raises(
            UserError, match=f"tiny: takes pictures whose sides are multiples of 4, from 16 on; crops of {size}"
        ):
            check_size(item, size)


def test_what_translates(cut_teacher: Path, tmp_path: Path) -> None:
    tiny_generator().save_pretrained(tmp_path / "latents")
    torch.save({}, tmp_path / "g.pth")
    assert translates(str(cut_teacher))
    assert translates(str(tmp_path / "g.pth"))
    assert not translates(str(tmp_path / "latents"))
    assert not translates(str(tmp_path / "nowhere"))


def test_pictures_side_by_side(photo_folder: Path, tmp_path: Path) -> None:
    (photo_folder / "deep").mkdir()
    with Image.open(photo_folder / "00.png") as image:
        for name in ("deep/00.png", "all.jpg", "01.bmp"):
            image.save(photo_folder / name)
    student, teacher = TorchTranslator(tiny_cut(), "s"), TorchTranslator(tiny_cut(seed=1), "t")
    write_test_pictures(tmp_path / "out", CropSet(photo_folder, 16), student, teacher)
    made = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.png")}
    plain = {f"{i:02d}.png" for i in range(12) if i != 1}
    assert made == {*plain, "01.png.png", "01.bmp.png", "deep/00.png", "all.jpg.png", "all.png"}
    row = np.array(Image.open(tmp_path / "out" / "00.png"))
    photo = np.array(Image.open(photo_folder / "00.png"))
    assert row.shape == (24, 3 * 20 + 2 * 4, 3)
    assert np.array_equal(row[:, :20], photo)
    assert np.array_equal(
        row[:, -20:].transpose(2, 0, 1), student.picture(torch.from_numpy(photo).permute(2, 0, 1)).numpy()
    )
    assert np.array(Image.open(tmp_path / "out" / "all.png")).shape == (3 * 18 - 2, 8 * 18 - 2, 3)


def test_every_figure_is_explained() -> None:
    for name in (
        "fid48_means_style",
        "kid1k_efficientnet_teacher",
        "psnr_teacher",
        "high_frequency",
        "perceptual_photo",
    ):
        assert meaning(name)


# -- commands -------------------------------------------------------------------------------------------------------------


def mistake(done: tuple[int, str, str]) -> str:
    status, shown, error = done
    assert (status, shown) == (2, "")
    (line,) = error.splitlines()
    return line.removeprefix("error: ")


@pytest.mark.parametrize(
    ("arguments", "parameters", "gmacs"),
    [
        (["cut_translator"], 11_378_179, 64.05),
        (["ode_translator"], 5_477_379, None),
        (["ode_translator", "solver=rk4"], 5_477_379, None),
    ],
)
def test_published_sizes(arguments: list[str], parameters: int, gmacs: float | None, run: Command) -> None:
    """At a quarter of the side, for a sixteenth of the multiplications; CUT's four blurred layers are at full size."""
    status, shown, _ = run("profile", *arguments, "resolution=64", "--runs", 1, "--json")
    facts = json.loads(shown)
    assert status == 0
    assert facts["parameters"] == parameters
    convolutions = 19.33 * (4 if "solver=rk4" in arguments else 1) + 64.05 - 9 * 4.832 if gmacs is None else gmacs
    assert facts["macs"] * 16 / 1e9 == pytest.approx(convolutions, rel=2e-3)


def test_evaluate(means: None, run: Command, cut_teacher: Path, tmp_path: Path) -> None:
    photo_folder, style_folder = (
        write_pictures(tmp_path / name, 1, seed) for seed, name in enumerate(("photos", "style"))
    )
    lively(CUTTranslator(ResnetConfig([4, 5], 1, resolution=16)), 3).save_pretrained(tmp_path / "student")
    options = ("--data", photo_folder, "--style", style_folder, "--teacher", cut_teacher)
    status, shown, _ = run("evaluate", tmp_path / "student", *options, "--pictures", tmp_path / "side", "--json")
    result = json.loads(shown)
    assert status == 0
    assert {"fid32_means_style", "kid32_means_teacher", "psnr_teacher", "ssim_photo"} <= set(result["metrics"])
    assert set(result["photos"]) >= {"fid32_means_style"}
    assert set(result["cost"]) == {"student", "teacher"}
    assert {"parameters", "macs", "peak_activation_bytes", "latency_ms_mean_of_5", "latency_ms_mean_of_50"} <= set(
        result["cost"]["student"]
    )
    assert {p.name for p in (tmp_path / "side").iterdir()} == {"00.png", "all.png"}
    line = mistake(run("evaluate", tmp_path / "student", *options, "--pictures", photo_folder))
    assert line == f"--pictures {photo_folder}: is there already; name a new folder"
    assert [p.name for p in photo_folder.iterdir()] == ["00.png"]


def test_mistakes_get_one_line_and_status_2(
    run: Command, cut_teacher: Path, photo_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no picture")
    torch.save({}, tmp_path / "g.pth")
    new = tmp_path / "new"
    for arguments, words in (
        (("translate", "nowhere", photo_folder, new), "nowhere: no such file or folder"),
        (("translate", cut_teacher, "nowhere", new), "nowhere: no such file or folder"),
        (("translate", cut_teacher, "nowhere.mp4", new), "nowhere.mp4: no such file"),
        (("translate", cut_teacher, tmp_path / "empty", new), "holds no images"),
        (
            ("translate", cut_teacher, tmp_path / "text.png", tmp_path / "x.png"),
            "text.png: not translated: not a usable",
        ),
        (("translate", cut_teacher, photo_folder, photo_folder), "name a folder outside it"),
        (("translate", tmp_path / "g.pth", photo_folder, new), "g.pth: is not a state dict"),
        (("translate", photo_folder, photo_folder, new), "not the folder of a generator"),
        (("translate", cut_teacher, photo_folder, new, "--device", "tpu"), "--device tpu: must be cpu or cuda"),
        (("translate", cut_teacher, photo_folder), "Missing argument"),
        (("evaluate", cut_teacher), "give --data with photos to translate"),
        (("evaluate", cut_teacher, "--data", tmp_path / "empty"), "holds no images"),
        (("evaluate", cut_teacher, "--data", photo_folder, "--samples", 9), "--samples: "),
        (("evaluate", cut_teacher, "--data", photo_folder, "--teacher", "nowhere"), "nowhere: no such file or folder"),
        (("profile", "ode_translater"), "did you mean ode_translator"),
        (("profile", "ode_translator", "solver=heun"), "solver=heun: is unknown"),
        (("profile", "ode_translator", "blocks=0"), "blocks=0: must be above 0"),
        (("profile", "cut_translator", "resolution=18"), "resolution=18: must be a multiple of 4"),
        (("data", "scenes", new, "--size", 8), "8"),
    ):
        assert words in mistake(run(*arguments)), arguments
    assert not new.exists()
    assert not (tmp_path / "x.png").exists()


def test_translate(run: Command, cut_teacher: Path, photo_folder: Path, tmp_path: Path) -> None:
    (photo_folder / "broken.jpg").write_bytes(b"no picture")
    out = tmp_path / "out"
    status, shown, error = run("translate", cut_teacher, photo_folder, out)
    assert (status, shown) == (0, f"{out}: 12 translated, 1 left out\n")
    assert "broken.jpg: not translated: not a usable image" in error
    assert run("translate", cut_teacher, photo_folder / "00.png", tmp_path / "one.webp")[:2] == (
        0,
        f"{tmp_path / 'one.webp'}\n",
    )
    line = mistake(run("translate", cut_teacher, photo_folder / "00.png", tmp_path / "one.webp"))
    assert line.endswith("one.webp: is there already; name another file")


def test_a_disk_that_cannot_be_written(
    run: Command, cut_teacher: Path, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "out/00.png")

    monkeypatch.setattr(translating, "_save", refuse)
    assert mistake(run("translate", cut_teacher, photo_folder, tmp_path / "out")) == "out/00.png: Permission denied"


def test_a_user_who_stops_it_keeps_what_was_made(
    run: Command, cut_teacher: Path, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, saved = translating._save, list[Path]()

    def two(made: Tensor, target: Path) -> None:
        if len(saved) == 2:
            raise KeyboardInterrupt
        saved.append(target)
        save(made, target)

    monkeypatch.setattr(translating, "_save", two)
    assert run("translate", cut_teacher, photo_folder, tmp_path / "out")[0] == 130
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"00.png", "01.png", "translated.csv"}
    monkeypatch.setattr(translating, "_save", save)
    assert run("translate", cut_teacher, photo_folder, tmp_path / "out")[0] == 0


def test_a_name_without_photos_is_refused(cut_teacher: Path) -> None:
    with pytest.raises(UserError, match="give --data"):
        evaluate_named(str(cut_teacher), None, None, None)
