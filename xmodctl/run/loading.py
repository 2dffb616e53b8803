"""A run's model in memory, as `xmodctl.load` returns it, and the checks before a run is used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.core.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from xmodctl.model import Source, Xmod
    from xmodctl.run.run import Run
from xmodctl.core.arguments import as_paths


@dataclass(frozen=True)
class Loaded:
    """A run's trained model in memory, one language's adapter active."""

    run: "Run"
    xmod: "Xmod"
    languages: tuple[str, ...]  # of the base and of packages
    tokenizers: Mapping[str | None, "PreTrainedTokenizerBase"]  # the base's under None, languages' own under their name

    @property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """What the active language is read with: the base's tokenizer, or the language's own where it has one."""
        return self.tokenizers.get(self.xmod.active, self.tokenizers[None])

    @property
    def module(self) -> "PreTrainedModel":
        """The transformers model: what it returns for a tokenized batch depends on the active language."""
        return self.xmod.module

    def use(self, lang: str) -> None:
        """Make texts go through another language's adapter, in any spelling; it is read if it is not in memory.

        Raises:
            UserError: The model has no such language.
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
        run: A run or its folder; None is the newest under `runs/`.
        lang: The language whose adapter is active, in any spelling; by default the one it was trained in.
        seed: Which seed; by default the first.
        device: Where it lies; by default an accelerator, if there is one.
        adapters: Packages of languages that the base lacks: their folders, or what the store calls them.

    Raises:
        UserError: The run is not trained to its end, or has no such seed or language.
    """
    from xmodctl.adapters.attaching import available_languages, load_tokenizers
    from xmodctl.adapters.store import choose_all
    from xmodctl.run.trained import Trained

    found = find_run(run)
    chosen = chosen_seed(found, seed)
    source = find_base(found)
    packages = choose_all(as_paths(adapters), source)
    languages = available_languages(source, packages)
    adapter = adapter_of(found, source, lang, languages) if lang else found.plan.source_languages[0]
    trained = Trained.load(found, source, chosen, adapter, device=device, packages=packages)
    trained.model.activate(adapter)
    trained.model.module.eval()
    return Loaded(found, trained.model, languages, load_tokenizers(source, packages))


def find_run(run: "Run | Path | str | None") -> "Run":
    """Return a run that is given as itself, as its folder, or not at all: then it is the newest.

    Raises:
        UserError: There is none.
    """
    from xmodctl.run.run import Run, newest_run

    if run is None:
        return newest_run()
    return run if isinstance(run, Run) else Run.read(Path(run))


def find_base(run: "Run") -> "Source":
    """Find the base model that a run was trained on, at the very revision."""
    from xmodctl.model import find

    model, revision = run.plan.model, run.plan.revision
    on_hub = "/" in model and not Path(model).is_absolute()
    return find(f"{model}@{revision}" if on_hub and revision else model)


def adapter_of(run: "Run", source: "Source", lang: str, languages: Sequence[str]) -> str:
    """Return the adapter that a spelling of a language means, of `languages`.

    Raises:
        UserError: It means none of them.
    """
    from xmodctl.languages import resolve

    return resolve(lang, languages, model=run.plan.model, open_languages=source.open_languages).adapter


def refuse_unfinished(run: "Run") -> None:
    """Refuse a run that has nothing to score yet.

    Raises:
        UserError: No seed is trained to its end.
    """
    if not run.finished_seeds:
        raise UserError(f"{run.folder} is not trained to its end; give its finetune command again, and it goes on")


def chosen_seed(run: "Run", seed: int | None) -> int:
    """Return the seed asked for, or else the first.

    Raises:
        UserError: It is not trained to its end.
    """
    refuse_unfinished(run)
    if seed is None:
        return run.finished_seeds[0]
    if seed not in run.finished_seeds:
        raise UserError(f"--seed {seed}: {run.folder} has {', '.join(map(str, run.finished_seeds))}")
    return seed
