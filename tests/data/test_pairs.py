"""The pair store keeps what it promises: checked, from the distribution it declares, streamed in an order that resumes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distilgan.data import pairs as pairs_module
from distilgan.data.feed import Feed
from distilgan.data.images import ImageSet
from distilgan.data.pair_writer import import_pairs
from distilgan.data.pairs import Manifest, PairStore, blocks, read_manifest, shard_folder, write_manifest, write_shard
from distilgan.data.sampler import WINDOW, EndlessShuffle
from distilgan.errors import UserError
from distilgan.networks.latents import LatentSpec
from tests.data.conftest import arrays


def damaged(store: Path, what: str) -> None:
    shard = shard_folder(store, 2)
    if what == "constant":  # the last rows, which a published script leaves at zero
        z = np.load(shard / "latents.npy")
        z[-2:] = 0
        np.save(shard / "latents.npy", z)
    elif what in ("nan", "inf"):
        z = np.load(shard / "latents.npy")
        z[3, 2] = float(what)
        np.save(shard / "latents.npy", z)
    elif what == "distribution":
        for i in range(3):
            path = shard_folder(store, i) / "latents.npy"
            np.save(path, np.random.default_rng(i).uniform(size=np.load(path).shape).astype(np.float32))
    elif what == "labels":
        np.save(shard / "labels.npy", np.full(10, 7, np.int64))
    elif what == "count":
        np.save(shard / "images.npy", np.load(shard / "images.npy")[:9])
    elif what == "cut":
        (shard / "images.npy").write_bytes((shard / "images.npy").read_bytes()[:200])
    elif what == "gone":
        shutil.rmtree(shard)
    elif what == "manifest":
        (store / "manifest.json").write_text("{")
    elif what == "field":
        tree = json.loads((store / "manifest.json").read_text())
        (store / "manifest.json").write_text(json.dumps({**tree, "count": "many"}))
    elif what == "no manifest":
        (store / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("constant", r"shard-00002/latents\.npy: row 8 holds one number throughout"),
        ("nan", r"shard-00002/latents\.npy: row 3 holds NaN or infinity"),
        ("inf", r"shard-00002/latents\.npy: row 3 holds NaN or infinity"),
        ("distribution", r"latents have mean 0\.\d+ and variance .* drawn from another distribution"),
        ("labels", r"labels\.npy: class 7 is out of range; the teacher has the classes 0 to 4"),
        ("count", r"images\.npy: uint8 \[9, 3, 16, 16\], expected uint8 \[10, 3, 16, 16\]"),
        ("cut", r"images\.npy: not an \.npy file of numbers, or a damaged one .* delete .*shard-00002"),
        ("gone", r"shard-00002/images\.npy: no such file"),
        ("manifest", r"manifest\.json: Invalid JSON"),
        ("field", r"manifest\.json: count: "),
        ("no manifest", "not a store of pairs"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_damaged_store_is_refused_in_one_line(store: Path, what: str, message: str) -> None:
    damaged(store, what)
    with pytest.raises(UserError, match=message) as caught:
        PairStore(store)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EACCES, errno.ENOMEM])
def test_a_file_that_cannot_be_opened_now_is_not_called_damaged(
    store: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(np, "load", refuse)
    with pytest.raises(UserError, match=os.strerror(code)) as caught:
        PairStore(store)
    assert "delete" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 10**20}, "count must be 1 to 1,000,000,000"),
        ({"count": 0}, "count must be 1 to"),
        ({"count": 10**9}, "shard_size=20 would make more than 100,000 shards"),
        ({"shard_size": 0}, ".*shard_size must be at least 1"),
        ({"format": 9}, "format=9"),
    ],
)
def test_manifests_out_of_range(store: Path, change: dict[str, int], message: str) -> None:
    tree = json.loads((store / "manifest.json").read_text())
    (store / "manifest.json").write_text(json.dumps({**tree, **change}))
    with pytest.raises(UserError, match=rf"manifest\.json: {message}.*make the store again"):
        PairStore(store)


def test_the_manifest_of_an_earlier_version_opens(store: Path) -> None:
    tree = json.loads((store / "manifest.json").read_text())
    del tree["content_sha256"]
    before = PairStore(store).identity
    (store / "manifest.json").write_text(json.dumps(tree))
    assert PairStore(store).identity == before


def small_store(folder: Path, z: np.ndarray, shard_size: int, resolution: int = 8) -> Path:
    n = len(z)
    manifest = Manifest(LatentSpec(list(z.shape[1:])), 2, resolution, n, shard_size, finished=True)
    folder.mkdir()
    images = np.arange(n).astype(np.uint8)[:, None, None, None].repeat(3, 1)
    images = np.broadcast_to(images, (n, 3, resolution, resolution))
    for shard, start in enumerate(range(0, n, shard_size)):
        rows = slice(start, start + shard_size)
        write_shard(folder, shard, images[rows], z[rows], np.zeros(n, np.int64)[rows])
    write_manifest(folder, manifest)
    return folder


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_many_shards_need_few_open_files(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = small_store(tmp_path / "s", normal(40, 50), 1)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = max(map(int, os.listdir("/dev/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 3 * (WINDOW + 2), before[1]))
    try:
        pairs = PairStore(path)
        assert [int(pairs[i][2][0, 0, 0]) for i in range(40)] == list(range(40))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_shards_in_use_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = PairStore(small_store(tmp_path / "s", normal(40, 50), 2))
    for i in range(WINDOW):
        _ = pairs[2 * i]
    monkeypatch.setattr(pairs_module, "open_array", None)
    for i in range(3 * WINDOW):
        _ = pairs[2 * (i % WINDOW)]


def test_classes_of_all_pairs(store: Path) -> None:
    pairs = PairStore(store)
    assert pairs.labels == [pairs[i][1] for i in range(50)]


# -- identity ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"teacher": "U"}, True),
        ({"licence": "theirs"}, True),
        ({"seed": 4}, False),
        ({"truncation": 0.6}, False),
        ({"teacher_sha256": "0"}, False),
        ({"content_sha256": "0"}, False),
    ],
)
def test_identity_is_of_what_determines_the_pairs(store: Path, change: dict[str, Any], same: bool) -> None:
    before = PairStore(store).identity
    write_manifest(store, replace(read_manifest(store), **change))
    assert (PairStore(store).identity == before) is same


def test_imported_content_is_hashed_in_any_shards(tmp_path: Path) -> None:
    files = arrays(tmp_path)
    parts = {name: np.load(path) for name, path in files.items()}
    images = np.ascontiguousarray(parts["images"].transpose(0, 3, 1, 2))
    expected = hashlib.sha256(parts["latents"].tobytes() + parts["labels"].tobytes() + images.tobytes()).hexdigest()
    stores = [import_pairs(tmp_path / f"s{n}", **files, num_classes=4, shard_size=n) for n in (7, 30)]
    assert [PairStore(path, full=True).manifest.content_sha256 for path in stores] == [expected] * 2
    path = shard_folder(stores[0], 1) / "images.npy"
    np.save(path, 255 - np.load(path))
    PairStore(stores[0])
    with pytest.raises(UserError, match="not those that were imported"):
        PairStore(stores[0], full=True)


# -- bounded memory ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [None, np.array([0, 3, 8, 9])])
def test_blocks_are_of_bounded_bytes(rows: np.ndarray | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs_module, "_BLOCK", 2 * 5 * 4)
    array = np.arange(50, dtype=np.int32).reshape(10, 5)
    found = list(blocks(array, np.float32, rows))
    assert {len(block) for block in found} == {2}
    assert np.array_equal(np.concatenate(found), array if rows is None else array[rows])


def test_opening_looks_at_some_bytes_of_each_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    z = normal(60, 3, 8, 8)
    path = small_store(tmp_path / "s", z, 30)
    seen: list[int] = []
    add = pairs_module.LatentCheck.add

    def count(self: Any, name: str, z: np.ndarray, rows: np.ndarray | None = None) -> None:
        seen.append(len(z) if rows is None else len(rows))
        add(self, name, z, rows)

    monkeypatch.setattr(pairs_module.LatentCheck, "add", count)
    for look, expected in ((z.nbytes, 30), (z[:20].nbytes, 10), (0, 4)):
        monkeypatch.setattr(pairs_module, "_LOOK", look)
        seen.clear()
        PairStore(path)
        assert seen == [expected] * 2
    seen.clear()
    PairStore(path, full=True)
    assert seen == [30, 30]


def test_large_shards_are_checked_at_their_ends_and_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distilgan.data.pairs._ROWS", 16)
    n = 400
    rng = np.random.default_rng(0)
    z = rng.normal(size=(n, 50)).astype(np.float32)
    z[-1] = 0
    manifest = Manifest(LatentSpec([50]), 2, 8, n, n)
    tmp_path.joinpath("s").mkdir()
    write_shard(tmp_path / "s", 0, np.zeros((n, 3, 8, 8), np.uint8), z, np.zeros(n, np.int64))
    write_manifest(tmp_path / "s", replace(manifest, finished=True))
    with pytest.raises(UserError, match="row 399 holds one number"):
        PairStore(tmp_path / "s")


# -- streaming --------------------------------------------------------------------------------------------------------


def test_the_stream_resumes_and_shows_every_pair_once_an_epoch(store: Path, image_folder: Path) -> None:
    images, pairs = ImageSet(image_folder, 16), PairStore(store)

    def stream(start: int = 0) -> Any:
        return (b.pairs for b in Feed(images, pairs=pairs).batches(10, 0, start=start))

    whole = list(islice(stream(), 10))
    first = torch.cat([p.z for p in whole[:5]])
    assert len(torch.unique(first, dim=0)) == 50
    assert not torch.equal(first, torch.cat([p.z for p in whole[5:]]))
    later = list(islice(stream(70), 3))
    for a, b in zip(whole[7:], later, strict=True):
        assert torch.equal(a.z, b.z)
        assert torch.equal(a.label, b.label)
        assert torch.equal(a.image, b.image)


def test_many_files_are_read_a_window_at_a_time() -> None:
    files = [5] * (3 * WINDOW)
    order = [i for batch in islice(EndlessShuffle(files, 5, 0, stream=1), len(files)) for i, _ in batch]
    assert sorted(order) == list(range(sum(files)))
    for start in range(0, len(order), 5 * WINDOW):
        assert len({i // 5 for i in order[start : start + 5 * WINDOW]}) == WINDOW
    assert order != [i for batch in islice(EndlessShuffle(files, 5, 0, stream=2), len(files)) for i, _ in batch]


def test_workers_read_the_same_pairs(store: Path, image_folder: Path) -> None:
    feed = Feed(ImageSet(image_folder, 16), pairs=PairStore(store))
    alone, helped = (
        [b.pairs.z for b in islice(feed.batches(10, 1, workers=workers), 3) if b.pairs is not None]
        for workers in (0, 1)
    )
    assert torch.equal(torch.cat(alone), torch.cat(helped))
