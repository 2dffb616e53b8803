"""Mixtures of adapters: how they are written, named, and identified, and the adapter that they fold into.

`sw+so` is even and `0.7*sw+0.3*so` is weighted; `none` in place of an adapter adds nothing. `mix` stands for weights
that are to be found. A mixture is named by its parts and whole-number shares in lowest terms, `7*sw_KE+3*so_SO`, with
the method behind `@` if the weights were found: `7*sw_KE+3*so_SO@text`.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from math import gcd, lcm
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.adapters.packages import Package
from xmodctl.adapters.written_weights import NONE, Weights, is_to_be_found, parsed
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, Notice
from xmodctl.core.messages import listed
from xmodctl.languages import resolve

if TYPE_CHECKING:
    from torch import Tensor

    from xmodctl.model import Facts, Source, Xmod

BY_TEXT = "text"
"""Weights with the lowest masked-LM loss on text of the language."""

BY_ENTROPY = "entropy"
"""Weights with the lowest entropy of predictions on the rows that are scored."""

BY_TYPOLOGY = "typology"
"""Weights that fall with the typological distance of the languages; no text is needed."""

FOUND_BY = (BY_TEXT, BY_ENTROPY, BY_TYPOLOGY)

MIXED = 4
"""Adapters that a mixture whose weights are found has at most."""
PARTS = 10
"""Weights that are found are multiples of one part in this many."""

Finder = Callable[[str], "Mixture"]
"""Finds the mixture for a language."""


@dataclass(frozen=True)
class Mixture:
    """Adapters whose outputs are summed with weights, which add up to 1."""

    shares: tuple[tuple[str, int], ...]  # adapter, share; the largest first
    packages: Mapping[str, Package] = field(default_factory=dict)  # of those parts that came in one
    by: str = ""  # the method that found the weights; empty: they were given
    details: Mapping[str, Any] = field(default_factory=dict)  # of the search, as plain JSON values

    @classmethod
    def of(cls, weights: Weights, packages: Sequence[Package] = (), by: str = "", **details: Any) -> "Mixture":
        """Return the mixture of adapters with these weights, which are scaled to add up to 1."""
        total: dict[str, Fraction] = {}
        for adapter, weight in weights:
            total[adapter] = total.get(adapter, Fraction(0)) + weight
        total = {adapter: weight for adapter, weight in total.items() if weight}
        common = lcm(*(weight.denominator for weight in total.values()))
        numbers = {adapter: int(weight * common) for adapter, weight in total.items()}
        shared = gcd(*numbers.values())
        shares = sorted(((adapter, number // shared) for adapter, number in numbers.items()), key=_largest_first)
        used = {package.language: package for package in packages if package.language in total}
        return cls(tuple(shares), used, by, details)

    @property
    def language(self) -> str:
        """The mixture's name among the adapters of a model."""
        is_even = len({share for _, share in self.shares}) == 1
        parts = "+".join(adapter if is_even else f"{share}*{adapter}" for adapter, share in self.shares)
        return f"{parts}@{self.by}" if self.by else parts

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each adapter."""
        total = sum(share for _, share in self.shares)
        return {adapter: share / total for adapter, share in self.shares}

    @cached_property
    def sha256(self) -> str:
        """What identifies the mixture: its parts, their packages, and how its weights were found."""
        parts = [(adapter, share, self._package(adapter)) for adapter, share in self.shares]
        return hashlib.sha256(json.dumps([parts, self.by, self.details], sort_keys=True).encode()).hexdigest()

    def _package(self, adapter: str) -> str | None:
        return self.packages[adapter].sha256 if adapter in self.packages else None

    def to_json(self) -> dict[str, Any]:
        """Return what rows and packages record about the mixture."""
        return {
            "name": self.language,
            "weights": self.weights,
            "by": self.by or "given",
            "details": dict(self.details),
            "packages": {
                adapter: {"sha256": package.sha256, "folder": str(package.folder.resolve())}
                for adapter, package in self.packages.items()
            },
        }

    def fold(self, model: "Xmod", language: str) -> "dict[str, Tensor]":
        """Return the adapter under the name of `language` that adds what the mixture adds.

        The adapters are those that the model has now: the checkpoint's, those of packages, or those of a run.
        """
        from xmodctl.model.folding import fold

        parts = [(weight, name, model.adapter(name)) for name, weight in self.weights.items() if name != NONE]
        first = model.source.languages[0]
        return fold(language, parts or [(0.0, first, model.adapter(first))])


Attached = Package | Mixture
"""Where adapters that a checkpoint lacks come from."""


def record_of(package: Attached | None) -> dict[str, Any] | None:
    """Return what a row records about the mixture that it went through, also if this came in a package."""
    if isinstance(package, Mixture):
        return package.to_json()
    record: dict[str, Any] | None = package.facts.get("mixture") if package else None
    return record


@dataclass(frozen=True)
class _Package:
    sha256: str
    folder: str


@dataclass(frozen=True)
class _Record:
    name: str
    weights: dict[str, float]
    by: str
    details: dict[str, Any]
    packages: dict[str, _Package]


@dataclass(frozen=True)
class _Text:
    lines: int
    origins: str


@dataclass(frozen=True)
class _ScoredRows:
    rows: int
    split: str


@dataclass(frozen=True)
class _Distances:
    library: str
    distances: dict[str, float]


def check_record(record: Any) -> None:
    """Check that a record is one that `Mixture.to_json` made, or None.

    Raises:
        ValueError: It is not.
    """
    if record is None:
        return
    from xmodctl.core.schema import validator

    checked = validator(_Record).validate_python(record)
    if checked.by == BY_TEXT:
        validator(_Text).validate_python(checked.details)
    if checked.by == BY_ENTROPY:
        validator(_ScoredRows).validate_python(checked.details)
    if checked.by == BY_TYPOLOGY:
        validator(_Distances).validate_python(checked.details)


def described(record: Mapping[str, Any]) -> str:
    """Return what `Mixture.to_json` recorded, as notes and cards show it."""
    weights = " + ".join(f"{weight:.3g} {adapter}" for adapter, weight in record["weights"].items())
    details = record["details"]
    if record["by"] == BY_ENTROPY:
        return (
            f"mixture {weights}, weights chosen by the entropy of predictions on {details['rows']:,} rows of the "
            f"{details['split']} split itself (transductive)"
        )
    if record["by"] == BY_TYPOLOGY:
        return f"mixture {weights}, weights chosen by the typological distance of the languages ({details['library']})"
    if record["by"] != BY_TEXT:
        return f"mixture {weights}, weights {record['by']}"
    return f"mixture {weights}, weights chosen by masked-LM loss on {details['lines']:,} lines of {details['origins']}"


def described_all(records: Sequence[Mapping[str, Any] | None]) -> tuple[str, ...]:
    """Return a note for each mixture among the records of rows."""
    return tuple(dict.fromkeys(described(record) for record in records if record))


def is_mixture(text: str) -> bool:
    """Return whether what follows `=` in a selection is a mixture, and not one adapter."""
    return "+" in text or "*" in text or "@" in text or is_to_be_found(text)


def with_mixtures(
    selection: str,
    source: "Source | Facts",
    packages: Sequence[Package],
    listen: Listener,
    *,
    find: Finder | None = None,
    stored: Sequence[Mapping[str, Any]] = (),
    is_bare: bool = False,
) -> tuple[str, tuple[Mixture, ...]]:
    """Return a selection of languages with each mixture under its name, and the mixtures.

    Args:
        selection: What `--langs` takes: `de,zu=0.7*sw+0.3*so`.
        source: The base model.
        packages: Adapter packages that are used with it.
        listen: Called with a notice about what a reader may not expect.
        find: Finds the weights of `zu=mix`; None where they cannot be found.
        stored: What the rows of a run record about mixtures, whose names with `@` can be used again.
        is_bare: Whether the items are adapters, so that `sw+so` needs no language in front, and `none` is none of them.

    Raises:
        UserError: A mixture cannot be used.
    """
    items, mixtures = [], []
    for item in (part.strip() for part in selection.split(",")):
        language, pairs, text = item.rpartition("=")
        is_none = is_bare and text.strip().casefold() == NONE
        if not (is_mixture(text) or is_none) or not (is_bare or (pairs and not item.startswith("-"))):
            items.append(item)
            continue
        mixture: Mixture | str
        if is_none:
            mixture = Mixture.of([(NONE, Fraction(1))])
        elif is_to_be_found(text):
            mixture = _searched(language.strip(), item, find)
        elif "@" in text:
            mixture = _again(item, text.strip(), packages, stored, can_find=find is not None)
        else:
            mixture = _weighted(item, text, source, packages, listen)
        if isinstance(mixture, Mixture):
            mixtures.append(mixture)
        items.append(f"{language}{pairs}{mixture if isinstance(mixture, str) else mixture.language}")
    return ",".join(items), tuple({mixture.language: mixture for mixture in mixtures}.values())


def one_adapter(
    lang: str,
    source: "Source",
    packages: Sequence[Package],
    listen: Listener,
    *,
    stored: Sequence[Mapping[str, Any]] = (),
) -> tuple[str, tuple[Attached, ...]]:
    """Return the adapter of texts in one language, for `--lang sw+so` or `--lang zu=sw+so`, and what provides it.

    With what the rows of a run record about mixtures, the names of those that were found mean these.

    Raises:
        UserError: It is a mixture that cannot be used.
    """
    selection, mixtures = with_mixtures(lang, source, packages, listen, stored=stored, is_bare=True)
    return (selection.rpartition("=")[2] if mixtures else selection), (*packages, *mixtures)


def _weighted(
    item: str, text: str, source: "Source | Facts", packages: Sequence[Package], listen: Listener
) -> "Mixture | str":
    """Return a mixture with the weights that are written; the adapter's name if only one has a weight."""
    written = parsed(item, text)
    adapters = [(_part(item, name, source, packages, listen), weight) for name, weight in written]
    mixture = Mixture.of(adapters, packages)
    if "*" in text and (total := sum(weight for _, weight in written)) != 1:
        scaled = ", ".join(f"{adapter} {weight:.4g}" for adapter, weight in mixture.weights.items())
        listen(Notice(f"{item}: the weights sum to {float(total):.6g}, not 1; they are scaled: {scaled}", caution=True))
    names = [adapter for adapter, _ in mixture.shares]
    if names == [NONE]:
        raise UserError(
            f"{item}: a mixture needs an adapter; `--controls none` scores a language without one, and `--lang none` "
            "predicts"
        )
    return names[0] if len(names) == 1 else mixture


