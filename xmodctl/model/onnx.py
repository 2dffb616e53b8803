"""A model of one language as an ONNX graph, which is checked against the model before it is kept."""

import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xmodctl.core.errors import UserError
from xmodctl.core.files import disk_errors, whole_folder
from xmodctl.model.loading import load
from xmodctl.model.source import find, longest_input

GRAPH = "model.onnx"
"""The name of the graph in its folder, as optimum has it."""

PACKAGES = ("onnx", "onnxruntime", "onnxscript")

TOLERANCE = 1e-4
"""The most by which a logit of the graph may differ from the model's, and its share of the logit on top."""

BATCHES = 6
"""Batches that are compared: of 1 to 6 sequences, of the shortest to the longest input."""

LARGEST = 1_500_000_000
"""Bytes of weights that are kept in the graph's own file, which may have 2 GB; more are in a file beside it."""


NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
"""ONNX Runtime's variable against telemetry, which also leaves a file `.ses` in the temporary folder."""


def prepare_runtime() -> None:
    """Check that the packages that write and check a graph are installed, and turn off ONNX Runtime's telemetry.

    Raises:
        UserError: One is missing.
    """
    if not all(map(find_spec, PACKAGES)):
        raise UserError("--format onnx needs packages that are not installed; run: pip install 'xmodctl[onnx]'")
    os.environ.setdefault(NO_TELEMETRY, "1")  # read when the library is imported


def write_graph(folder: Path, head: str, out: Path, finish: Callable[[Path], None]) -> float:
    """Write a folder with the graph of an exported model of one language, its configuration, and its tokenizer.

    The inputs are `input_ids` and `attention_mask`, of any batch and length up to the model's; the outputs are
    `logits`, or `start_logits` and `end_logits`.

    Args:
        folder: The exported model; its default language is the one that the graph computes.
        head: The model's head.
        out: The folder to write; it appears when the graph has been checked.
        finish: Adds files to the folder before it appears.

    Returns:
        The largest difference between a logit of the graph and of the model.

    Raises:
        UserError: A difference is larger than `TOLERANCE`, or the folder cannot be written.
    """
    source = find(str(folder))
    model = load(source, head, source.languages)
    longest = longest_input(source.config)
    module = _Logits(model.module).eval()
    batches = list(_batches(int(source.config["vocab_size"]), model.module.config.pad_token_id, longest, head))
    with disk_errors(out), whole_folder(out, keep=True) as part:
        _export(module, batches[1], longest, part / GRAPH)
        for path in folder.iterdir():
            if path.suffix != ".safetensors":
                shutil.copy(path, part / path.name)
        difference = _difference(module, part / GRAPH, batches)
        finish(part)
    return difference


class _Logits(nn.Module):
    """A model as a function of ids and mask to its logits."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """Return the logits, or those of the start and the end."""
        outputs = self.module(input_ids=input_ids, attention_mask=attention_mask)
        return (outputs.start_logits, outputs.end_logits) if "start_logits" in outputs else (outputs.logits,)


def _batches(vocabulary: int, pad: int, longest: int, head: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield ids and masks of batches whose last sequence is padded: pieces drawn at random, of every length."""
    draw = torch.Generator().manual_seed(0)
    for number, length in enumerate(np.linspace(3, longest, BATCHES).astype(int).tolist(), start=1):
        shape = (number, 3, length) if head == "choice" else (number, length)
        ids = torch.randint(0, vocabulary, shape, generator=draw)
        ids[ids == pad] = 0 if pad else 1
        mask = torch.ones_like(ids)
        if number > 1:
            ids[-1, ..., length // 2 :], mask[-1, ..., length // 2 :] = pad, 0
        yield ids, mask


def _export(module: nn.Module, example: tuple[Tensor, Tensor], longest: int, path: Path) -> None:
    names = ["batch", "choices", "length"] if example[0].dim() == 3 else ["batch", "length"]
    dims = {place: torch.export.Dim(name) for place, name in enumerate(names[:-1])}
    dims[len(names) - 1] = torch.export.Dim("length", max=longest)
    with torch.no_grad():
        outputs = len(module(*example))
    with _quietly():
        program: Any = torch.onnx.export(
            module,
            example,
            dynamo=True,
            dynamic_shapes=(dims, dims),
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"] if outputs == 1 else ["start_logits", "end_logits"],
            verbose=False,
        )
        size = sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())
        program.save(str(path), external_data=size > LARGEST)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep back what the exporter says about its own parts."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _difference(module: nn.Module, graph: Path, batches: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Return the largest difference between logits of tokens that are no padding.

    Raises:
        UserError: It is larger than `TOLERANCE`.
    """
    from onnxruntime import InferenceSession

    session = InferenceSession(graph, providers=["CPUExecutionProvider"])
    largest = 0.0
    for ids, mask in batches:
        values = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        with torch.no_grad():
            wanted = [logits.numpy() for logits in module(ids, mask)]
        for value, logits in zip(values, wanted, strict=True):
            seen = mask.numpy() > 0 if logits.shape[: mask.dim()] == mask.shape else np.full(len(logits), True)
            difference = np.abs(value - logits)[seen]
            if not (difference <= TOLERANCE * (1 + np.abs(logits[seen]))).all():
                raise UserError(
                    f"the ONNX graph differs from the model by {difference.max():.1e} in a logit, more than "
                    f"{TOLERANCE:.0e}, and is not kept; instead, export with --format transformers"
                )
            largest = max(largest, float(difference.max()))
    return largest
