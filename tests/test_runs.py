"""What a run folder gives back of its log."""

from __future__ import annotations

import json
from pathlib import Path

from distilgan.runs import open_log, read_log


def test_a_log_goes_on_after_its_last_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    assert read_log(path) == []
    reports = [{"images": n, "terms": {"gan": n / 8}} for n in (8, 16, 24)]
    path.write_text("".join(f"{json.dumps(r)}\n" for r in reports))
    with open_log(path, seen=16) as log:
        log.write(json.dumps({"images": 32, "terms": {}}) + "\n")
    assert read_log(path) == [*reports[:2], {"images": 32, "terms": {}}]


def test_damaged_lines_of_a_log_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(
        b'[1]\n\x00\xff\n{}\nnull\n{"images": 8, "terms": {"gan": "x"}}\n{"images": 8, "terms": {"gan": 1}}\n{"ima'
    )
    assert read_log(path) == [{"images": 8, "terms": {"gan": 1.0}}]
