"""How a command can end badly: the user can mend it (exit status 2), it failed (1), or it was told to stop (128 + signal)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something the user can mend: the message is one line that names the file or key and the cure."""


class RunFailed(Exception):
    """The work itself failed (a diverged training, a full disk); the message is one line that says what is safe."""


class Interrupted(Exception):
    """SIGTERM or SIGINT arrived; the state was saved first."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"signal {signal_number}")
        self.signal_number = signal_number


def near_names(name: str, known: Iterable[str]) -> str:
    """`"; did you mean a, b?"` for an unknown name, or the list of all when nothing is near."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"; did you mean {', '.join(near)}?"
    return f"; known: {', '.join(names)}"


@contextmanager
def named(key: str, name: str) -> Iterator[None]:
    """A complaint about what `name` stands for also says which key of a recipe or option gave it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{key}={name}: {str(error).removeprefix(f'{name}: ')}") from error
