"""Stores are written whole or to be gone on with, by one process at a time, from a teacher or from arrays."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distilgan.data import pair_writer
from distilgan.data import pairs as pairs_module
from distilgan.data.images import to_uint8
from distilgan.data.pair_writer import draw_pairs, import_pairs
from distilgan.data.pairs import PairStore, read_manifest, shard_folder, write_manifest, write_shard
from distilgan.errors import UserError
from distilgan.files import is_leftover, locked, new_folder
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.latents import LatentSpec
from tests.conftest import conditional
from tests.data.conftest import arrays, contents

SETTINGS: dict[str, Any] = {"count": 50, "shard_size": 20, "seed": 3, "truncation": 0.5}  # of the fixture `store`


def test_pictures_are_the_teachers(store: Path, network: ImageGenerator) -> None:
    pairs = PairStore(store)
    assert len(pairs) == 50
    assert pairs.shards == [20, 20, 10]
    z, label, image = (torch.stack([torch.as_tensor(pairs[i][k]) for i in range(50)]) for k in range(3))
    with torch.no_grad():
        expected = to_uint8(network(z, label, truncation=0.5))
    assert int((image.int() - expected.int()).abs().max()) <= 1  # batches of another size may round otherwise
    assert set(label.tolist()) == set(range(5))
    assert pairs.manifest.licence == "ours"


def test_latents_are_those_of_the_declared_distribution_and_differ_between_shards(store: Path) -> None:
    z = np.concatenate([np.load(shard_folder(store, i) / "latents.npy") for i in range(3)])
    assert len(np.unique(z, axis=0)) == 50
    assert abs(z.mean()) < 5 / z.size**0.5
    assert abs(z.var() - 1) < 5 * (2 / z.size) ** 0.5


def test_workers_and_interruptions_change_nothing(store: Path, teacher: Path, tmp_path: Path) -> None:
    expected = contents(store)
    other = draw_pairs(tmp_path / "other", teacher, "T", **SETTINGS, workers=2)
    found = contents(other)
    assert found.keys() == expected.keys()
    for name in expected:
        if name.endswith("images.npy"):  # another number of threads may move a grey level
            a, b = (np.load(folder / name).astype(int) for folder in (store, other))
            assert int(np.abs(a - b).max()) <= 1
        else:
            assert found[name] == expected[name], name

    shutil.rmtree(shard_folder(store, 1))
    write_manifest(store, replace(read_manifest(store), finished=False))
    with pytest.raises(UserError, match="half written, 1 of 3 shards are missing"):
        PairStore(store)
    draw_pairs(store, teacher, "T", **SETTINGS)
    assert contents(store) == expected


def test_a_finished_store_is_left_as_it_is(store: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its manifest too, which a reader may look at meanwhile: the name and terms are those that were recorded."""
    expected, shown = contents(store), []
    with monkeypatch.context() as patch:
        for name in ("write_manifest", "write_shard"):
            patch.setattr(pair_writer, name, None)
        draw_pairs(store, teacher, "another name", **SETTINGS, progress=shown.append)
    assert shown == [50]
    shutil.rmtree(shard_folder(store, 1))
    draw_pairs(store, teacher, "another name", **SETTINGS)
    assert contents(store) == expected


def test_chosen_classes_and_another_distribution(teacher: Path, tmp_path: Path) -> None:
    path = draw_pairs(tmp_path / "s", teacher, "T", 64, classes=[3, 1], distribution="uniform", shard_size=64)
    pairs = PairStore(path, full=True)
    assert set(np.load(shard_folder(path, 0) / "labels.npy").tolist()) == {1, 3}
    assert pairs.manifest.latent == LatentSpec([6], "uniform")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 4}, "holds pairs made with seed=3"),
        ({"truncation": 1.0}, r"truncation=0\.5"),
        ({"count": 60}, "count=50"),
        ({"classes": [5]}, "--classes: 5 is out of range; T has the classes 0 to 4"),
    ],
)
def test_another_store_is_not_overwritten(store: Path, teacher: Path, changes: dict[str, Any], message: str) -> None:
    before = contents(store)
    arguments: dict[str, Any] = {"count": 50, "shard_size": 20, "seed": 3, "truncation": 0.5, **changes}
    with pytest.raises(UserError, match=message):
        draw_pairs(store, teacher, "T", **arguments)
    assert contents(store) == before


