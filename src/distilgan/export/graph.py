"""From a torch module to an ONNX graph."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

OPSET = 18


@dataclass
class Part:
    """One file of an export.

    Attributes:
        model: the ONNX graph. reference: what computes the same in torch, from inputs of the same names.
        draw: n inputs to compare them on; None: N(0, 1), and classes in their range.
    """

    model: Any
    reference: Callable[..., Tensor]
    draw: Callable[[int, torch.Generator], dict[str, Tensor]] | None = None


@dataclass
class Layout:
    """The files of a network.

    Attributes:
        facts: its inputs and outputs, for export.json. stored: what files carry in themselves. parts: makes them, and may
            add to `facts`.
    """

    facts: dict[str, Any]
    stored: dict[str, Any]
    parts: Callable[[], dict[str, Part]]


def to_graph(
    module: nn.Module, inputs: dict[str, Tensor], output: str, dynamic: dict[str, dict[int, Any]] | None = None
) -> Any:
    """The module as an ONNX model with a dynamic first dimension, without the source positions that the exporter adds.

    Args:
        dynamic: further dimensions of inputs that may change.
    """
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet("torch.onnx", "onnxscript"):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=[output],
            dynamic_shapes={
                name: (None if name == "truncation" else {0: batch, **(dynamic or {}).get(name, {})}) for name in inputs
            },
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    fixed = [
        i.name for i in model.graph.input if i.name != "truncation" and not i.type.tensor_type.shape.dim[0].dim_param
    ]
    assert not fixed, f"the batch of {fixed} is fixed"
    model.doc_string = ""
    for part in [*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info]:
        part.doc_string = ""
        del part.metadata_props[:]
    del model.graph.metadata_props[:], model.metadata_props[:]
    return model


@contextlib.contextmanager
def _quiet(*names: str) -> Iterator[None]:
    loggers = [logging.getLogger(n) for n in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
