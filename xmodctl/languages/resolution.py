"""From a spelling to an adapter: one, or a refusal that says what is near."""

from collections.abc import Sequence
from dataclasses import dataclass

from xmodctl.core.errors import UserError, did_you_mean, near_misses
from xmodctl.languages.kinship import lineage, related, shared_branch
from xmodctl.languages.tags import Tag, described, fold, likely_subtags, name, read, spellings

_SHOWN = 3  # relatives in a message


@dataclass(frozen=True)
class Match:
    """An adapter, the English name of its language, and a note to print where the spelling left a choice."""

    adapter: str
    language: str
    note: str | None = None


def resolve(text: str, adapters: Sequence[str], *, model: str, open_languages: bool = False) -> Match:
    """Return the adapter that `text` names.

    The model's own names come first, then codes and English names. A model with open languages takes any language:
    under a listed name, else under the one X-MOD checkpoints use, else under one made of code and likely region.

    Raises:
        UserError: `text` is no language, the model lacks it, or several adapters fit.
    """
    if (own := _own_name(text, adapters, model)) is not None:
        return Match(own, name(own))
    heirs = spellings()["retired"].get(fold(text))
    if heirs and (match := _heir(text, heirs, adapters)):
        return match
    tag = read(text)
    if tag is None:
        raise UserError(_not_a_language(text, adapters, model))
    if match := _choose(text, tag, adapters, model):
        return match
    if not open_languages:
        raise UserError(_absent(text, tag, adapters, model))
    known = spellings()["checkpoint_names"]
    if heirs and (match := _heir(text, heirs, known)):
        return match
    return _choose(text, tag, known, model) or _coin(tag)


def same(a: str, b: str) -> bool:
    """Say whether two spellings name one language without contradicting each other in script or region."""
    if fold(a) == fold(b):
        return True
    one, other = read(a), read(b)
    if one is None or other is None or not one.names_the_language_of(other) or _scripts_differ(one, other):
        return False
    return one.region is None or other.region is None or one.region == other.region


def _own_name(text: str, adapters: Sequence[str], model: str) -> str | None:
    if text.strip() in adapters:
        return text.strip()
    alike = [adapter for adapter in adapters if fold(adapter) == fold(text)]
    if len(alike) > 1:
        raise UserError(_ambiguous(text, alike, model))
    return alike[0] if alike else None


def _heir(text: str, heirs: Sequence[str], adapters: Sequence[str]) -> Match | None:
    """Return the adapter of the first heir of a retired code, with a note that names the others."""
    present = [adapter for heir in heirs for adapter in adapters if _language_of(adapter) == heir]
    if not present:
        return None
    others = f" (also here: {', '.join(present[1:])})" if present[1:] else ""
    note = f"{text.strip()} is retired and means {name(present[0])} here, adapter {present[0]}{others}"
    return Match(present[0], name(present[0]), note)


def _language_of(adapter: str) -> str | None:
    tag = read(adapter)
    return tag.language if tag else None


def _choose(text: str, asked: Tag, adapters: Sequence[str], model: str) -> Match | None:
    """Return the one adapter that fits, None if none does; more than one without a default is the user's to choose."""
    fitting = [(adapter, tag) for adapter, tag in _of_the_language(asked, adapters) if _fits(asked, tag)]
    fitting = [pair for pair in fitting if pair[1].variety == asked.variety] or fitting
    fitting = [pair for pair in fitting if pair[1].region == asked.region] or fitting
    usual = [pair for pair in fitting if not _scripts_differ(asked, pair[1])] or fitting
    if len(usual) > 1:
        raise UserError(_ambiguous(text, [adapter for adapter, _ in usual], model))
    if not usual:
        return None
    adapter, tag = usual[0]
    note = None
    if len(fitting) > 1 or _scripts_differ(asked, tag):
        note = f"{text.strip()} means {adapter} here, {name(adapter)}"
        note += "".join(f"; write {other} for {name(other)}" for other, _ in fitting if other != adapter)
    elif asked.region and tag.region is None and asked.region != _likely_region(asked):
        note = f"{text.strip()} goes through {adapter}, which is not bound to a region"
    return Match(adapter, name(adapter), note)


