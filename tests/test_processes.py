"""Work in several processes; that they end with their starter is in tests/data/test_pair_writer.py."""

from __future__ import annotations

import os
import signal

import pytest

from distilgan.errors import RunFailed, UserError
from distilgan.processes import in_processes


def square(n: int) -> int:
    if n == 13:
        raise UserError("13: unlucky")
    if n == 99:
        os.kill(os.getpid(), signal.SIGKILL)
    return n * n


def test_results_come_in_order() -> None:
    assert list(in_processes(square, range(7), workers=2, chunk=2)) == [n * n for n in range(7)]


def test_what_goes_wrong_in_a_process_is_said_by_its_starter() -> None:
    with pytest.raises(UserError, match="13: unlucky"):
        list(in_processes(square, [1, 13, 2], workers=1))


def test_a_killed_process_ends_the_work() -> None:
    with pytest.raises(RunFailed, match="a worker process was killed"):
        list(in_processes(square, [1, 99, 2], workers=2))
