"""Languages as reports show them: name, family, script."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from xmodctl.languages import name
from xmodctl.languages.kinship import lineage
from xmodctl.languages.tags import read, script

NO_FAMILY = "No family on record"

SCRIPTS = {"Hans": "Simplified Chinese", "Hant": "Traditional Chinese", "Zzzz": "unrecorded"}
"""Scripts whose CLDR names are clear only beside the name of a language."""


@dataclass(frozen=True)
class Language:
    """A language of the data. All but its code is looked up when it is first needed."""

    code: str  # as the benchmark spells it

    @cached_property
    def tag(self) -> str:
        """The BCP 47 tag, for `lang` in HTML; empty where the code is not a language."""
        tag = read(self.code)
        return tag.code if tag else ""

    @cached_property
    def name(self) -> str:
        """The English name."""
        return name(self.code)

    @cached_property
    def lineage(self) -> tuple[str, ...]:
        """Family and branches, widest first."""
        return lineage(self.code)

    @cached_property
    def script(self) -> str:
        """The English name of the script."""
        return script_name(script(self.code))

    @property
    def family(self) -> str:
        """The widest grouping."""
        return self.lineage[0] if self.lineage else NO_FAMILY

    def to_json(self) -> dict[str, Any]:
        """Return everything known about the language as plain JSON values."""
        return {
            "code": self.code,
            "tag": self.tag,
            "name": self.name,
            "lineage": list(self.lineage),
            "script": self.script,
        }


@lru_cache(maxsize=512)
def script_name(code: str) -> str:
    """Return the English name of a script (`Cyrl` is Cyrillic)."""
    import langcodes

    return SCRIPTS.get(code) or langcodes.Language.make(script=code).script_name()
