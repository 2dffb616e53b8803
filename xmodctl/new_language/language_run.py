"""The folder of a command that adds languages: its plan, its state, and where everything is."""

from dataclasses import dataclass
from pathlib import Path

from xmodctl.adapters.packages import FACTS, VOCABULARY, WEIGHTS
from xmodctl.new_language.plan import LanguagePlan
from xmodctl.run.folder import Folder
from xmodctl.run.written import LANGUAGE_FILES


@dataclass(frozen=True)
class LanguageRun(Folder):
    """A folder with adapters of new languages; the fingerprints are those of each language's cleaned text."""

    FILE = "extension.json"
    SCHEMA = 1
    NOUN = "an added language"
    LIST_HINT = "`xmodctl runs` lists them"
    WRITTEN = LANGUAGE_FILES

    plan: LanguagePlan

    def package(self, language: str, seed: int) -> Path:
        """The adapter package of one seed; it exists once the training is finished."""
        return self.seed_folder(seed) / language

    def is_finished(self, language: str, seed: int) -> bool:
        """Return whether an adapter is trained."""
        return any((self.package(language, seed) / name).exists() for name in (WEIGHTS, FACTS, VOCABULARY))

    @property
    def finished_seeds(self) -> tuple[int, ...]:
        """The seeds that have an adapter of every language."""
        return tuple(
            seed for seed in self.seeds if all(self.is_finished(language, seed) for language in self.plan.languages)
        )

    def checkpoints(self, language: str, seed: int) -> Path:
        """The checkpoints of an adapter while it trains."""
        return self.seed_folder(seed) / f"{language}.training"

    def metrics(self, language: str, seed: int) -> Path:
        """Loss and learning rate of each step."""
        return self.seed_folder(seed) / f"{language}.metrics.jsonl"

    def ranking(self, language: str) -> Path:
        """The model's adapters and their losses on the language's text."""
        return self.folder / f"{language}.start.json"
