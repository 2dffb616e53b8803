"""The weights of a mixture of adapters by how close their languages are in structure; neither text nor data is needed.

The idea is that of TIPA (Accou and Poelman 2026, arXiv 2601.16629), which averages the weights of adapters so; here,
their outputs are mixed, as everywhere, and only those of the nearest languages.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from xmodctl.adapters.mixtures import BY_TYPOLOGY, MIXED, PARTS, Mixture, trained
from xmodctl.adapters.packages import Package
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, Notice
from xmodctl.languages import same
from xmodctl.languages.typology import DISTANCE, library_version, typological_distances

if TYPE_CHECKING:
    from xmodctl.model import Facts, Source


def mixture_by_typology(
    language: str, source: "Source | Facts", packages: Sequence[Package], listen: Listener
) -> Mixture:
    """Return the mixture of the adapters whose languages are nearest to one, which has none of its own.

    Weights are proportional to 1 minus the distance, in tenths.

    Args:
        language: The language that the mixture is for; its own adapter, if there is one, takes no part.
        source: The base model, whose trained adapters take part.
        packages: Packages whose adapters take part, too, unless they have their own vocabulary.
        listen: Called with a notice that names the mixture and the distances.

    Raises:
        UserError: There are no adapters to mix, or the distances are not known.
    """
    usable = [package for package in packages if not package.vocabulary]
    adapters = sorted({*trained(source), *(package.language for package in usable)})
    others = [adapter for adapter in adapters if not same(adapter, language)]
    if not others:
        raise UserError(
            f"{source.name} has no trained adapters to mix; add some with --adapter DIR, or train one with "
            "`xmodctl add-language LANG --text FILE`"
        )
    distances = typological_distances(language, others)
    nearest = sorted(distances, key=lambda adapter: (distances[adapter], adapter))[:MIXED]
    if not nearest:
        raise UserError(
            f"{language}: URIEL+ knows too few features of the languages that have adapters ({', '.join(others)}) to "
            "compare them; choose weights on text with --mix-by text, or give weights, as in zu=0.7*sw+0.3*so"
        )
    kept = {adapter: round(distances[adapter], 4) for adapter in nearest}
    library = f"URIEL+ {library_version()}, {DISTANCE} distance"
    shares = in_tenths([1 - distances[adapter] for adapter in nearest])
    weights = [(adapter, Fraction(share)) for adapter, share in zip(nearest, shares, strict=True)]
    mixture = Mixture.of(weights, usable, BY_TYPOLOGY, library=library, distances=kept)
    shown = ", ".join(f"{adapter} {distance:.2f}" for adapter, distance in kept.items())
    listen(Notice(f"{language}: {mixture.language}, by {library}: {shown}"))
    return mixture


def in_tenths(similarities: Sequence[float]) -> list[int]:
    """Return whole shares of `PARTS` that are as near as possible to proportional (the largest remainder method)."""
    total = sum(similarities)
    exact = [similarity / total * PARTS if total else PARTS / len(similarities) for similarity in similarities]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda place: (shares[place] - exact[place], place))
    for place in by_remainder[: PARTS - sum(shares)]:
        shares[place] += 1
    return shares
