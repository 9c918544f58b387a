"""Arguments that several verbs take, and what they do with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from distilgan.errors import UserError

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


def check_device(device: str) -> None:
    if device not in ("cpu", "cuda"):
        raise UserError(f"--device {device}: must be cpu or cuda")
    if device == "cuda":
        from distilgan.devices import use_device

        use_device(device)


def print_json(tree: Any) -> None:
    import json

    print(json.dumps(tree, indent=1))


def print_costs(costs: dict[str, dict[str, Any]]) -> None:
    for label, facts in costs.items():
        print(label)
        for key, value in facts.items():
            text = (
                f"{value:,}" if isinstance(value, int) else f"{value:.2f}" if isinstance(value, float) else str(value)
            )
            print(f"  {key:24} {text:>18}")
