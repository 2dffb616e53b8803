"""Spellings of languages, and the language, script and region that they state."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

_CODE = re.compile(
    r"(?P<language>[a-z]{2,3})(?:-(?P<extension>[a-z]{3}))?(?:-(?P<script>[a-z]{4}))?(?:-(?P<region>[a-z]{2}|[0-9]{3}))?"
)
# A treebank of Universal Dependencies, or another corpus of a language: `sv_talbanken`.
_CORPUS = re.compile(r"(?P<language>[a-z]{2,3})_(?P<corpus>[a-z][a-z0-9]{2,})")
_PRIVATE_LANGUAGE = re.compile(r"q[a-t][a-z]")
_PRIVATE_REGION = re.compile(r"AA|Q[M-Z]|X[A-JL-Z]|ZZ")  # XK is in use for Kosovo
_QUALIFIED = re.compile(r"(?P<name>[^()（）]+)[(（](?P<qualifier>[^()（）]+)[)）]")
_GAP = re.compile(r"\s*[,;:/–—-]\s*|\s+")
_MOST_WORDS = 5  # of a name with what is said of the language; more are a text
_REGION = 2  # letters of a code
_ENCODING = re.compile(r"\.(utf-?8|iso-?8859-?\d+)$")  # of a locale, as in en_US.UTF-8
_LONGEST = 80  # characters; the longest English name of a language has 58

MIXED = "mul"
"""ISO 639-2's code of text in several languages."""


@dataclass(frozen=True)
class Tag:
    """The language that a spelling states.

    `language` is the code that CLDR prefers (`zh` for `cmn`), `variety` the code of the member of a macrolanguage
    (`cmn`). `script`, `region`, and `corpus` are None if the spelling does not state them.
    """

    language: str
    variety: str
    script: str | None = None
    region: str | None = None
    corpus: str | None = None

    @property
    def code(self) -> str:
        """Return the canonical BCP 47 spelling."""
        return "-".join(part for part in (self.variety, self.script, self.region) if part)

    @property
    def written_in(self) -> str | None:
        """Return the script, stated or likely (`Hant` for `zh-TW`), or None if unknown."""
        if self.script:
            return self.script
        likely = likely_subtags(self.language, region=self.region)
        return likely[0] if likely else None

    @property
    def likely(self) -> tuple[str | None, ...]:
        """What the tag states, and what is likely where it states nothing: equal for `de`, `de-DE`, and `de-Latn`.

        A member of a macrolanguage for which CLDR prefers the code of the latter is that (`cmn` is `zh`).
        """
        from langcodes.data_dicts import NORMALIZED_MACROLANGUAGES

        variety = NORMALIZED_MACROLANGUAGES.get(self.variety, self.variety)
        likely = likely_subtags(self.language, script=self.script, region=self.region)
        return (variety, *(likely or (self.script, self.region)), self.corpus)

    def names_the_language_of(self, other: "Tag") -> bool:
        """Return whether both name the same language: the same variety, or one is the macrolanguage of the other."""
        if self.variety == other.variety:
            return True
        return self.language == other.language and self.language in (self.variety, other.variety)


@lru_cache(maxsize=1)
def spellings() -> Mapping[str, Any]:
    """Return the table of spellings that libraries of language codes lack."""
    return load_table("spellings.yaml")


def load_table(name: str) -> Mapping[str, Any]:
    """Return a YAML table of this package."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster if PyYAML was built with libyaml
    table = yaml.load(Path(__file__).with_name(name).read_text(encoding="utf-8"), Loader=loader)  # noqa: S506
    assert isinstance(table, dict)
    return table


def fold(text: str) -> str:
    """Return a spelling without differences in case, `-`/`_` and surrounding spaces."""
    return text.strip().casefold().replace("_", "-")


@lru_cache(maxsize=8192)
def read(text: str) -> Tag | None:
    """Return what a language's code or name states, or None if the text is neither.

    Names are in English, in the language itself, or in one of the languages that `spellings.yaml` lists.
    """
    text = text.strip()
    if not text or len(text) > _LONGEST or not text.isprintable():
        return None
    folded = _ENCODING.sub("", fold(text))
    folded = spellings()["aliases"].get(folded, folded)
    return _read_code(folded) or _read_name(folded) or _read_corpus(text)


def base(text: str) -> str:
    """Return the code that a spelling's language has alone (`de` for `de_DE`), or the text if it has none."""
    tag = read(text)
    return tag.language if tag else text


