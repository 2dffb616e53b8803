"""`export`: a trained model as a plain transformers folder with a model card."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from xmodctl.core import hub
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, ModelLoading, Notice, warn
from xmodctl.core.files import PART, check_can_write, check_empty, make_parent, part_prefix, write_text
from xmodctl.core.requests import command
from xmodctl.reports.card import card
from xmodctl.reports.requests import ONNX, VECTORS, ExportRequest
from xmodctl.reports.serving import served_model, serving_lines

if TYPE_CHECKING:
    from xmodctl.adapters.mixtures import Attached
    from xmodctl.model import Source
    from xmodctl.run.run import Run


@dataclass(frozen=True)
class Export:
    """An exported model."""

    folder: Path
    languages: tuple[str, ...]  # the adapters in it
    url: str | None = None  # the repository on the Hub, if it was uploaded
    auto_class: str = "AutoModel"  # the class of transformers, or SentenceTransformer, that loads it
    lines: str = ""  # of Python, which load it and predict
    one_language: str = ""  # the command that exports one of several languages alone

    def to_json(self) -> dict[str, Any]:
        """Return the export as plain JSON values."""
        return {
            "folder": str(self.folder), "languages": list(self.languages), "url": self.url,
            "auto_class": self.auto_class, "lines": self.lines,
        }  # fmt: skip


@command(ExportRequest)
def export(request: ExportRequest) -> Export:
    """Write a trained model as a folder that transformers loads without xmodctl, and optionally upload it to the Hub.

    The folder holds the weights as safetensors, the configuration, the labels, the tokenizer, and a model card with
    the run's scores. With the format `sentence-transformers`, it holds the body of a run or a base model, with the
    adapter of one language, and gives the vectors that `embed` gives. With the format `onnx`, it holds a graph of the
    model with the adapter of one language, which has been compared with the model.

    Returns:
        The folder, its languages, and the address of the upload.

    Raises:
        UserError: An option is wrong, the run is not trained to its end, `out` contains other files, the graph differs
            from the model, or the upload fails.
    """
    from xmodctl.run.loading import chosen_seed, find_run

    listen = request.listen or warn
    out = Path(request.out)
    if request.format == VECTORS:
        return _export_vectors(request, out, listen)
    run = find_run(request.run)
    seed = chosen_seed(run, request.seed)
    _refuse_untrained(run)
    is_graph = request.format == ONNX
    if is_graph:
        from xmodctl.model.onnx import prepare_runtime

        prepare_runtime()
    _check_target(request, out)
    listen(ModelLoading(run.plan.model))
    from xmodctl.adapters.mixtures import record_of
    from xmodctl.kinds import KINDS
    from xmodctl.model import look_up

    chosen = _choose(request, run, listen)
    text = card(
        run, look_up(chosen.source.name), seed, chosen.languages, model_name=request.push or out.resolve().name,
        packages={package.language: package.sha256 for package in chosen.packages},
        mixtures={package.language: record for package in chosen.packages if (record := record_of(package))},
        is_graph=is_graph,
    )  # fmt: skip
    _write(chosen, run, seed, out, text, is_graph=is_graph, listen=listen)
    url = hub.upload(out, request.push, private=request.private) if request.push else None
    served = served_model(run, seed, chosen.languages, str(request.out), is_graph=is_graph)
    return Export(
        out, chosen.languages, url, KINDS[run.plan.task.kind].auto_class, serving_lines(served),
        _one_language(request, run, served.language) if len(chosen.languages) > 1 else "",
    )  # fmt: skip


@dataclass(frozen=True)
class Chosen:
    """What of a run's model is exported."""

    source: "Source"  # the base model
    packages: "tuple[Attached, ...]"  # of languages that it lacks
    languages: tuple[str, ...]  # the adapters


