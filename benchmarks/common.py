"""What the benchmarks share: where results go and what machine made them."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from distilgan.evaluation.cost import latency
from distilgan.evaluation.protocol import thousands
from distilgan.evaluation.sources import OnnxFile, drawn_inputs
from distilgan.export.onnx import export_onnx
from distilgan.networks.pretrained import Pretrained, weights_sha256
from distilgan.pipeline import execute
from distilgan.processes import in_processes
from distilgan.recipe import AnyRecipe, load_recipe
from distilgan.runs import load_model

HERE = Path(__file__).parent
RESULTS = HERE / "results"
RUNS = HERE / "runs"
SEEDS = [0, 1, 2]
Runs = dict[str, Callable[[], object]]


@dataclass(frozen=True)
class Table:
    """Rows, images of each run, seeds; `changes` to all of its recipes besides."""

    rows: list[str]
    images: int
    seeds: list[int] = field(default_factory=lambda: SEEDS)
    changes: list[str] = field(default_factory=list)


def machine() -> dict[str, Any]:
    """Kind of machine, without its name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), platform.processor())
    return {
        "cpu": cpu,
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def in_turn(runs: Runs, rounds: int) -> dict[str, list[float]]:
    """Seconds of each run, once a round."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(seconds: dict[str, list[float]], slow: str, fast: str) -> float:
    return statistics.median(s / f for s, f in zip(seconds[slow], seconds[fast], strict=True))


def no_inputs(recipe: AnyRecipe, device: str) -> list[str]:
    return []


def no_facts(first: dict[str, Any], samples: str) -> dict[str, Any]:
    return {}


def drawn_protocol(first: dict[str, Any]) -> dict[str, Any]:
    """How figures of a generator of pictures from latents were made, of metrics.json."""
    p = first["protocol"]
    return {
        "reference": p["reference_data"],
        **{k: p[k] for k in ("samples", "reference_images", "held_out", "extractor")},
    }


@dataclass(frozen=True)
class Timing:
    """How the time of one picture is taken: `calls` after `warmup` uncounted ones in each of `rounds`; files take turns."""

    threads: int = 1
    rounds: int = 10
    calls: int = 50
    warmup: int = 20

    @property
    def sentence(self) -> str:
        threads = "one thread" if self.threads == 1 else f"{self.threads} threads"
        return f"ONNX Runtime, one picture, {threads}, median over rounds, files in turn"

    def medians(self, calls: list[Callable[[], object]]) -> list[tuple[float, float]]:
        """Median milliseconds of each, and its ratio to the first's in the same round: a slow moment hits all alike."""
        times = [
            [latency({"": call}, rounds=self.calls, warmup=self.warmup)[""]["p50"] for call in calls]
            for _ in range(self.rounds)
        ]
        return [
            (statistics.median(column), statistics.median(ms / row[0] for ms, row in zip(column, times, strict=True)))
            for column in zip(*times, strict=True)
        ]


def drawn_once(path: Path) -> Callable[[], object]:
    """One picture of an exported generator, on one thread."""
    source = OnnxFile(path, path.name, threads=1)
    inputs = next(drawn_inputs(source.latent, source.num_classes, 1, 0))
    return lambda: source.images(inputs)


@dataclass(frozen=True)
class Benchmark:
    """Tables of runs: rows by seeds.

    Args:
        name: of its results and folders. teacher: whose row comes first.
        rows: name -> the packaged recipe and the changes to it. common: changes to all.
        tables: by name; the first one's result has the benchmark's name alone.
        metrics: our name of a figure -> where metrics.json has it.
        inputs: more changes that a row's recipe needs, which `rows` cannot know (the device is given).
        facts: what the protocol says besides, of the first run.
        protocol: how metrics.json says that its figures were made. once: a call that makes one picture with an exported file.
        timing: of such calls. network_once: a call that makes one picture with a network's folder in torch, if that is timed too.
    """

    name: str
    teacher: str
    rows: dict[str, tuple[str, list[str]]]
    common: list[str]
    tables: dict[str, Table]
    metrics: dict[str, str]
    inputs: Callable[[AnyRecipe, str], list[str]] = no_inputs
    facts: Callable[[dict[str, Any], str], dict[str, Any]] = no_facts
    protocol: Callable[[dict[str, Any]], dict[str, Any]] = drawn_protocol
    once: Callable[[Path], Callable[[], object]] = drawn_once
    timing: Timing = Timing()
    network_once: Callable[[str], Callable[[], object]] | None = None

    def main(self, doc: str) -> None:
        """Read the command line, make the runs, write the table."""
        parser = argparse.ArgumentParser(description=doc.splitlines()[0])
        parser.add_argument("--table", choices=list(self.tables), default=next(iter(self.tables)))
        parser.add_argument("--images", type=int, help="budget of each run; default: the table's")
        parser.add_argument("--seeds", type=int, nargs="+", help="default: the table's")
        parser.add_argument("--rows", nargs="+", choices=list(self.rows), help="default: the table's")
        parser.add_argument("--device", default="cpu")
        parser.add_argument("--jobs", type=int, default=1, help="runs side by side, with one thread each")
        given = parser.parse_args()
        published = self.tables[given.table]
        table = replace(
            published,
            rows=given.rows or published.rows,
            images=given.images or published.images,
            seeds=given.seeds or published.seeds,
        )

        # One seed of every row before the next seed: a table of fewer seeds is complete early.
        jobs = [(n, s, table, given.device) for s in table.seeds for n in table.rows]
        found = in_processes(self._run, jobs, given.jobs) if given.jobs > 1 else map(self._run, jobs)
        done = {(name, seed): tree for (name, seed, *_), tree in zip(jobs, found, strict=True)}
        results = {name: [done[name, seed] for seed in table.seeds] for name in table.rows}
        export = RUNS / self.name / "teacher-onnx"
        teacher = load_model(self.teacher, Pretrained)
        export_onnx(teacher, export)
        first = next(iter(results.values()))[0]
        p = first["protocol"]
        samples = thousands(p.get("samples", p.get("photo_crops", 0)))
        metrics = {name: key.format(samples) for name, key in self.metrics.items()}
        rows = self._rows(results, export / "model.onnx", metrics, table.seeds)
        protocol = {
            "teacher_sha256": weights_sha256(teacher),
            "images": table.images,
            **self.protocol(first),
            "trained": distinct(r["protocol"].get("trained") for runs in results.values() for r in runs),
            "common": [*self.common, *(change.replace(f"{RUNS}", "benchmarks/runs") for change in table.changes)],
            "latency": self.timing.sentence,
            **self.facts(first, samples),
        }
        command = " ".join([f"python benchmarks/{self.name}.py", *sys.argv[1:]])
        file = self.name if given.table == next(iter(self.tables)) else f"{self.name}-{given.table}"
        print(
            write(
                file, table == published, {"command": command, "protocol": protocol, "machine": machine(), "rows": rows}
            )
        )

    def _rows(
        self, results: dict[str, list[dict[str, Any]]], teacher_onnx: Path, metrics: dict[str, str], seeds: list[int]
    ) -> list[dict[str, Any]]:
        """The teacher's first, then one for each name in `results` (metrics.json of each seed).

        `metrics` says where metrics.json has each figure; one that a row does not have is left out.
        """
        folders = {name: Path(runs[0]["folder"]) for name, runs in results.items()}
        files = {"teacher": teacher_onnx, **{name: f / "export" / "model.onnx" for name, f in folders.items()}}
        exported = [name for name, file in files.items() if file.exists()]
        times = dict(zip(exported, self.timing.medians([self.once(files[name]) for name in exported]), strict=True))
        torch_times: dict[str, tuple[float, float]] = {}
        if self.network_once is not None:
            networks = {"teacher": self.teacher, **{name: str(folder) for name, folder in folders.items()}}
            calls = [self.network_once(network) for network in networks.values()]
            torch_times = dict(zip(networks, self.timing.medians(calls), strict=True))
        first = next(iter(results.values()))[0]
        rows = []
        for name in files:
            runs = results.get(name, [])
            found = [first["teacher"]] if not runs else [r["metrics"] for r in runs]
            measured = {n: summary([f[k] for f in found]) for n, k in metrics.items() if all(k in f for f in found)}
            cost = runs[0]["cost"]["student"] if runs else first["cost"]["teacher"]
            row = _row(name, cost, times.get(name), seeds if runs else [], measured)
            if name in torch_times:
                row["torch_ms"], row["torch_ratio_to_teacher"] = torch_times[name]
            rows.append(row)
        return rows

    def _run(self, job: tuple[str, int, Table, str]) -> dict[str, Any]:
        """An ordinary run below benchmarks/runs/; a finished one is only checked, an interrupted one goes on.

        Rows that ask for the same share their runs.
        """
        name, seed, table, device = job
        print(f"== {name}, seed {seed}", file=sys.stderr, flush=True)
        recipe_name, changes = self.rows[name]
        name = next(other for other, asked in self.rows.items() if asked == self.rows[name])
        images, every = table.images, max(table.images // 4, 1)
        overrides = [
            *self.common,
            f"training.images={images}",
            f"training.checkpoint={every}",
            f"training.sample={every}",
        ]
        overrides += [*changes, f"seed={seed}"]
        recipe = load_recipe(recipe_name, overrides)
        recipe = load_recipe(recipe_name, [*overrides, *self.inputs(recipe, device), *table.changes])
        words = [
            name.replace(", ", "-").replace(" ", "-"),
            f"{images}",
            f"seed{seed}",
            *(["changed"] if table.changes else []),
        ]
        folder = RUNS / self.name / "-".join(words)
        execute(recipe, folder, device)
        tree: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
        tree["folder"] = str(folder)
        return tree


def _row(
    name: str, cost: dict[str, Any], time: tuple[float, float] | None, seeds: list[int], metrics: dict[str, Any]
) -> dict[str, Any]:
    """`time`: None for what cannot be exported."""
    ms, ratio_to_teacher = time or (None, None)
    row = {"name": name, "params": cost["parameters"], "macs": cost["macs"]}
    if "parameters_mapping" in cost:
        row["params_without_mapping"] = cost["parameters"] - cost["parameters_mapping"]
    return {**row, "latency_ms": ms, "latency_ratio_to_teacher": ratio_to_teacher, "seeds": seeds, "metrics": metrics}


def distinct(items: Iterable[Any]) -> list[Any]:
    """Each of the items once, in their order."""
    found: list[Any] = []
    for item in items:
        if item not in found:
            found.append(item)
    return found


def summary(values: list[float]) -> dict[str, Any]:
    """Mean, sample deviation and the values themselves."""
    sd = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "sd": sd, "values": values}


def write(name: str, whole: bool, tree: dict[str, Any]) -> Path:
    """Write a table; one that is not `whole` does not replace the published one."""
    folder = RESULTS if whole else RUNS
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(tree, indent=1) + "\n")
    return path
