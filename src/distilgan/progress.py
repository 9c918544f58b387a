"""What a person watches: a bar with images/s and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} images/s" if task.speed else "")


class Progress:
    """Counts images up to `total`."""

    def __init__(self, total: int, seen: int, enabled: bool = True) -> None:
        self._total, self._enabled = total, enabled
        console = Console(stderr=True)
        self._bar = (
            RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                _Rate(),
                TimeRemainingColumn(),
                console=console,
            )
            if enabled and console.is_terminal
            else None
        )
        self._seen, self._start, self._first = seen, time.monotonic(), seen
        self._last_line = 0.0

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("training", total=self._total, completed=self._seen)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, seen: int) -> None:
        self._seen = seen
        if self._bar is not None:
            self._bar.update(self._task, completed=seen)

    def show(self, means: dict[str, float]) -> None:
        """Report the newest loss terms; without a terminal at most one line in ten seconds."""
        terms = "  ".join(
            f"{name} {value:.3f}" for name, value in means.items() if not name.startswith(("gradient", "score"))
        )
        if self._bar is not None:
            self._bar.update(self._task, description=f"training  {terms}"[:90])
        elif self._enabled and (time.monotonic() - self._last_line > 10 or self._seen == self._total):
            self._last_line = time.monotonic()
            rate = (self._seen - self._first) / max(time.monotonic() - self._start, 1e-9)
            left = (self._total - self._seen) / max(rate, 1e-9)
            print(
                f"{self._seen}/{self._total} images  {rate:.1f} images/s  {left:.0f} s left  {terms}",
                file=sys.stderr,
                flush=True,
            )

    def message(self, text: str) -> None:
        if self._enabled:
            print(text, file=sys.stderr, flush=True)


@contextmanager
def counter(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that counts things done, shown as a bar on a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    if not console.is_terminal:
        done, last = 0, time.monotonic()

        def tell(n: int) -> None:
            nonlocal done, last
            done += n
            if n and (time.monotonic() - last > 10 or done == total):
                last = time.monotonic()
                print(f"{what} {done}/{total}", file=sys.stderr, flush=True)

        yield tell
        return
    with RichProgress(*columns, console=console) as bar:
        task = bar.add_task(what, total=total)
        yield lambda n: bar.advance(task, n)


@contextmanager
def steps(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that is told how many are done of how many, shown as a bar on a terminal once it is called."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar, task, last = RichProgress(*columns, console=console), None, time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal task, last
        if console.is_terminal:
            if task is None:
                bar.start()
                task = bar.add_task(what, total=total)
            bar.update(task, completed=done, total=total)
        elif time.monotonic() - last > 10:
            last = time.monotonic()
            print(f"{what} {done}/{total}", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        if task is not None:  # or it would print an empty line
            bar.stop()