def test_another_teacher_or_writer_or_folder_is_refused(store: Path, teacher: Path, tmp_path: Path) -> None:
    conditional("tinygan").save_pretrained(tmp_path / "tiny")
    with pytest.raises(UserError, match="made with another teacher"):
        draw_pairs(store, tmp_path / "tiny", "U", 50, shard_size=20, seed=3, truncation=0.5)
    with locked(store), pytest.raises(UserError, match="another process works in it"):
        draw_pairs(store, teacher, "T", 50, shard_size=20, seed=3, truncation=0.5)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "draft.txt").write_text("precious")
    with pytest.raises(UserError, match="not empty and not a store"):
        draw_pairs(tmp_path / "thesis", teacher, "T", 10)
    assert [p.name for p in (tmp_path / "thesis").iterdir()] == ["draft.txt"]


def test_truncations_and_teachers_that_do_not_fit(tmp_path: Path) -> None:
    from distilgan.networks.biggan import BigGANConfig, BigGANDeep
    from tests.conftest import tiny_generator

    BigGANDeep(BigGANConfig(8, [8, 8, 8], 2, z_dim=4, embed_dim=4, statistics=51)).save_pretrained(tmp_path / "deep")
    with pytest.raises(UserError, match=r"--truncation 1\.5: .*statistics"):
        draw_pairs(tmp_path / "s", tmp_path / "deep", "D", 10, truncation=1.5)
    tiny_generator().save_pretrained(tmp_path / "plain")
    with pytest.raises(UserError, match="has no classes"):
        draw_pairs(tmp_path / "s", tmp_path / "plain", "P", 10)
    assert not (tmp_path / "s").exists()


