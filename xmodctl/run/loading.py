"""A run's model in memory, as `xmodctl.load` returns it, and the checks before a run is used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, Notice

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from xmodctl.model import Source, Xmod
    from xmodctl.run.run import Run
from xmodctl.core.arguments import as_paths


@dataclass(frozen=True)
class Loaded:
    """A run's trained model in memory, with one language's adapter active."""

    run: "Run"
    xmod: "Xmod"
    languages: tuple[str, ...]  # of the base and of packages
    tokenizers: Mapping[str | None, "PreTrainedTokenizerBase"]  # by language; the base model's has the key None

    @property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """The tokenizer of the active language: its own if it has one, else that of the base model."""
        return self.tokenizers.get(self.xmod.active, self.tokenizers[None])

    @property
    def module(self) -> "PreTrainedModel":
        """The transformers model; its output depends on the active language."""
        return self.xmod.module

    def use(self, lang: str) -> None:
        """Activate the adapter of another language, in any spelling; it is loaded if it is not in memory.

        Raises:
            UserError: The model has no adapter for this language.
        """
        self.xmod.use(adapter_of(self.run, self.xmod.source, lang, self.languages))


def load(
    run: "Run | Path | str | None" = None,
    lang: str | None = None,
    *,
    seed: int | None = None,
    device: str | None = None,
    adapters: Path | str | Sequence[Path | str] = (),
) -> Loaded:
    """Load a run's trained model.

    Args:
        run: A run or its folder; None is the newest run under `runs/`.
        lang: The language whose adapter is active, in any spelling, or a mixture such as `0.7*sw+0.3*so`; by default
            the one that the run was trained in.
        seed: The seed whose model to load; by default the first.
        device: The device; by default a GPU or another accelerator if there is one, else the CPU.
        adapters: Adapter packages of languages that the base model lacks: their folders, or their names in the store.

    Raises:
        UserError: The run is not finished, or has no such seed or language.
    """
    from xmodctl.adapters.attaching import available_languages, load_tokenizers
    from xmodctl.adapters.mixtures import one_adapter
    from xmodctl.adapters.store import choose_all
    from xmodctl.core.events import warn
    from xmodctl.run.scored import stored_mixtures
    from xmodctl.run.trained import Trained

    run = find_run(run)
    chosen = chosen_seed(run, seed)
    source = find_base(run)
    stored = stored_mixtures(run.results, lang or "")
    lang, packages = one_adapter(lang or "", source, choose_all(as_paths(adapters), source), warn, stored=stored)
    languages = available_languages(source, packages)
    adapter = adapter_of(run, source, lang, languages) if lang else run.plan.source_languages[0]
    trained = Trained.load(run, source, chosen, adapter, device=device, packages=packages)
    trained.model.activate(adapter)
    trained.model.module.eval()
    return Loaded(run, trained.model, languages, load_tokenizers(source, packages))


def find_run(run: "Run | Path | str | None") -> "Run":
    """Return a run that is given as a value, as its folder, or as None, which is the newest run.

    Raises:
        UserError: There is none.
    """
    from xmodctl.run.run import Run, newest_run

    if run is None:
        return newest_run()
    return run if isinstance(run, Run) else Run.read(run)


def announced_run(named: "Run | Path | str | None", listen: Listener) -> "Run":
    """Return a run like `find_run`, and announce which one it is if none was named.

    Raises:
        UserError: There is no such run.
    """
    run = find_run(named)
    if named is None:
        listen(Notice(f"run: {run.folder} (the newest; choose another one with --run)"))
    return run


def find_base(run: "Run") -> "Source":
    """Find the base model of a run, at the same revision."""
    from xmodctl.model import find

    return find(base_name(run))


def base_name(run: "Run") -> str:
    """Return the base model of a run as `--model` takes it, with its revision if it is from the Hub."""
    return model_name(run.plan.model, run.plan.revision)


def model_name(model: str, revision: str | None) -> str:
    """Return a plan's base model as `--model` takes it."""
    on_hub = "/" in model and not Path(model).is_absolute()
    return f"{model}@{revision}" if on_hub and revision else model


def adapter_of(run: "Run", source: "Source", lang: str, languages: Sequence[str]) -> str:
    """Return the adapter among `languages` that a spelling of a language stands for.

    Raises:
        UserError: There is none.
    """
    from xmodctl.languages import resolve

    return resolve(lang, languages, model=run.plan.model, open_languages=source.open_languages).adapter


def refuse_unfinished(run: "Run") -> None:
    """Refuse a run that has no finished seed.

    Raises:
        UserError: It has none.
    """
    if not run.finished_seeds:
        raise UserError(f"{run.folder} has no finished seed; run `xmodctl resume {run.folder}` first")


def chosen_seed(run: "Run", seed: int | None) -> int:
    """Return the given seed, or the first finished one.

    Raises:
        UserError: The seed is not finished.
    """
    refuse_unfinished(run)
    if seed is None:
        return run.finished_seeds[0]
    if seed not in run.finished_seeds:
        raise UserError(
            f"--seed {seed}: the finished seeds of {run.folder} are {', '.join(map(str, run.finished_seeds))}"
        )
    return seed