@lru_cache(maxsize=8192)
def meaning(text: str) -> object:
    """Return a key that spellings of one language share: `de`, `DE`, `deu`, `German`, and `de_DE`, but not `de-AT`."""
    tag = read(text)
    return tag.likely if tag else text


def is_corpus(text: str) -> bool:
    """Return whether a spelling names a corpus of a language, such as the treebank `sv_talbanken`."""
    tag = read(text)
    return tag is not None and tag.corpus is not None


def likely_subtags(language: str, *, script: str | None = None, region: str | None = None) -> tuple[str, str] | None:
    """Return the likely script and region (ISO 15924, ISO 3166), or None for a language that CLDR does not have."""
    import langcodes
    from langcodes.data_dicts import LIKELY_SUBTAGS

    if language not in LIKELY_SUBTAGS:
        recorded = script or _recorded_scripts().get(language)
        return (recorded, region or "ZZ") if recorded else None
    likely = langcodes.Language.make(language=language, script=script, territory=region).maximize()
    return str(likely.script), str(likely.territory)


def language_of_country(text: str) -> str:
    """Return the code of the language that most people speak in the country of a code of two letters, or nothing."""
    import langcodes

    region = text.strip().upper()
    is_country = len(region) == _REGION and region.isalpha() and not _PRIVATE_REGION.fullmatch(region)
    if not is_country or region == "XX" or not langcodes.tag_is_valid(f"und-{region}"):
        return ""
    return str(langcodes.get(f"und-{region}").maximize().language)


def name(text: str) -> str:
    """Return the English name, with the script if it distinguishes languages; other text is returned unchanged."""
    tag = read(text)
    if tag is None:
        return "several languages" if text == MIXED else text
    if tag.corpus:
        return f"{name(tag.variety)} ({tag.corpus})"
    usual = Tag(tag.language, tag.language).written_in
    told_apart = tag.language in spellings()["told_apart_by_script"] and bool(tag.script or tag.region)
    script = tag.written_in if told_apart or tag.written_in != usual else None
    if known := _known_names().get("-".join(filter(None, (tag.variety, script)))):
        return known
    import langcodes

    if langcodes.Language.make(language=tag.variety).language_name().startswith("Unknown language"):
        return text
    return langcodes.Language.make(language=tag.variety, script=script).display_name()


@lru_cache(maxsize=1)
def _known_names() -> Mapping[str, str]:
    """Return the names of common languages, because the library loads those of all languages at once."""
    return load_table("names.yaml")


def described(tag: Tag) -> str:
    """Return the English name of everything that a tag states (`German (Switzerland)`)."""
    import langcodes

    return langcodes.get(tag.code).display_name()


def script(text: str) -> str:
    """Return the ISO 15924 code of the script, stated or likely; `Zzzz` (uncoded) if unknown."""
    tag = read(text)
    return (tag.written_in if tag else None) or "Zzzz"


@lru_cache(maxsize=1)
def _recorded_scripts() -> dict[str, str]:
    return {language: script for script, languages in spellings()["scripts"].items() for language in languages}


@lru_cache(maxsize=1)
def _macrolanguages() -> dict[str, str]:
    from langcodes.data_dicts import NORMALIZED_MACROLANGUAGES

    added = {member: macro for macro, members in spellings()["members"].items() for member in members}
    return {**NORMALIZED_MACROLANGUAGES, **added}


def members_of(language: str) -> list[str]:
    """Return the codes of varieties for which CLDR prefers the code of a language, such as `ekk` for `et`."""
    return [member for member, macrolanguage in _macrolanguages().items() if macrolanguage == language]


@lru_cache(maxsize=1)
def _not_one_language() -> frozenset[str]:
    return frozenset(spellings()["not_one_language"].split())


def _read_code(folded: str) -> Tag | None:
    parts = _CODE.fullmatch(folded)
    if parts is None or parts["language"] in _not_one_language() or _PRIVATE_LANGUAGE.fullmatch(parts["language"]):
        return None
    import langcodes

    region = parts["region"] and parts["region"].upper()
    if region in ("XX", "001", spellings()["placeholder_regions"].get(parts["language"])):
        region = None
    if region and _PRIVATE_REGION.fullmatch(region):
        return None
    spelled = "-".join(part for part in (parts["language"], parts["extension"], parts["script"], region) if part)
    parsed = langcodes.get(spelled)
    # The library accepts any code after a language (`en-ewt`); a registered pair (`zh-yue`) becomes one code.
    if parsed.language is None or parsed.extlangs or not parsed.is_valid():
        return None
    script = spellings()["equivalent_scripts"].get(parsed.script, parsed.script)
    if script == "Hani":  # Chinese characters, either simplified or traditional
        script = None
    language = _macrolanguages().get(parsed.language, parsed.language)
    return Tag(language, parsed.language, script, parsed.territory)


