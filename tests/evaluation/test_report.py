from __future__ import annotations

import json
import re
from pathlib import Path

from distilgan.data.images import ImageSet
from distilgan.evaluation.card import model_card
from distilgan.evaluation.evaluate import evaluate
from distilgan.evaluation.plots import line_plot, ticks
from distilgan.evaluation.protocol import Protocol
from distilgan.evaluation.report import write_report
from distilgan.networks.stylegan2 import StyleGAN2
from tests.recipes import stylekd_recipe


def test_report_is_one_self_contained_page(teacher_folder: Path, image_folder: Path, tmp_path: Path) -> None:
    recipe = stylekd_recipe(image_folder, teacher_folder, name="a <b> & c", licence="ours alone")
    protocol = Protocol(data=str(image_folder), samples=16, latency_runs=2, held_out=True)
    result = evaluate(str(teacher_folder), protocol, teacher=str(teacher_folder))
    log = tmp_path / "log.jsonl"
    log.write_text(
        "".join(json.dumps({"images": i, "terms": {"gan": 1.0 / (i + 1), "pixel": 2.0}}) + "\n" for i in range(5))
    )
    network = StyleGAN2.from_pretrained(teacher_folder)
    card = model_card(recipe, result, {}, network)
    write_report(tmp_path / "report.html", recipe, result, network, network, ImageSet(image_folder, 16), log, card)
    page = (tmp_path / "report.html").read_text()
    assert "a &lt;b&gt; &amp; c" in page
    assert "<b> & c" not in page
    assert page.count("data:image/png;base64,") == 5 + 4  # data, 2 × teacher and student; 2 × interpolation of both
    assert not re.search(r'(src|href)="?https?:', page)
    assert "ours alone" in page
    for name, value in result.metrics.items():
        assert f"<td>{name}<td class=n>{value:.4g}" in page
    assert "<polyline" in page


def test_card_says_what_is_known_and_what_is_not(teacher_folder: Path, image_folder: Path) -> None:
    network = StyleGAN2.from_pretrained(teacher_folder)
    card = model_card(stylekd_recipe(image_folder, teacher_folder), None, {}, network)
    assert "not recorded; a student inherits the terms of its teacher and data" in card
    assert f"Teacher: `{teacher_folder}` (its licence: not recorded)" in card


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0.0, 1.0) == [0, 0.5, 1.0]
    assert ticks(-2.0, 9.0) == [0, 5]
    assert all(3 <= t <= 917 for t in ticks(3, 917))
    assert line_plot("empty", {}) == ""
    assert "nan," not in line_plot("gap", {"a": [(0, 1.0), (1, float("nan")), (2, 2.0)]}).replace(" ", ",")


def test_a_key_that_does_not_fit_goes_on_in_a_new_line_above_the_curves() -> None:
    names = ["gradient_generator", "gradient_discriminator", "gradient_adapters"]
    plot = line_plot("norms", {name: [(0, 1.0), (1, 2.0)] for name in names}, width=320)
    keys = [(int(x), int(y)) for x, y in re.findall(r'<text x="(\d+)" y="(\d+)" fill', plot)]
    assert keys == [(52, 14), (52, 28), (52, 42)]
    curves = [float(y) for line in re.findall(r'points="([^"]+)"', plot) for y in re.findall(r",(\S+)", line)]
    assert min(curves) > 42
