"""Work in several processes, which end with the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from distilgan.errors import RunFailed

J = TypeVar("J")
R = TypeVar("R")


def in_processes(
    work: Callable[[J], R], jobs: Iterable[J], workers: int, threads: int = 1, chunk: int = 1
) -> Iterator[R]:
    """The results of `work` on each job, in their order.

    Args:
        threads: of torch in each process. chunk: jobs that a process takes at once.

    Raises:
        RunFailed: a process was killed.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(threads,))
    try:
        yield from pool.map(work, jobs, chunksize=chunk)
    except BrokenProcessPool as error:
        raise RunFailed(
            "a worker process was killed, perhaps for want of memory; the same command goes on, with fewer --workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed starter lets go of its locks: its workers must not go on writing."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
