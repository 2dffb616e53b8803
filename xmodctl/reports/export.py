"""`export`: a trained model as a plain transformers folder with a model card."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.core import hub
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, ModelLoading, Notice, warn
from xmodctl.core.files import check_can_write, check_empty, write_text
from xmodctl.core.requests import command
from xmodctl.reports.card import card
from xmodctl.reports.requests import VECTORS, ExportRequest
from xmodctl.reports.serving import served_model, serving_lines

if TYPE_CHECKING:
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
    adapter of one language, and gives the vectors that `embed` gives.

    Returns:
        The folder, its languages, and the address of the upload.

    Raises:
        UserError: An option is wrong, the run is not trained to its end, `out` is not empty, or the upload fails.
    """
    from xmodctl.run.loading import chosen_seed, find_base, find_run

    listen = request.listen or warn
    out = Path(request.out)
    if request.format == VECTORS:
        return _export_vectors(request, out, listen)
    run = find_run(request.run)
    seed = chosen_seed(run, request.seed)
    _refuse_untrained(run)
    _check_target(request, out)
    listen(ModelLoading(run.plan.model))
    from xmodctl.adapters.attaching import available_languages, load_tokenizers
    from xmodctl.adapters.mixtures import Attached, record_of, with_mixtures
    from xmodctl.adapters.store import choose_all
    from xmodctl.kinds import KINDS
    from xmodctl.languages import expand
    from xmodctl.model import export as write_model
    from xmodctl.model import look_up
    from xmodctl.run.trained import Trained

    source = find_base(run)
    selection, mixtures = with_mixtures(
        request.selection, source, chosen := choose_all(request.packages, source), listen, is_bare=True
    )
    packages: tuple[Attached, ...] = (*chosen, *mixtures)
    expansion = expand(
        selection,
        available_languages(source, packages),
        model=run.plan.model,
        task_languages=run.plan.task.languages if "@task" in request.selection else {},
        open_languages=source.open_languages,
        mixtures=[mixture.language for mixture in mixtures],
    )
    for code, reason in expansion.missing:
        listen(Notice(f"{code} is skipped: {reason}", caution=True))
    languages = tuple(dict.fromkeys(target.adapter for target in expansion.targets))
    tokenizers = load_tokenizers(source, packages)
    text = card(
        run, look_up(source.name), seed, languages, model_name=request.push or out.resolve().name,
        packages={package.language: package.sha256 for package in packages},
        mixtures={package.language: record for package in packages if (record := record_of(package))},
    )  # fmt: skip
    trained = Trained.load(run, source, seed, run.plan.source_languages[0], device="cpu", packages=packages)
    write_model(trained.model, tokenizers.get(languages[0], tokenizers[None]), out, languages)
    write_text(out / "README.md", text)
    url = hub.upload(out, request.push, private=request.private) if request.push else None
    served = served_model(run, seed, languages, str(request.out))
    return Export(
        out, languages, url, KINDS[run.plan.task.kind].auto_class, serving_lines(served),
        _one_language(request, run, served.language) if len(languages) > 1 else "",
    )  # fmt: skip


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
    check_empty(out)
    check_can_write(out / "README.md", "--out")
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
