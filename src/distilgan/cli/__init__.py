"""The command line: one short function a verb. Heavy imports live inside the verbs, so that --help answers at once."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from distilgan.cli import faces, generators, training, translation
from distilgan.cli.data import data_app
from distilgan.errors import Interrupted, RunFailed, UserError

app = typer.Typer(
    name="distilgan", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
for verb in (
    training.recipes, training.distill, training.train, generators.evaluate, generators.profile, generators.sample,
    generators.export, generators.convert, faces.frontalize, translation.translate,
):  # fmt: skip
    app.command()(verb)
app.add_typer(data_app, name="data")


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """Distil image generators: a big teacher becomes a small student, measured and exported."""
    if version:
        from distilgan import __version__

        print(__version__)
        raise typer.Exit


# typer carries its own copy of click, whose exceptions it does not export; this is the parent of its usage errors.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def main() -> None:
    """Run a verb: what the user can mend ends in one line and status 2, a failed run in one line and status 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without γ or ± shows ?
    try:
        status = app(prog_name="distilgan", standalone_mode=False)
    except UserError as error:
        _stop(f"error: {error}", 2)
    except _UsageError as error:
        message: str = error.format_message()  # type: ignore[attr-defined]
        if not message:  # help was shown
            sys.exit(2)
        _stop(f"error: {message.rstrip('.')} (see {_command_path(error)} --help)", 2)
    except RunFailed as error:
        _stop(f"failed: {error}", 1)
    except Interrupted as error:
        sys.exit(128 + error.signal_number)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except BrokenPipeError:  # the reader of a pipe left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        _stop(f"error: {error.filename or 'reading or writing'}: {error.strerror or error}", 2)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        _stop(
            "failed: out of memory; lower training.batch, training.micro_batch or --shard-size, or draw fewer pictures",
            1,
        )
    else:
        sys.exit(status if isinstance(status, int) else 0)


def _command_path(error: Exception) -> str:
    """The command that a usage error arose in, such as `distilgan data faces`."""
    context = getattr(error, "ctx", None)
    return context.command_path if context else "distilgan"


def _is_out_of_memory(error: Exception) -> bool:
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(w in str(error) for w in words)


def _stop(line: str, status: int) -> None:
    print(" ".join(line.split()), file=sys.stderr)
    sys.exit(status)