def _read_corpus(text: str) -> Tag | None:
    """Read `sv_talbanken`; a script or a country in place of the corpus (`sr_latin`) is none."""
    parts = _CORPUS.fullmatch(text)
    if parts is None or any(_code_of_name(category, parts["corpus"]) for category in ("script", "territory")):
        return None
    tag = _read_code(parts["language"])
    return replace(tag, corpus=parts["corpus"]) if tag else None


def _read_name(folded: str) -> Tag | None:
    """Read `german`, `simplified chinese`, `chinese (taiwan)`, `english - us`, `deutsch`, `kurdish (kurmanji)`."""
    if code := _code_of_name("language", folded):
        return _read_code(fold(code))
    if parts := _QUALIFIED.fullmatch(folded):
        spelled, qualifier = parts["name"].strip(), parts["qualifier"].strip()
        code = spelled if _read_code(spelled) else _code_of_name("language", spelled)
        return _read_qualified(spelled, qualifier, code) if code else None
    gaps = list(_GAP.finditer(folded))
    for gap in gaps if len(gaps) < _MOST_WORDS else ():
        spelled, qualifier = folded[: gap.start()], folded[gap.end() :]
        # A code and another word are two things: `my train`, `en;de`.
        is_name = len(spelled) > _REGION and not _read_code(spelled)
        code = _code_of_name("language", spelled) if is_name else None
        if code and (tag := _read_qualified(spelled, qualifier, code)):
            return tag
    return None


def _read_qualified(spelled: str, qualifier: str, code: str) -> Tag | None:
    """Read the name of a language and what says which form of it is meant: a country, a script, or another name."""
    tag = _read_code(fold(code))
    if tag is None or spelled == qualifier:
        return None
    if qualifier in spellings()["said_of_any_language"]:
        return tag
    if whole := _code_of_name("language", f"{qualifier} {spelled}"):  # `arabic (egyptian)`
        return _read_code(fold(whole))
    for other in (qualifier, _code_of_name("language", qualifier)):
        named = _read_code(fold(other)) if other else None
        if named and named.names_the_language_of(tag):
            return named if tag.variety == tag.language else tag
    forms = [spellings()["regions"].get(qualifier)]
    for category in ("script", "territory"):
        forms += [_code_of_name(category, qualifier), _look_up(f"{tag.language}/name_to_{category}", qualifier)]
    forms += [qualifier] if len(qualifier) == _REGION else []
    form = next(filter(None, forms), None)
    return _read_code(fold(f"{code}-{form}")) if form else None


def _code_of_name(category: str, spelled: str) -> str | None:
    """Return the code of an English name, or of a language's name in itself or in another; all of it must match.

    The library's own search accepts the longest prefix that it knows (`klingonish` for Klingon), and names in any of
    its 300 languages, where the same word names several languages. Of these, the languages count in which data are
    often described, if they do not disagree.
    """
    if code := _look_up(f"en/name_to_{category}", spelled):
        return code
    code = _look_up(f"und/name_to_{category}", spelled)
    if category == "language" and code and _look_up(f"{code.split('-')[0]}/name_to_language", spelled) == code:
        return code
    if category != "language" or not code:  # the table has the names in all languages
        return None
    tables = (f"{language}/name_to_language" for language in spellings()["languages_of_names"].split())
    codes = {named for table in tables if (named := _look_up(table, spelled))}
    return codes.pop() if len(codes) == 1 else None


def _look_up(table: str, spelled: str) -> str | None:
    from language_data.names import get_trie_value, normalize_name

    trie = _names(table)
    key = normalize_name(spelled)
    return get_trie_value(trie, key) if trie is not None and key in trie else None


@lru_cache(maxsize=64)
def _names(table: str) -> Any:
    from language_data.names import load_trie
    from language_data.util import data_filename

    path = data_filename(f"trie/{table}.marisa")
    return load_trie(path) if Path(path).exists() else None