def _part(item: str, name: str, source: "Source | Facts", packages: Sequence[Package], listen: Listener) -> str:
    """Return the adapter that a part of a mixture names.

    Raises:
        UserError: There is none, or it has its own vocabulary.
    """
    if name.casefold() == NONE:
        return NONE
    languages = tuple(dict.fromkeys([*(source.languages or ()), *(package.language for package in packages)]))
    try:
        match = resolve(name, languages, model=source.name, open_languages=source.open_languages)
    except UserError as error:
        remedy = (
            f"`--adapter DIR` adds the adapter of a package, and `xmodctl add-language {name} --text FILE` trains one"
        )
        raise UserError(f"{item}: {error}; {remedy}") from error
    package = next((package for package in packages if package.language == match.adapter), None)
    if package and package.vocabulary:
        raise UserError(
            f"{item}: {package.language} in {package.folder} has its own vocabulary, and a mixture reads text with the "
            f"model's; remove {name} from the mixture"
        )
    if package is None and source.open_languages and match.adapter not in trained(source):
        text = f"{item}: {match.adapter} is an untrained identity in {source.name} and adds nothing"
        listen(Notice(f"{text}; --adapter DIR adds a trained one", caution=True))
    return match.adapter


def trained(source: "Source | Facts") -> frozenset[str]:
    """Return the languages whose adapters in a checkpoint are not untrained identities, as far as known."""
    return frozenset(source.languages or ()) - source.placeholders


