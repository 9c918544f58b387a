"""Verbs for generators that are there: measure, draw, export, convert."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from distilgan.cli.options import Device, Json, check_device, print_costs, print_json
from distilgan.cli.translation import evaluate_translator
from distilgan.errors import UserError


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
    teacher_truncation: Annotated[
        float | None,
        typer.Option(help="And the teacher's; default: that of its pairs.", min=-2, max=2, show_default=False),
    ] = None,
    identity: Annotated[
        str | None, typer.Option(help="Of turned faces: network that tells people apart.", show_default=False)
    ] = None,
    style: Annotated[
        str | None, typer.Option(help="Of translations: pictures in the style to measure against.", show_default=False)
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Of translations: folder for every photo beside its translation.", show_default=False),
    ] = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Measure generated images, turned faces or translations: quality, agreement with the teacher, cost.

    A run as its recipe says.
    """
    check_device(device)
    from dataclasses import asdict

    from distilgan.evaluation.faces.named import turns_faces
    from distilgan.evaluation.translation.named import translates

    if translates(source):
        for_others = {
            "--samples": samples, "--reference": reference, "--truncation": truncation,
            "--teacher-truncation": teacher_truncation, "--identity": identity,
        }  # fmt: skip
        if wrong := [name for name, value in for_others.items() if value is not None]:
            raise UserError(
                f"{wrong[0]}: {source} translates photos; it takes --data, --style, --teacher and --pictures"
            )
        return evaluate_translator(source, data, style, teacher, extractor, pictures, device, json)
    if style is not None or pictures is not None:
        option = "--pictures" if style is None else "--style"
        raise UserError(f"{option}: {source} translates no photos; leave it out")
    if turns_faces(source):
        for_others = {
            "--samples": samples, "--reference": reference, "--extractor": extractor, "--truncation": truncation,
            "--teacher-truncation": teacher_truncation,
        }  # fmt: skip
        if wrong := [name for name, value in for_others.items() if value is not None]:
            raise UserError(f"{wrong[0]}: {source} turns faces; it takes --data, --teacher and --identity")
        return _evaluate_frontal(source, data, teacher, identity, device, json)
    if identity is not None:
        raise UserError(f"--identity: {source} turns no faces; leave it out")

    from distilgan.evaluation.card import figure
    from distilgan.evaluation.evaluate import evaluate as measure
    from distilgan.evaluation.protocol import protocol_for

    protocol, known = protocol_for(
        source,
        data=data,
        samples=samples,
        reference=reference,
        extractor=extractor,
        truncation=truncation,
        teacher_truncation=teacher_truncation,
        device=device,
    )
    result = measure(source, protocol, teacher or known)
    for path, skipped in result.protocol["skipped"].items():
        print(f"{path}: {skipped} unusable files are left out", file=sys.stderr)
    if protocol.data is None:
        print("cost only; give --data for FID, KID, precision and recall, --teacher for agreement", file=sys.stderr)
    if json:
        return print_json(asdict(result))
    for name, value in result.metrics.items():
        beside = f"   teacher {figure(result.teacher[name])}" if name in result.teacher else ""
        print(f"{name:36} {figure(value):>10}{beside}")
    print_costs(result.cost)


def _evaluate_frontal(
    source: str, data: str | None, teacher: str | None, identity: str | None, device: str, json: bool
) -> None:
    from dataclasses import asdict

    from distilgan.evaluation.card import figure
    from distilgan.evaluation.faces.named import evaluate_named
    from distilgan.evaluation.faces.report import protocol_sentence

    result = evaluate_named(source, data, teacher, identity, device)
    if json:
        return print_json(asdict(result))
    for name, value in result.metrics.items():
        beside = [
            f"{who} {figure(o[name])}"
            for who, o in (("teacher", result.teacher), ("unturned", result.profile))
            if name in o
        ]
        print(f"{name:20} {figure(value):>10}   {'   '.join(beside)}")
    print_costs(result.cost)
    print(protocol_sentence(result).replace("`", ""))


def profile(
    target: Annotated[str, typer.Argument(help="Run, folder, ONNX file, or a network by name: stylegan2, tpgan.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            show_default=False,
            help="Of stylegan2: resolution, channel_base, channel_max, keep, z_dim, w_dim, mapping_layers. Of tpgan: preset "
            "(teacher, report-student, light, tiny), resolution, width, local_width, fused, z_dim, identities.",
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
    print_json(facts) if json else print_costs({target: facts})


def sample(
    source: Annotated[str, typer.Argument(help="Run, generator folder or ONNX file.")],
    out: Annotated[Path, typer.Argument(help="A .png for a grid, or a folder for single pictures.")],
    count: Annotated[int, typer.Option(help="How many pictures.", min=1)] = 16,
    seed: Annotated[int, typer.Option(help="Seed of the latents.", min=0, max=2**53)] = 0,
    truncation: Annotated[
        float | None,
        typer.Option(help="Truncation psi; default: an ONNX file's own, else 1.", min=-2, max=2, show_default=False),
    ] = None,
    label: Annotated[int | None, typer.Option(help="Class to draw; default: all in turn.", show_default=False)] = None,
) -> None:
    """Draw pictures."""
    from distilgan.evaluation.sources import write_pictures
    from distilgan.files import disk_full_is_a_message

    with disk_full_is_a_message(out):
        print(write_pictures(source, out, count, seed, truncation, label))


def export(
    source: Annotated[str, typer.Argument(metavar="RUN", help="Run or generator folder.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write; default RUN/export.", show_default=False)] = None,
    truncation: Annotated[
        float, typer.Option(help="Baked into a network with statistics for several; others take it as an input.")
    ] = 1.0,
    json: Json = False,
) -> None:
    """Write ONNX files, checked against torch."""
    from distilgan.export.onnx import export_onnx
    from distilgan.networks.pretrained import Pretrained, read_config
    from distilgan.runs import generator_folder, load_model

    if out is None and source.startswith("builtin:"):
        raise UserError(f"{source}: is part of the package; say with --out where the files go")
    folder = out or Path(source) / "export"
    facts = export_onnx(load_model(source, Pretrained), folder, truncation, read_config(generator_folder(source)))
    if json:
        return print_json(facts)
    for name, file in facts["files"].items():
        size = file["bytes"] / 1e6
        print(f"{folder / name}  {size:.2f} MB  largest difference from torch {file['max_difference_from_torch']:.1e}")


def convert(
    source: Annotated[Path, typer.Argument(help="Checkpoint of another project, or the folder that holds it.")],
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    layout: Annotated[
        str | None,
        typer.Option(
            help="huggingface, ajbrock, studiogan, stylegan2 or cut; default: recognised.", show_default=False
        ),
    ] = None,
    eps: Annotated[
        float | None,
        typer.Option(help="Epsilon of a BigGAN's normalisations, if not the project's own.", min=0, show_default=False),
    ] = None,
    licence: Annotated[str, typer.Option(help="Terms of the weights, recorded.")] = "",
) -> None:
    """Make a generator's folder of another project's checkpoint."""
    from distilgan.networks.generator import ImageGenerator
    from distilgan.teachers.convert import convert as convert_checkpoint

    network = convert_checkpoint(source, out, layout, eps, licence)
    facts = f"{out}: {network.family}, {network.config.resolution} px"
    if isinstance(network, ImageGenerator):
        facts += f", {network.num_classes} classes, takes {network.latent.words}"
    print(facts)
