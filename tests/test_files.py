from __future__ import annotations

import errno
from pathlib import Path

import pytest

from distilgan.errors import RunFailed
from distilgan.files import new_folder, write_atomic


def test_a_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunFailed, match=r"disk full while writing .*a\.txt.*free some space"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_replaces_the_old_one_only_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "f"
    with new_folder(target) as folder:
        (folder / "x").write_text("1")

    def fail() -> None:
        with new_folder(target) as folder:
            (folder / "x").write_text("2")
            raise OSError("boom")

    with pytest.raises(OSError, match="boom"):
        fail()
    assert (target / "x").read_text() == "1"
    with new_folder(target) as folder:
        (folder / "y").write_text("3")
    assert sorted(p.name for p in target.iterdir()) == ["y"]
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
