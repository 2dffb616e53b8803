"""From any spelling of a language to one adapter, or to an error that suggests similar ones."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from xmodctl.core.errors import UserError, did_you_mean, near_misses
from xmodctl.languages.kinship import lineage, related, shared_branch
from xmodctl.languages.tags import (
    Tag,
    base,
    described,
    fold,
    language_of_country,
    likely_subtags,
    name,
    read,
    spellings,
)

_SHOWN = 3  # relatives in a message
_OTHER_REGIONS = ("US", "GB")
"""Regions that name another adapter of a language, as examples."""
_NEAR = 0.8
"""The share of letters in common from which a name is a misspelt one; a suggestion for data must not mislead."""


@dataclass(frozen=True)
class Match:
    """An adapter, the English name of its language, and a note to show if the spelling was ambiguous."""

    adapter: str
    language: str
    note: str | None = None


def resolve(text: str, adapters: Sequence[str], *, model: str, open_languages: bool = False) -> Match:
    """Return the adapter that `text` names.

    The model's adapter names come first, then codes and English names. A model with open languages accepts any
    language: under a listed name, else under the name in X-MOD checkpoints, else under its code and likely region.

    Raises:
        UserError: `text` is not a language, the model lacks it, or several adapters fit.
    """
    match = _resolved(text, adapters, model, open_languages)
    if match.adapter != text.strip() and (other := spellings()["other_meanings"].get(fold(text))):
        notes = [match.note] if match.note else []
        match = replace(match, note="; ".join([*notes, f"{text.strip()} is {name(text)} here; {other}"]))
    return match


def _resolved(text: str, adapters: Sequence[str], model: str, open_languages: bool) -> Match:
    if (adapter := _adapter_name(text, adapters, model)) is not None:
        return Match(adapter, name(adapter))
    successors = spellings()["retired"].get(fold(text))
    if successors and (match := _successor(text, successors, adapters)):
        return match
    tag = read(text)
    if tag is None:
        raise UserError(_not_a_language(text, adapters, model))
    if match := _choose(text, tag, adapters, model):
        return match
    if not open_languages:
        raise UserError(_absent(text, tag, adapters, model))
    known = spellings()["checkpoint_names"]
    if successors and (match := _successor(text, successors, known)):
        return match
    return _choose(text, tag, known, model) or _coin(tag)


def same(a: str, b: str) -> bool:
    """Return whether two spellings name the same language and agree in script, region, and corpus where both say it."""
    if fold(a) == fold(b):
        return True
    first, second = read(a), read(b)
    if first is None or second is None:
        return False
    if not first.names_the_language_of(second) or _scripts_differ(first, second):
        return False
    if first.corpus and second.corpus and first.corpus != second.corpus:
        return False
    return first.region is None or second.region is None or first.region == second.region


def variety(adapter: str, adapters: Sequence[str]) -> str | None:
    """Return a name for another adapter of a language that has one, or None if those there are stand for all regions.

    `de_DE` leaves room for other regions, `fr_XX` does not.
    """
    names = (f"{base(adapter)}_{region}" for region in _OTHER_REGIONS)
    return next((coined for coined in names if _resolved(coined, adapters, "", True).adapter not in adapters), None)


def likely_meant(text: str) -> str:
    """Return the code of the language that a spelling of none most likely means, or an empty text.

    It is that of a country whose code was written (`jp` for `ja`), or of a language whose name is similar.
    """
    if code := language_of_country(text):
        return code
    by_name = {name(adapter): adapter for adapter in reversed(spellings()["checkpoint_names"])}
    similar = near_misses(text.strip(), [*by_name])
    is_near = similar and SequenceMatcher(None, text.strip().casefold(), similar[0].casefold()).ratio() >= _NEAR
    return base(by_name[similar[0]]) if is_near else ""


def _adapter_name(text: str, adapters: Sequence[str], model: str) -> str | None:
    if text.strip() in adapters:
        return text.strip()
    alike = [adapter for adapter in adapters if fold(adapter) == fold(text)]
    if len(alike) > 1:
        raise UserError(_ambiguous(text, alike, model))
    return alike[0] if alike else None


def _successor(text: str, successors: Sequence[str], adapters: Sequence[str]) -> Match | None:
    """Return the adapter of the first successor of a retired code, with a note that names the others."""
    present = [adapter for successor in successors for adapter in adapters if _language_of(adapter) == successor]
    if not present:
        return None
    others = f" (also here: {', '.join(present[1:])})" if present[1:] else ""
    note = f"{text.strip()} is a retired code; here it means {name(present[0])}, adapter {present[0]}{others}"
    return Match(present[0], name(present[0]), note)


def _language_of(adapter: str) -> str | None:
    tag = read(adapter)
    return tag.language if tag else None


def _choose(text: str, wanted: Tag, adapters: Sequence[str], model: str) -> Match | None:
    """Return the adapter that fits, or None.

    Raises:
        UserError: Several fit, and none of them is the default.
    """
    fitting = [(adapter, tag) for adapter, tag in _of_the_language(wanted, adapters) if _fits(wanted, tag)]
    fitting = [pair for pair in fitting if pair[1].variety == wanted.variety] or fitting
    fitting = [pair for pair in fitting if pair[1].region == wanted.region] or fitting
    usual = [pair for pair in fitting if not _scripts_differ(wanted, pair[1])] or fitting
    if len(usual) > 1:
        raise UserError(_ambiguous(text, [adapter for adapter, _ in usual], model))
    if not usual:
        return None
    adapter, tag = usual[0]
    note = None
    if wanted.corpus:
        note = f"{text.strip()} is read as a corpus in {name(adapter)}: adapter {adapter}"
    elif len(fitting) > 1 or _scripts_differ(wanted, tag):
        note = f"{text.strip()} means {adapter} here, {name(adapter)}"
        note += "".join(f"; write {other} for {name(other)}" for other, _ in fitting if other != adapter)
    elif wanted.region and tag.region is None and wanted.region != _likely_region(wanted):
        note = f"{text.strip()} goes through {adapter}, which is not bound to a region"
    return Match(adapter, name(adapter), note)


def _of_the_language(wanted: Tag, adapters: Sequence[str]) -> list[tuple[str, Tag]]:
    read_adapters = [(adapter, tag) for adapter in adapters if (tag := read(adapter))]
    return [(adapter, tag) for adapter, tag in read_adapters if wanted.names_the_language_of(tag)]


def _fits(wanted: Tag, offered: Tag) -> bool:
    """Return whether an adapter of the language fits: what the spelling states must match, the rest is free."""
    if wanted.script is None and wanted.region is None:
        return True
    if _scripts_differ(wanted, offered):
        return False
    if wanted.language in spellings()["told_apart_by_script"]:
        return True
    return wanted.region is None or offered.region is None or wanted.region == offered.region


def _scripts_differ(first: Tag, second: Tag) -> bool:
    return bool(first.written_in and second.written_in and first.written_in != second.written_in)


def _likely_region(tag: Tag) -> str | None:
    likely = likely_subtags(tag.language)
    return likely[1] if likely else None


def _coin(tag: Tag) -> Match:
    """Create the name of an adapter that no known checkpoint has: `zu_ZA`, or `hi_Latn` for an unusual script."""
    likely = likely_subtags(tag.language, script=tag.script, region=tag.region)
    region = likely[1] if likely else tag.region or "ZZ"
    adapter = f"{tag.language}_{region}"
    if region == "ZZ" or not region.isalpha() or read(adapter) is None:  # unknown, a continent, or not a country
        adapter = f"{tag.language}_XX"  # X-MOD's code for no region
    coined = read(adapter)
    assert coined is not None
    if tag.script and coined.written_in != tag.script:
        adapter = f"{tag.language}_{tag.script}"
    return Match(adapter, name(adapter))


def _quoted(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def _hint(model: str) -> str:
    return f"`xmodctl langs --model {model}` lists its languages"


def _ambiguous(text: str, fitting: Sequence[str], model: str) -> str:
    return f"{_quoted(text)} fits several adapters of {model}: {', '.join(fitting)}; give one of them"


def _not_a_language(text: str, adapters: Sequence[str], model: str) -> str:
    by_name = {name(adapter): adapter for adapter in reversed(adapters)}
    similar = near_misses(text.strip()[:60], [*adapters, *by_name])
    suggestions = dict.fromkeys(by_name.get(word, word) for word in similar)
    suggested = " or ".join(f"{adapter} ({name(adapter)})" for adapter in suggestions)
    return (
        f"{_quoted(text)} is neither an adapter of {model} nor the code or English name of a language"
        f"{f'; did you mean {suggested}?' if suggested else ''} ({_hint(model)})"
    )


def _absent(text: str, tag: Tag, adapters: Sequence[str], model: str) -> str:
    english = described(tag)
    language = _quoted(text) if english.casefold() == text.strip().casefold() else f"{_quoted(text)} ({english})"
    problem = f"{model} has no adapter for {language}"
    if variants := [adapter for adapter, _ in _of_the_language(tag, adapters)]:
        return f"{problem}; did you mean {' or '.join(variants)}? ({_hint(model)})"
    family = lineage(tag.code)
    if relatives := related(tag.code, adapters)[:_SHOWN]:
        closest = ", ".join(f"{adapter} ({shared_branch(tag.code, adapter)[-1]})" for adapter in relatives)
        problem += f"; its closest relatives there: {closest}"
    elif family:
        problem += f", and none for any language of its family ({family[0]})"
    else:
        problem += f", and no related language is known{did_you_mean(text.strip()[:60], list(adapters))}"
    return f"{problem} ({_hint(model)})"