def _searched(language: str, item: str, find: Finder | None) -> Mixture:
    if find is None:
        raise UserError(
            f"{item}: weights are chosen on text in the language, and kept in a package: `xmodctl adapters mix "
            f"{language or 'LANG'}=mix --text FILE --model MODEL --out DIR`; then use it with --adapter DIR"
        )
    return find(language)


def _again(
    item: str, name: str, packages: Sequence[Package], stored: Sequence[Mapping[str, Any]], *, can_find: bool
) -> Mixture:
    """Return a mixture whose weights were found before, from what a row records.

    Raises:
        UserError: There is no such row.
    """
    record = next((each for each in reversed(stored) if each["name"] == name), None)
    shares, _, by = name.partition("@")
    weights = parsed(item, shares)
    if record is None:
        others = listed([f"`{each}`" for each in dict.fromkeys(each["name"] for each in stored) if "@" in each])
        known = f", but with {others}" if others else ""
        raise UserError(
            f"{item}: there is no score with a mixture of this name{known}; write {item.partition('@')[0]} with your "
            f"own weights{', or `mix` to choose them on text' if can_find else ''}"
        )
    mixture = replace(Mixture.of(weights, packages), by=by, details=record["details"])
    if {name: package.sha256 for name, package in mixture.packages.items()} != {
        name: package["sha256"] for name, package in record["packages"].items()
    }:
        folders = " ".join(f"--adapter {package['folder']}" for package in record["packages"].values())
        raise UserError(
            f"{item}: its weights were chosen for other adapters; give {folders}"
            + (", or `mix` to choose them again" if can_find else "")
        )
    return mixture


def parts_folders(record: Mapping[str, Any] | None) -> list[str]:
    """Return the folders of the packages whose adapters a row's mixture consists of."""
    return [str(Path(package["folder"])) for package in record["packages"].values()] if record else []


def _largest_first(part: tuple[str, int]) -> tuple[int, str]:
    return -part[1], part[0]
