"""The command line: one short function a verb. Heavy imports live inside the verbs, so that --help answers at once."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distilgan.errors import Interrupted, RunFailed, UserError

if TYPE_CHECKING:
    from distilgan.recipe import GANRecipe, StyleKDRecipe

app = typer.Typer(
    name="distilgan", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
data_app = typer.Typer(no_args_is_help=True, help="Make or check image sets.")
app.add_typer(data_app, name="data")

RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="Name of a packaged recipe, or a .yaml file.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE", help="Recipe keys to change; `distilgan recipes RECIPE` lists them.", show_default=False
    ),
]
Out = Annotated[Path | None, typer.Option("--out", help="Run folder; default runs/RECIPE.", show_default=False)]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of everything random.", show_default=False)]
Device = Annotated[str, typer.Option("--device", help="cpu or cuda.")]
Precision = Annotated[
    str | None,
    typer.Option("--precision", help="32 or bf16; default: what the hardware does fast.", show_default=False),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start over instead of going on.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="Shrink everything to seconds on a CPU.")]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Check and show what would run, do nothing.")]
Truncation = Annotated[
    float, typer.Option(help="Truncation psi: 1 keeps all variety, 0 shows the average.", min=-2, max=2)
]
Json = Annotated[bool, typer.Option("--json", help="Print figures as JSON.")]


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """Distil image generators: a big teacher becomes a small student, measured and exported."""
    if version:
        from distilgan import __version__

        print(__version__)
        raise typer.Exit


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(metavar="[RECIPE]", help="Show its keys.", show_default=False)] = None,
    json: Json = False,
) -> None:
    """List the packaged recipes, or the keys of one with values and meanings."""
    from json import dumps

    from distilgan.recipe import described, load_recipe, packaged

    if name is not None:
        keys = described(load_recipe(name))
        if json:
            return _print_json({key: {"value": value, "meaning": text} for key, (value, text) in keys.items()})
        for key, (value, text) in keys.items():
            print(f"{key}={value if isinstance(value, str) else dumps(value)}".ljust(40), text)
        return None
    found = {name: load_recipe(name) for name in packaged()}
    if json:
        return _print_json({name: {"method": r.method, "description": r.description} for name, r in found.items()})
    for name, recipe in found.items():
        print(f"{name:28} {'train' if recipe.method == 'gan' else 'distill':8} {recipe.description}")
    return None


@app.command()
def distill(
    recipe: RecipeName, overrides: Overrides = None, out: Out = None, seed: Seed = None, device: Device = "cpu",
    precision: Precision = None, fresh: Fresh = False, smoke: Smoke = False, dry_run: DryRun = False, json: Json = False,
) -> None:  # fmt: skip
    """Make a student from a teacher: train, export, measure, report."""
    _execute("distill", recipe, overrides, out, seed, device, precision, fresh, smoke, dry_run, json)


@app.command()
def train(
    recipe: RecipeName, overrides: Overrides = None, out: Out = None, seed: Seed = None, device: Device = "cpu",
    precision: Precision = None, fresh: Fresh = False, smoke: Smoke = False, dry_run: DryRun = False, json: Json = False,
) -> None:  # fmt: skip
    """Train a generator on images: a teacher."""
    _execute("train", recipe, overrides, out, seed, device, precision, fresh, smoke, dry_run, json)


@app.command()
def evaluate(
    source: Annotated[str, typer.Argument(help="Run, generator folder, ONNX file, image folder or zip.")],
    data: Annotated[str | None, typer.Option(help="Images to measure against.", show_default=False)] = None,
    teacher: Annotated[str | None, typer.Option(help="Generator to compare pictures with.", show_default=False)] = None,
    samples: Annotated[
        int | None,
        typer.Option(help="Images to draw; default: the run's recipe, else 1000.", min=8, show_default=False),
    ] = None,
    reference: Annotated[
        int | None, typer.Option(help="Use the first so many images of the data.", min=8, show_default=False)
    ] = None,
    extractor: Annotated[
        str | None,
        typer.Option(
            help="efficientnet-lite0 or inception:PATH; default: the run's, else the first.", show_default=False
        ),
    ] = None,
    truncation: Annotated[
        float | None,
        typer.Option(help="Truncation psi; default: the run's, else 1.", min=-2, max=2, show_default=False),
    ] = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Measure generated images: fidelity, agreement with the teacher, cost. A run is measured as its recipe says."""
    _check_device(device)
    from dataclasses import asdict

    from distilgan.evaluation.card import figure
    from distilgan.evaluation.evaluate import evaluate as measure
    from distilgan.evaluation.evaluate import protocol_for

    protocol, known = protocol_for(
        source,
        data=data,
        samples=samples,
        reference=reference,
        extractor=extractor,
        truncation=truncation,
        device=device,
    )
    result = measure(source, protocol, teacher or known)
    for path, skipped in result.protocol["skipped"].items():
        print(f"{path}: {skipped} unusable files are left out", file=sys.stderr)
    if protocol.data is None:
        print("cost only; give --data for FID, KID, precision and recall, --teacher for agreement", file=sys.stderr)
    if json:
        return _print_json(asdict(result))
    for name, value in result.metrics.items():
        beside = f"   teacher {figure(result.teacher[name])}" if name in result.teacher else ""
        print(f"{name:36} {figure(value):>10}{beside}")
    _print_costs(result.cost)


