"""A published table of scores (`tasks/tables/*.yaml`): what a run is compared with by `reproduce`."""

from pydantic import Field, model_validator

from xmodctl.catalog.locations import Split
from xmodctl.core.schema import Described
from xmodctl.languages import same


class PublishedTable(Described):
    """Scores that were published, by language and seed, and how they were obtained."""

    name: str = Field("custom", description="the file's name without .yaml")
    title: str = Field(description="what was scored, in one line")
    source: str = Field(description="where the scores were published")
    task: str = Field(description="the shipped task")
    model: str = Field(description="the model that was scored")
    metric: str = Field(description="the metric of the scores, in percent")
    split: Split = Field("test", description="the split that was scored: train, validation, or test")
    trained_in: str = Field(description="the language that the model was trained in")
    commands: tuple[str, ...] = Field(
        description="the commands that train and score; DIR is the data, RUN the run's folder"
    )
    recipe: str | None = Field(
        None, description="the shipped recipe of the commands; settings of a run that differ from it are reported"
    )
    rows: int = Field(gt=0, description="the number of rows that were scored in each language")
    rows_of: dict[str, int] = Field({}, description="the number of rows of languages in which it differs")
    rows_note: str = Field("", description="what readers need to know whose data has a different number of rows")
    notes: tuple[str, ...] = Field((), description="what readers of a comparison need to know")
    scores: dict[str, tuple[float, ...]] = Field(description="language -> its scores, one per seed")

    @model_validator(mode="after")
    def _seeds_are_the_same(self) -> "PublishedTable":
        counts = {len(values) for values in self.scores.values()}
        if counts in (set(), {0}) or len(counts) > 1:
            raise ValueError("`scores` needs languages that all have the same number of seeds, at least one")
        if any(not 0 <= value <= 100 for values in self.scores.values() for value in values):
            raise ValueError("`scores` must be between 0 and 100, in percent")
        return self

    @model_validator(mode="after")
    def _each_language_is_there_once(self) -> "PublishedTable":
        languages = list(self.scores)
        for number, language in enumerate(languages):
            if twin := next((other for other in languages[:number] if same(other, language)), None):
                raise ValueError(f"`scores` has one language twice, as {twin} and as {language}; keep one of them")
        if unknown := [language for language in self.rows_of if language not in self.scores]:
            raise ValueError(f"`rows_of` names {', '.join(unknown)}, which `scores` does not have")
        if any(count < 1 for count in self.rows_of.values()):
            raise ValueError("`rows_of` must be at least 1")
        return self

    @property
    def seeds(self) -> int:
        """The number of seeds."""
        return len(next(iter(self.scores.values())))

    def rows_in(self, language: str) -> int:
        """Return the number of rows that were scored in a language."""
        return self.rows_of.get(language, self.rows)
