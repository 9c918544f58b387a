"""What the verbs of `distilgan data` say, in this process."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distilgan.cli.data import _class_list
from distilgan.data.pairs import PairStore, read_manifest, shard_folder, write_manifest
from distilgan.errors import UserError
from tests.conftest import Command
from tests.data.conftest import arrays


@pytest.fixture
def data(run: Command) -> Command:
    """Runs a verb of `data`."""
    return lambda *arguments: run("data", *arguments)


@pytest.mark.parametrize(
    ("text", "numbers"), [(None, None), ("7", [7]), ("0-3, 7", [0, 1, 2, 3, 7]), ("5-5,1", [5, 1])]
)
def test_class_lists(text: str | None, numbers: list[int] | None) -> None:
    assert _class_list(text) == numbers


@pytest.mark.parametrize("text", ["", "²", "1" * 5000, "1,5-3", "3-", "-3", "1-2-3", "0-1" + "0" * 8, "a", "1,,2"])
def test_class_lists_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match=r"^--classes .{0,30}: write class numbers and rising ranges"):
        _class_list(text)


def test_too_many_pairs(data: Command, teacher: Path, tmp_path: Path) -> None:
    status, _, error = data("pairs", teacher, tmp_path / "s", "--count", 10**20)
    assert status == 2
    assert "count must be 1 to 1,000,000,000 pairs" in error.splitlines()[-1]
    assert not (tmp_path / "s").exists()


def test_check_of_a_store(data: Command, store: Path) -> None:
    status, shown, error = data("check", store)
    assert (status, error) == (0, "")
    assert shown.splitlines()[0] == "50 pairs at 16 px in 3 shards"
    facts = dict(line.split(maxsplit=1) for line in shown.splitlines()[1:])
    assert facts == {
        "classes": "5", "latents": "N(0, 1), 6 numbers", "truncation": "0.5", "teacher": "T", "finished": "yes",
    }  # fmt: skip
    tree = json.loads(data("check", store, "--json")[1])
    assert (tree["count"], tree["identity"]) == (50, PairStore(store).identity)


def test_check_of_a_damaged_or_unfinished_store(data: Command, tmp_path: Path, teacher: Path, store: Path) -> None:
    imported = tmp_path / "imported"
    options = [f"--{name}={path}" for name, path in arrays(tmp_path).items()]
    assert data("import-pairs", imported, *options, "--num-classes", 4)[0] == 0
    path = shard_folder(imported, 0) / "images.npy"
    np.save(path, 255 - np.load(path))  # only a whole check finds that
    status, _, error = data("check", imported)
    assert status == 2
    assert "not those that were imported" in error
    write_manifest(store, replace(read_manifest(store), finished=False))
    status, _, error = data("check", store)
    assert status == 2
    assert "half written" in error
    assert len(error.splitlines()) == 1


def test_check_counts_classes(data: Command, labelled_folder: Path, image_folder: Path) -> None:
    assert data("check", labelled_folder)[1] == "40 images at 16 px, 5 classes, 0 skipped\n"
    assert json.loads(data("check", labelled_folder, "--json")[1])["classes"] == 5
    assert data("check", image_folder)[1] == "24 images at 16 px, 0 skipped\n"


@pytest.mark.parametrize(("count", "message"), [(23, "labels for 23 of 24 images"), (None, "dataset.json is not")])
def test_check_reads_labels(data: Command, image_folder: Path, count: int | None, message: str) -> None:
    labels = [[f"{i:03d}.png", 0] for i in range(count or 0)] or 7
    (image_folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    status, _, error = data("check", image_folder)
    assert status == 2
    assert message in error
    assert len(error.splitlines()) == 1


def test_help_says_which_latents_work(data: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    assert "as wide as the pictures" in data("import-pairs", "--help")[1]


def test_check_reads_pairs_of_faces(data: Command, faces: Path) -> None:
    status, out, _ = data("check", faces, "--json")
    assert status == 0
    facts = json.loads(out)
    assert (facts["pairs"], facts["people"], facts["landmarks"]) == (24, 4, True)
    assert facts["yaw"] == {"-90": 8, "0": 8, "30": 8}
    (faces / "001_01_01_110_07.png").write_bytes(b"no picture")
    status, out, _ = data("check", faces)
    assert "23 pairs of 4 people, with landmarks, 1 skipped" in out
    assert "'001_01_01_110_07.png': not an image" in out
    status, _, error = data("check", faces, "--strict")
    assert status == 2
    assert "001_01_01_110_07.png cannot be used" in error


def test_poses_refuses_what_it_cannot_render(data: Command, tmp_path: Path) -> None:
    for arguments, message in ((["--size", 512], "size=512"), (["--lights", 20], "lights=20: must be 1 to 19")):
        status, _, error = data("poses", tmp_path / "set", *arguments)
        assert status == 2
        assert message in error
    assert not (tmp_path / "set").exists()
