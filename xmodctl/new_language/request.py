"""What `add-language` is asked for, declared once for Python and the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from xmodctl.core.arguments import DEFAULT_MODEL, PRECISIONS, as_paths, as_seeds, check_choice, check_limit
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener
from xmodctl.data.texts import STANDARD_INPUT
from xmodctl.run.shards import check_shard
from xmodctl.training.request import ON_EXISTS

Files = str | Path | Sequence[str | Path]

VOCABULARIES = ("keep", "new")


@dataclass(frozen=True)
class AddLanguageRequest:
    """What to add to which model, and how.

    Args:
        texts: The languages, in any spelling, and the files with their text; or (language, file) pairs.
        model: A Hub id (`@REVISION` may follow), a folder, or `mini`.
        init_from: What the adapter is initialized from: auto, LANG, LANG+LANG, identity, random, or a mixture of
            adapters: zu=0.7*sw+0.3*so, zu=sw+so, or zu=mix, whose weights are found on the text.
        adapters: Adapter packages that it may be initialized from, too: their folders, or their names in the store.
        vocabulary: The model's (keep), or a new one that is trained on the text (new).
        vocabulary_size: The number of subword pieces in the new vocabulary.
        head_text: Text to train the head of a checkpoint without one; by default the language's own text.
        recipe: A shipped recipe, or the path of a YAML file.
        overrides: Recipe keys and their values, as in `--set`.
        seeds: One training per seed.
        precision: auto, fp32, tf32, bf16, or fp16.
        column: The text column of files with columns.
        limit: Keep only the first lines of each text.
        strip_markup: Whether to remove tags and entities of HTML and XML and the markup of wikis from texts.
        out: The folder for the adapters; by default under `runs/`.
        on_exists: What to do with adapters that exist already: resume, redo or error.
        shard: Train only this share of the languages and seeds, as in `2/4`; by default that of the task of a SLURM
            array, or all.
        wait: Wait for adapters that other jobs train, and train what they leave.
        listen: Is called with each event; by default, cautions become Python warnings.
    """

    texts: Mapping[str, Files] | Sequence[tuple[str, str | Path]]
    _: KW_ONLY
    model: str | Path = DEFAULT_MODEL
    init_from: str = "auto"
    adapters: str | Path | Sequence[str | Path] = ()
    vocabulary: str = "keep"
    vocabulary_size: int | None = None
    head_text: Files = ()
    recipe: str | Path | None = None
    overrides: Mapping[str, Any] | None = None
    seeds: int | str | Sequence[int] = 1
    precision: str = "auto"
    column: str = "text"
    limit: int | None = None
    strip_markup: bool = False
    out: str | Path | None = None
    on_exists: str = "resume"
    shard: str | None = None
    wait: bool = False
    listen: Listener | None = None

    def __post_init__(self) -> None:
        """Refuse values that are wrong whatever the model is.

        Raises:
            UserError: A value is not allowed, or two options contradict each other.
        """
        check_choice("--on-exists", self.on_exists, ON_EXISTS)
        check_choice("--vocabulary", self.vocabulary, VOCABULARIES)
        check_choice("--precision", self.precision, PRECISIONS)
        check_limit(self.limit)
        check_shard(self.shard)
        as_seeds(self.seeds)
        if self.vocabulary_size is not None and self.vocabulary == "keep":
            raise UserError("--vocabulary-size is the size of a new vocabulary; add --vocabulary new")
        files = [file for _, file in self.text_files]
        if not files:
            raise UserError("no text given; give text in the language with --text FILE")
        if (*files, *self.head_files).count(STANDARD_INPUT) > 1:
            raise UserError("standard input (`-`) can be read only once; give the other texts as files")

    @property
    def text_files(self) -> tuple[tuple[str, str], ...]:
        """Each file of text with its language."""
        if isinstance(self.texts, Mapping):
            return tuple((language, file) for language, files in self.texts.items() for file in _names(files))
        return tuple((language, str(file)) for language, file in self.texts)

    @property
    def head_files(self) -> tuple[str, ...]:
        """The files that a head is trained on."""
        return _names(self.head_text)

    @property
    def adapter_list(self) -> tuple[str | Path, ...]:
        """The adapter packages."""
        return as_paths(self.adapters)

    @property
    def seed_numbers(self) -> tuple[int, ...]:
        """The seeds."""
        return as_seeds(self.seeds)

    @property
    def out_folder(self) -> Path | None:
        """The folder for the adapters, if it is named."""
        return Path(self.out).expanduser() if self.out is not None else None


def _names(files: Files) -> tuple[str, ...]:
    return tuple(map(str, as_paths(files)))