@app.command()
def profile(
    target: Annotated[str, typer.Argument(help="Run, generator folder, ONNX file, or stylegan2: a network by name.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            show_default=False,
            help="Of stylegan2: resolution, channel_base, channel_max, keep, z_dim, w_dim, mapping_layers.",
        ),
    ] = None,
    runs: Annotated[int, typer.Option(help="Timed forwards.", min=1)] = 20,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads; default: torch's.", min=1, show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Count parameters and multiply-adds, measure memory and time of one picture."""
    from distilgan.evaluation.profile import profile_target

    facts = profile_target(target, overrides or [], runs, threads)
    _print_json(facts) if json else _print_costs({target: facts})


@app.command()
def sample(
    source: Annotated[str, typer.Argument(help="Run, generator folder or ONNX file.")],
    out: Annotated[Path, typer.Argument(help="A .png for a grid, or a folder for single pictures.")],
    count: Annotated[int, typer.Option(help="How many pictures.", min=1)] = 16,
    seed: Annotated[int, typer.Option(help="Seed of the latents.", min=0, max=2**53)] = 0,
    truncation: Truncation = 1.0,
) -> None:
    """Draw pictures."""
    from distilgan.evaluation.sources import write_pictures
    from distilgan.files import disk_full_is_a_message

    with disk_full_is_a_message(out):
        print(write_pictures(source, out, count, seed, truncation))


@app.command()
def export(
    source: Annotated[str, typer.Argument(metavar="RUN", help="Run or generator folder.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write; default RUN/export.", show_default=False)] = None,
    json: Json = False,
) -> None:
    """Write ONNX files, checked against torch."""
    from distilgan.evaluation.sources import load_stylegan2
    from distilgan.export.onnx import export_onnx

    if out is None and source.startswith("builtin:"):
        raise UserError(f"{source}: is part of the package; say with --out where the files go")
    folder = out or Path(source) / "export"
    facts = export_onnx(load_stylegan2(source), folder)
    if json:
        return _print_json(facts)
    for name, file in facts["files"].items():
        size = file["bytes"] / 1e6
        print(f"{folder / name}  {size:.2f} MB  largest difference from torch {file['max_difference_from_torch']:.1e}")


@data_app.command("faces")
def data_faces(
    out: Annotated[Path, typer.Argument(help="A new folder, or a .zip.")],
    count: Annotated[int, typer.Option(help="How many portraits.", min=1)] = 1000,
    size: Annotated[int, typer.Option(help="Pixels, 32 to 256.")] = 64,
    seed: Annotated[int, typer.Option(help="Seed of the people and the photographs.", min=0, max=2**53)] = 0,
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 1,
) -> None:
    """Render portraits of people who do not exist. The same command goes on where it stopped."""
    from distilgan.data.faces import render_set
    from distilgan.files import disk_full_is_a_message
    from distilgan.progress import counter

    with disk_full_is_a_message(out), counter("rendering", count) as advance:
        print(render_set(out, count, size, seed, workers, advance))


@data_app.command("check")
def data_check(
    path: Annotated[str, typer.Argument(help="Folder, zip or builtin:NAME.")],
    resolution: Annotated[
        int | None, typer.Option(help="Pixels; default: the first image's.", min=1, show_default=False)
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse unusable files.")] = False,
    json: Json = False,
) -> None:
    """Read a whole image set and name the files that cannot be used."""
    from distilgan.data.images import ImageSet

    images = ImageSet(path, resolution, strict=strict)
    images.check()
    if json:
        skipped = {s.name: s.reason for s in images.skipped}
        return _print_json({"images": len(images), "resolution": images.resolution, "skipped": skipped})
    print(f"{len(images)} images at {images.resolution} px, {len(images.skipped)} skipped")
    for skip in images.skipped:
        print(f"  {skip.name!r}: {skip.reason}")


# -- what the verbs share ---------------------------------------------------------------------------------------------


def _execute(
    verb: str, name: str, overrides: list[str] | None, out: Path | None, seed: int | None, device: str,
    precision: str | None, fresh: bool, smoke: bool, dry_run: bool, json: bool,
) -> None:  # fmt: skip
    _check_device(device)
    recipe = _recipe(verb, name, overrides, seed, precision, smoke)
    folder = out or Path("runs") / (f"{recipe.name}-smoke" if smoke else recipe.name)
    if dry_run:
        return _dry_run(recipe, folder, fresh, json)
    from distilgan.pipeline import execute, first_process

    run = execute(recipe, folder, device, fresh)
    if not first_process():
        return None
    if json:
        return print((run.path / "metrics.json").read_text(), end="")
    print(f"generator: {run.student}\nreport:    {run.path / 'report.html'}")


def _recipe(
    verb: str, name: str, overrides: list[str] | None, seed: int | None, precision: str | None, smoke: bool
) -> GANRecipe | StyleKDRecipe:
    from distilgan.recipe import load_recipe

    extra = list(overrides or [])
    extra += [] if seed is None else [f"seed={seed}"]
    extra += [] if precision is None else [f"training.precision='{precision}'"]
    recipe = load_recipe(name, extra, smoke)
    right = "train" if recipe.method == "gan" else "distill"
    if right != verb:
        raise UserError(f"{name} is a recipe for `distilgan {right}`")
    return recipe


def _dry_run(recipe: GANRecipe | StyleKDRecipe, folder: Path, fresh: bool, json: bool) -> None:
    from distilgan.pipeline import plan
    from distilgan.recipe import dump_recipe

    facts = plan(recipe, folder, fresh)
    if json:
        return _print_json({"recipe": recipe.model_dump(mode="json"), "plan": facts})
    print(dump_recipe(recipe))
    for key, value in facts.items():
        print(f"# {key}: {value:,}" if isinstance(value, int) else f"# {key}: {value}")


def _check_device(device: str) -> None:
    if device not in ("cpu", "cuda"):
        raise UserError(f"--device {device}: must be cpu or cuda")
    if device == "cuda":
        from distilgan.devices import use_device

        use_device(device)


def _print_json(tree: Any) -> None:
    import json

    print(json.dumps(tree, indent=1))


def _print_costs(costs: dict[str, dict[str, Any]]) -> None:
    for label, facts in costs.items():
        print(label)
        for key, value in facts.items():
            text = (
                f"{value:,}" if isinstance(value, int) else f"{value:.2f}" if isinstance(value, float) else str(value)
            )
            print(f"  {key:24} {text:>18}")


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
        _stop("failed: out of memory; lower training.batch or training.micro_batch, or draw fewer pictures", 1)
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


if __name__ == "__main__":
    main()