def test_a_store_without_a_shard_binds_nobody(teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first try that had no memory for its shards may be followed by one with smaller ones."""

    def full(*_: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(pair_writer, "write_shard", full)
        with pytest.raises(MemoryError):
            draw_pairs(tmp_path / "s", teacher, "T", 50, shard_size=50)
    assert len(PairStore(draw_pairs(tmp_path / "s", teacher, "T", 50, shard_size=20))) == 50


def test_a_damaged_shard_is_not_called_done(store: Path, teacher: Path) -> None:
    (shard_folder(store, 1) / "labels.npy").unlink()
    with pytest.raises(UserError, match=r"shard-00001/labels\.npy"):
        draw_pairs(store, teacher, "T", **SETTINGS)


@torch.no_grad()
def test_a_teacher_that_is_broken_or_changes_makes_no_store(teacher: Path, tmp_path: Path) -> None:
    network = conditional("biggan")
    for p in network.parameters():
        p.mul_(1e30)  # finite, but their products are not
    network.save_pretrained(tmp_path / "broken")
    with pytest.raises(UserError, match="B: its pictures have NaN"):
        draw_pairs(tmp_path / "s", tmp_path / "broken", "B", 10)
    assert not (tmp_path / "s" / "shard-00000").exists()
    store = draw_pairs(tmp_path / "t", teacher, "T", 20, shard_size=10)
    shutil.rmtree(shard_folder(store, 1))
    with pytest.raises(UserError, match="changed while it was drawn from"):
        pair_writer._draw_in_process(pair_writer._Job(store, tmp_path / "broken", read_manifest(store), 1, "cpu"))
    assert not shard_folder(store, 1).exists()


@pytest.mark.parametrize("truncation", [0.0, -0.5])
def test_a_truncation_that_no_recipe_takes(truncation: float, teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--truncation .*: must be more than 0"):
        draw_pairs(tmp_path / "s", teacher, "T", 10, truncation=truncation)


@pytest.mark.parametrize(
    ("count", "message"), [(10**20, "T: count must be 1 to"), (10**9, "T: shard_size=100 would make more")]
)
def test_more_pairs_than_a_store_holds(teacher: Path, tmp_path: Path, count: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        draw_pairs(tmp_path / "s", teacher, "T", count, shard_size=100)
    assert not (tmp_path / "s").exists()


def test_a_worker_sets_its_device_up(teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[str] = []
    monkeypatch.setattr(pair_writer, "use_device", used.append)
    store = draw_pairs(tmp_path / "s", teacher, "T", 10)
    used.clear()
    shutil.rmtree(shard_folder(store, 0))
    pair_writer._draw_in_process(pair_writer._Job(store, teacher, read_manifest(store), 0, "cpu"))
    assert used == ["cpu"]
    assert len(PairStore(store)) == 10


# -- processes side by side -------------------------------------------------------------------------------------------


def test_one_writer_at_a_time_whose_workers_end_with_it(teacher: Path, tmp_path: Path) -> None:
    """Shards so large that a worker which outlived its parent would draw for a minute."""
    script = (
        "import sys, threading, time; from multiprocessing import active_children; from pathlib import Path\n"
        "from distilgan.data.pair_writer import draw_pairs\n"
        "def tell():\n"
        "    while len(active_children()) < 2: time.sleep(0.02)\n"
        "    time.sleep(0.3); print('drawing', flush=True)\n"
        "threading.Thread(target=tell, daemon=True).start()\n"
        "draw_pairs(Path(sys.argv[1]), Path(sys.argv[2]), 'T', 2 * 10**6, shard_size=10**6, workers=2)\n"
    )
    store = tmp_path / "s"
    command = [sys.executable, "-c", script, str(store), str(teacher)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, text=True)
    assert writer.stdout is not None
    try:
        assert writer.stdout.readline() == "drawing\n"
        with pytest.raises(UserError, match="another process works in it"):
            draw_pairs(store, teacher, "T", 2 * 10**6, shard_size=10**6)
        writer.kill()
        writer.communicate(timeout=30)  # returns when nobody holds its output any more, no worker either
    finally:
        with suppress(ProcessLookupError):
            os.killpg(writer.pid, signal.SIGKILL)
        writer.wait()
    with locked(store), pytest.raises(UserError, match="half written, 2 of 2"):
        PairStore(store)


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


def test_what_dead_processes_left_is_removed_and_live_ones_are_let_be(tmp_path: Path, dead_pid: int) -> None:
    names = {owner: tmp_path / f".f.{owner}.partial" for owner in (dead_pid, os.getpid(), os.getppid())}
    for path in (*names.values(), tmp_path / f".f.g.{dead_pid}.partial"):
        path.mkdir()
        (path / "x").touch()
        assert is_leftover(path)
    with new_folder(tmp_path / "f") as folder:
        (folder / "y").touch()
    assert {p.name for p in tmp_path.iterdir()} == {"f", names[os.getppid()].name, f".f.g.{dead_pid}.partial"}
    assert [p.name for p in (tmp_path / "f").iterdir()] == ["y"]


def test_the_first_of_two_processes_makes_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "f"

    def race() -> None:
        with new_folder(target) as mine:
            (mine / "mine").touch()
            with monkeypatch.context() as patch:
                patch.setattr(os, "getpid", os.getppid)
                with new_folder(target) as theirs:
                    (theirs / "theirs").touch()
            assert (mine / "mine").exists()

    with pytest.raises(FileExistsError, match="another process made it meanwhile"):
        race()
    assert list(tmp_path.rglob("*")) == [target, target / "theirs"]


def test_a_shard_that_came_into_being_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = shard_folder(tmp_path, 0) / "theirs"
    real = pairs_module.blocks

    def late(*arguments: Any) -> Iterator[Any]:
        there.parent.mkdir(exist_ok=True)
        there.touch()
        return real(*arguments)

    monkeypatch.setattr(pairs_module, "blocks", late)
    write_shard(tmp_path, 0, np.zeros((1, 3, 8, 8)), np.zeros((1, 4)), np.zeros(1))
    assert list(tmp_path.rglob("*")) == [there.parent, there]


# -- from arrays ------------------------------------------------------------------------------------------------------


def test_arrays_of_a_diffusion_sampler_become_a_store(tmp_path: Path) -> None:
    files = arrays(tmp_path)
    path = import_pairs(tmp_path / "s", **files, num_classes=4, shard_size=20, name="somebody's")
    pairs = PairStore(path, full=True)
    assert pairs.manifest.latent == LatentSpec([3, 8, 8])
    assert pairs.manifest.teacher_sha256 is None
    z, label, image = pairs[25]
    assert torch.equal(z, torch.from_numpy(np.load(files["latents"])[25]))
    assert label == np.load(files["labels"])[25]
    assert torch.equal(image, torch.from_numpy(np.load(files["images"])[25]).permute(2, 0, 1))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("labels", lambda a: a[:-1], r"labels\.npy: 29 rows, but .*images\.npy has 30 pictures"),
        ("labels", lambda a: a + 1, r"labels\.npy: class 4 is out of range; the teacher has the classes 0 to 3"),
        ("labels", lambda a: a - 1, r"labels\.npy: class -1 is out of range"),
        ("labels", lambda a: a.astype(np.float32), "expected whole numbers"),
        ("latents", lambda a: a[:10], r"latents\.npy: 10 rows"),
        ("latents", lambda a: a[:, :, 0, :0], r"latents\.npy: float32 \[30, 3, 0\]; expected floats"),
        ("latents", lambda a: a[:, 0, 0, :0], r"latents\.npy: float32 \[30, 0\]; expected floats"),
        ("latents", lambda a: np.concatenate([a[:-1], 0 * a[-1:] + 0.1]), "row 29 holds one number throughout"),
        ("latents", lambda a: np.where(np.arange(30)[:, None, None, None] == 7, np.nan, a), "row 7 holds NaN or inf"),
        ("latents", lambda a: np.where(a == a[4, 0, 0, 0], 1e300, a.astype(np.float64)), "row 4 holds NaN or infinity"),
        ("latents", lambda a: a * 0.5, "drawn from another distribution"),
        ("images", lambda a: a.astype(np.float32), r"expected uint8 \[N, 3, R, R\]"),
        ("images", lambda a: a[:, :4], r"expected uint8 \[N, 3, R, R\]"),
        ("images", lambda a: a[:, :0, :0], "holds no pictures"),
        ("images", None, r"images\.npy: not an \.npy file"),
        ("images", lambda a: a[:, :7, :7], "7 px; pictures to learn from are a power of two wide"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_arrays_that_do_not_fit(tmp_path: Path, name: str, change: Any, message: str) -> None:
    files = arrays(tmp_path)
    if change is None:
        files[name].write_text("no numbers")
    else:
        np.save(files[name], change(np.load(files[name])))
    with pytest.raises(UserError, match=message):
        import_pairs(tmp_path / "s", **files, num_classes=4)
    assert not (tmp_path / "s").exists()


def test_more_classes_than_there_can_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="num_classes must be at most 1,000,000"):
        import_pairs(tmp_path / "s", **arrays(tmp_path), num_classes=10**20)
    assert not (tmp_path / "s").exists()


def test_an_interrupted_import_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = arrays(tmp_path)
    settings: dict[str, Any] = {**files, "num_classes": 4, "shard_size": 20}
    expected = contents(import_pairs(tmp_path / "whole", **settings))

    def stop(store: Path, index: int, *parts: Any) -> None:
        if index:
            raise KeyboardInterrupt
        write_shard(store, index, *parts)

    with monkeypatch.context() as patch:
        patch.setattr(pair_writer, "write_shard", stop)
        with pytest.raises(KeyboardInterrupt):
            import_pairs(tmp_path / "s", **settings)
    with pytest.raises(UserError, match="half written, 1 of 2"):
        PairStore(tmp_path / "s")
    import_pairs(tmp_path / "s", **settings)
    assert contents(tmp_path / "s") == expected

    with monkeypatch.context() as patch:
        for name in ("write_manifest", "write_shard"):
            patch.setattr(pair_writer, name, None)
        import_pairs(tmp_path / "s", **settings, name="another name")
    np.save(files["images"], 255 - np.load(files["images"]))
    with pytest.raises(UserError, match="holds pairs made with other arrays; choose another folder"):
        import_pairs(tmp_path / "s", **settings)
    assert contents(tmp_path / "s") == expected


def test_arrays_of_any_size_take_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = arrays(tmp_path, 400, (3, 32, 32))
    size = files["latents"].stat().st_size
    monkeypatch.setattr(pairs_module, "_BLOCK", size // 50)
    tracemalloc.start()
    try:
        import_pairs(tmp_path / "s", **files, num_classes=4)
        assert tracemalloc.get_traced_memory()[1] < size / 4
    finally:
        tracemalloc.stop()