def _of_the_language(asked: Tag, adapters: Sequence[str]) -> list[tuple[str, Tag]]:
    read_adapters = [(adapter, tag) for adapter in adapters if (tag := read(adapter))]
    return [(adapter, tag) for adapter, tag in read_adapters if asked.names_the_language_of(tag)]


def _fits(asked: Tag, offered: Tag) -> bool:
    """Say whether an adapter of the language may serve: what is stated must hold, what is not stated is free."""
    if asked.script is None and asked.region is None:
        return True
    if _scripts_differ(asked, offered):
        return False
    if asked.language in spellings()["told_apart_by_script"]:
        return True
    return asked.region is None or offered.region is None or asked.region == offered.region


def _scripts_differ(one: Tag, other: Tag) -> bool:
    return bool(one.written_in and other.written_in and one.written_in != other.written_in)


def _likely_region(tag: Tag) -> str | None:
    likely = likely_subtags(tag.language)
    return likely[1] if likely else None


def _coin(tag: Tag) -> Match:
    """Make the name of an adapter that no known checkpoint has: `zu_ZA`, or `hi_Latn` for an unusual script."""
    likely = likely_subtags(tag.language, script=tag.script, region=tag.region)
    region = likely[1] if likely else tag.region or "ZZ"
    adapter = f"{tag.language}_{region}"
    if region == "ZZ" or not region.isalpha() or read(adapter) is None:  # nowhere, a continent, or no country
        adapter = f"{tag.language}_XX"  # X-MOD's way to say none
    made = read(adapter)
    assert made is not None
    if tag.script and made.written_in != tag.script:
        adapter = f"{tag.language}_{tag.script}"
    return Match(adapter, name(adapter))


def _quoted(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def _list_them(model: str) -> str:
    return f"`xmodctl langs --model {model}` lists what it has"


def _ambiguous(text: str, fitting: Sequence[str], model: str) -> str:
    return f"{_quoted(text)} fits several adapters of {model}: {', '.join(fitting)}; write the one you mean"


def _not_a_language(text: str, adapters: Sequence[str], model: str) -> str:
    by_name = {name(adapter): adapter for adapter in reversed(adapters)}
    near = near_misses(text.strip()[:60], [*adapters, *by_name])
    adapters_near = dict.fromkeys(by_name.get(found, found) for found in near)
    meant = " or ".join(f"{adapter} ({name(adapter)})" for adapter in adapters_near)
    return (
        f"{_quoted(text)} is neither an adapter of {model} nor the code or English name of a language"
        f"{f'; did you mean {meant}?' if meant else ''} ({_list_them(model)})"
    )


def _absent(text: str, asked: Tag, adapters: Sequence[str], model: str) -> str:
    spoken = described(asked)
    asked_for = _quoted(text) if spoken.casefold() == text.strip().casefold() else f"{_quoted(text)} ({spoken})"
    lacks = f"{model} has no adapter for {asked_for}"
    if variants := [adapter for adapter, _ in _of_the_language(asked, adapters)]:
        return f"{lacks}; did you mean {' or '.join(variants)}? ({_list_them(model)})"
    branch = lineage(asked.code)
    if kin := related(asked.code, adapters)[:_SHOWN]:
        near = ", ".join(f"{adapter} ({shared_branch(asked.code, adapter)[-1]})" for adapter in kin)
        lacks += f"; its nearest relatives there: {near}"
    elif branch:
        lacks += f", and none for any language of its family ({branch[0]})"
    else:
        lacks += f", nor is a relative of it known{did_you_mean(text.strip()[:60], list(adapters))}"
    return f"{lacks} ({_list_them(model)})"
