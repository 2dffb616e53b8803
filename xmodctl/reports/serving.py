"""Lines of Python with which an exported model predicts, without xmodctl: what `export` prints and model cards show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xmodctl.kinds import KINDS, Usage
from xmodctl.run.trained import settled_task

if TYPE_CHECKING:
    from xmodctl.catalog.task import Task
    from xmodctl.run.run import Run


@dataclass(frozen=True)
class Served:
    """An exported model, as the lines name it."""

    name: str  # its folder, or its repository
    task: "Task"
    languages: Sequence[str]  # its adapters
    language: str  # the one that the lines choose
    max_length: int  # tokens of a text that the model reads in training and scoring
    is_graph: bool = False  # an ONNX graph, of one language


def served_model(run: "Run", seed: int, languages: Sequence[str], name: str, *, is_graph: bool = False) -> Served:
    """Return the model of a seed of a run; the lines choose the training language if it is exported.

    Args:
        run: The run.
        seed: Its seed.
        languages: The adapters that are exported.
        name: The folder of the exported model, or its repository.
        is_graph: Whether it is an ONNX graph.
    """
    source = run.plan.source_languages[0]
    language = source if source in languages else languages[0]
    return Served(name, settled_task(run, seed), languages, language, run.plan.recipe.max_length, is_graph)


def serving_lines(served: Served) -> str:
    """Return the lines that load a model, choose the adapter of a language, and predict.

    A pipeline of transformers is used if one gives the predictions of `xmodctl predict`.
    """
    return pipeline_lines(served) or class_lines(served)


def pipeline_lines(served: Served) -> str:
    """Return the lines with a pipeline; empty if transformers has none for the kind or the format."""
    kind = KINDS[served.task.kind]
    usage = kind.usage(served.task)
    if served.is_graph or not usage.pipeline:
        return ""
    settings = [repr(kind.pipeline), f"model={served.name!r}"]
    settings += [usage.settings] if usage.settings else []
    if kind.head == "sequence":  # the pipeline of tokens always truncates, where the model ends
        settings += ["truncation=True", f"max_length={served.max_length}"]
    lines = ["from transformers import pipeline", "", f"predict = pipeline({', '.join(settings)})"]
    if len(served.languages) > 1:
        lines.append(f"predict.model.set_default_language({served.language!r})")
    return "\n".join([*lines, usage.pipeline])


def class_lines(served: Served) -> str:
    """Return the lines with the model's class, or with the runtime of its graph."""
    kind = KINDS[served.task.kind]
    usage = kind.usage(served.task)
    if served.is_graph:
        return _graph_lines(served.name, usage)
    return "\n".join(
        [
            f"from transformers import {kind.auto_class}, AutoTokenizer",
            "",
            f"tokenizer = AutoTokenizer.from_pretrained({served.name!r})",
            f"model = {kind.auto_class}.from_pretrained({served.name!r}).eval()",
            f"model.set_default_language({served.language!r})  # the language of the texts that follow",
            f"inputs = {usage.inputs}",
            "outputs = model(**inputs)",
            usage.output,
        ]
    )


def _graph_lines(name: str, usage: Usage) -> str:
    return "\n".join(
        [
            "from types import SimpleNamespace",
            "",
            "from onnxruntime import InferenceSession",
            "from transformers import AutoConfig, AutoTokenizer",
            "",
            f"tokenizer = AutoTokenizer.from_pretrained({name!r})",
            f"model = SimpleNamespace(config=AutoConfig.from_pretrained({name!r}))",
            f"session = InferenceSession({name + '/model.onnx'!r})",
            "names = [output.name for output in session.get_outputs()]",
            f"inputs = {usage.inputs.replace(_TORCH, _NUMPY)}",
            "outputs = SimpleNamespace(**dict(zip(names, session.run(None, dict(inputs)))))",
            usage.output,
        ]
    )


_TORCH, _NUMPY = 'return_tensors="pt"', 'return_tensors="np"'