def _choose(request: ExportRequest, run: "Run", listen: Listener) -> Chosen:
    """Find the base model and the adapters that are exported.

    Raises:
        UserError: An adapter does not exist.
    """
    from xmodctl.adapters.attaching import available_languages
    from xmodctl.adapters.mixtures import with_mixtures
    from xmodctl.adapters.store import choose_all
    from xmodctl.languages import expand
    from xmodctl.run.loading import find_base
    from xmodctl.run.scored import stored_mixtures

    source = find_base(run)
    chosen = choose_all(request.packages, source)
    stored = stored_mixtures(run.results, request.selection)
    selection, mixtures = with_mixtures(request.selection, source, chosen, listen, stored=stored, is_bare=True)
    packages: tuple[Attached, ...] = (*chosen, *mixtures)
    expansion = expand(
        selection,
        [*available_languages(source, packages), *_scored_identities(run, source)],
        model=run.plan.model,
        task_languages=run.plan.task.languages if "@task" in request.selection else {},
        open_languages=source.open_languages,
        mixtures=[mixture.language for mixture in mixtures],
    )
    for code, reason in expansion.missing:
        listen(Notice(f"{code} is skipped: {reason}", caution=True))
    return Chosen(source, packages, tuple(dict.fromkeys(target.adapter for target in expansion.targets)))


def _scored_identities(run: "Run", source: "Source") -> list[str]:
    """Return the adapters that a base with open languages does not list and through which the run was scored."""
    from xmodctl.evaluation.results import read_rows

    if not source.open_languages:
        return []
    own = [row.adapter for row in read_rows(run.results) if row.control == "own" and row.package is None]
    return [adapter for adapter in dict.fromkeys(own) if adapter and adapter not in source.languages]


def _write(chosen: Chosen, run: "Run", seed: int, out: Path, text: str, *, is_graph: bool, listen: Listener) -> None:
    """Write the folder, or the graph of it, and the model card."""
    from xmodctl.adapters.attaching import load_tokenizers
    from xmodctl.kinds import KINDS
    from xmodctl.model import export as write_model
    from xmodctl.run.trained import Trained

    tokenizers = load_tokenizers(chosen.source, chosen.packages)
    tokenizer = tokenizers.get(chosen.languages[0], tokenizers[None])
    source_language = run.plan.source_languages[0]
    trained = Trained.load(run, chosen.source, seed, source_language, device="cpu", packages=chosen.packages)

    def add_card(folder: Path) -> None:
        write_text(folder / "README.md", text)

    if not is_graph:
        write_model(trained.model, tokenizer, out, chosen.languages, add_card)
        return
    from xmodctl.model.onnx import write_graph

    make_parent(out)
    with TemporaryDirectory(dir=out.parent, prefix=part_prefix(out.name), suffix=PART) as place:
        write_model(trained.model, tokenizer, Path(place) / "model", chosen.languages)
        del trained
        difference = write_graph(Path(place) / "model", KINDS[run.plan.task.kind].head, out, add_card)
    listen(Notice(f"checked: on generated sequences, no logit of the graph differs by more than {difference:.0e}"))


def _one_language(request: ExportRequest, run: "Run", language: str) -> str:
    """Return the command that exports one language alone."""
    words = ["xmodctl", "export", "--run", str(run.folder), "--langs", language, "--out", f"{request.out}-{language}"]
    words += ["--seed", str(request.seed)] if request.seed is not None else []
    words += [word for package in request.packages for word in ("--adapter", str(package))]
    return shlex.join(words)


def _export_vectors(request: ExportRequest, out: Path, listen: Listener) -> Export:
    """Write a folder of sentence-transformers."""
    from xmodctl.reports.vector_export import vector_lines, write_vector_folder

    _check_target(request, out)
    language = write_vector_folder(request, listen)
    url = hub.upload(out, request.push, private=request.private) if request.push else None
    return Export(out, (language,), url, "SentenceTransformer", vector_lines(str(request.out)))


def _check_target(request: ExportRequest, out: Path) -> None:
    """Refuse a folder or a repository that cannot be written, before the model is loaded.

    Raises:
        UserError: It cannot.
    """
    check_empty(out, unless="config.json")
    check_can_write(out, "--out", is_folder=True)
    if request.push:
        hub.check_upload(request.push)


def _refuse_untrained(run: "Run") -> None:
    """Refuse a run without training, which has nothing to export.

    Raises:
        UserError: It is one.
    """
    if run.plan.vectors is not None:
        raise UserError(
            f"{run.folder} scores vectors, and has no head; add --format {VECTORS}, or name another run with --run DIR"
        )
