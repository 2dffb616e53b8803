"""The initial values of a new adapter: those of adapters, of a mixture of adapters, the identity, or random numbers."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from xmodctl.adapters.attaching import attach
from xmodctl.adapters.mixtures import BY_TEXT, Mixture, is_mixture, trained, with_mixtures
from xmodctl.adapters.packages import Package, is_wide
from xmodctl.adapters.written_weights import MIX, NONE, parsed
from xmodctl.core.errors import UserError
from xmodctl.languages import resolve, same
from xmodctl.training.masked_lm.ranking import IDENTITY

if TYPE_CHECKING:
    from torch import Tensor

    from xmodctl.model import Facts, Source, Xmod

AUTO, RANDOM = "auto", "random"


def check_init_from(
    text: str,
    model: "Source | Facts",
    new_languages: Collection[str] = (),
    packages: Sequence[Package] = (),
    note: Callable[[str], None] = lambda _: None,
) -> str:
    """Return `--init-from` with its languages as the checkpoint spells them, and with the shares of a mixture.

    Without a language in front, `sw+so` is the mean of the weights of two adapters. `zu=sw+so`, weights, and `mix` are
    mixtures of the outputs of adapters, as everywhere else; shares are then in the result: `1*sw_KE+1*so_SO`.

    Args:
        text: What is written.
        model: The base model.
        new_languages: The languages that are added; one of them may stand in front of a mixture.
        packages: Packages whose adapters can be used, too.
        note: Called with what a reader may not expect.

    Raises:
        UserError: A part of it is neither a keyword nor an adapter, or a mixture cannot be used.
    """
    if text in (AUTO, RANDOM, IDENTITY):
        return text
    language, pairs, start = (part.strip() for part in text.rpartition("="))
    if pairs and not any(same(language, new) for new in new_languages):
        raise UserError(f"--init-from {text}: {language} is not added here; added are {', '.join(new_languages)}")
    if pairs and len(new_languages) > 1:
        raise UserError(
            f"--init-from {text} is for {language} alone, and this command adds {', '.join(new_languages)}; add each "
            "with a command of its own, or omit the language: a mixture with weights, or `mix`, is then for all"
        )
    if (pairs and is_mixture(start)) or "*" in start or start.casefold() == MIX:
        return _checked_mixture(text, start, model, packages, note)
    parts = [part.strip() for part in start.split("+")]
    if not all(parts) or {AUTO, RANDOM, IDENTITY} & set(parts):
        raise UserError(
            f"--init-from {text}: choose {AUTO}, {RANDOM}, {IDENTITY}, LANG, LANG+LANG, or a mixture such as "
            "zu=0.7*sw+0.3*so or zu=mix"
        )
    adapters = tuple(dict.fromkeys([*(model.languages or ()), *(package.language for package in packages)]))
    names = list(dict.fromkeys(resolve(part, adapters, model=model.name).adapter for part in parts))
    if len(names) > 1 and (wide := next((each for each in packages if each.language in names and is_wide(each)), None)):
        raise UserError(
            f"--init-from {text}: {wide.language} in {wide.folder} is wider than the other adapters, so that their "
            f"weights have no mean; mix what they add, as in {(*new_languages, 'zu')[0]}={start}"
        )
    return "+".join(names)


def _checked_mixture(
    text: str, start: str, model: "Source | Facts", packages: Sequence[Package], note: Callable[[str], None]
) -> str:
    """Return a mixture with its shares, or `mix`.

    Raises:
        UserError: It cannot be used.
    """
    useful = {*trained(model), *(package.language for package in packages)}
    remedy = "add trained adapters with --adapter DIR, or start from the identity (--init-from identity)"
    if start.casefold() == MIX:
        if not useful:
            raise UserError(f"--init-from {text}: {model.name} has no trained adapters to mix; {remedy}")
        return MIX
    if "@" in start:
        raise UserError(f"--init-from {text}: write the weights without `@` and what follows it")
    _, mixtures = with_mixtures(
        start, model, packages, lambda event: note(str(getattr(event, "text", event))), is_bare=True
    )
    if not mixtures:
        raise UserError(f"--init-from {text} has one adapter with a weight above 0; name it alone")
    if not useful & mixtures[0].weights.keys():
        raise UserError(f"--init-from {text}: all of these are untrained identities; {remedy}")
    return start_name(mixtures[0])


def start_name(mixture: Mixture) -> str:
    """Return a mixture with its shares also where they are even: without them, `a+b` is a mean of weights."""
    parts = "+".join(f"{share}*{adapter}" for adapter, share in mixture.shares)
    return f"{parts}@{mixture.by}" if mixture.by else parts


def mixture_of(start: str) -> Mixture | None:
    """Return the mixture that an adapter is initialized from; None if it is none."""
    shares, _, by = start.partition("@")
    return Mixture.of(parsed(start, shares), by=by) if "*" in shares else None


def sources_of(start: str) -> list[str]:
    """Return the adapters that an adapter is initialized from."""
    if mixture := mixture_of(start):
        return [adapter for adapter in mixture.weights if adapter not in (NONE, IDENTITY)]
    return [source for source in start.split("+") if source not in (RANDOM, IDENTITY)]


def drawn_tensors(model: "Xmod", start: str, language: str, seed: int) -> dict[str, "Tensor"]:
    """Return random tensors, or those of an identity, for the adapter of `language`.

    They are drawn from the seed and the language's name, in the way stock initializes linear layers: weights are normal
    with the configuration's standard deviation, biases are zero. For the identity, the first layer is drawn in this way
    and the second layer is zero.
    """
    import torch

    from xmodctl.model.building import adapter_shapes

    digest = hashlib.sha256(f"{language} {seed}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    tensors = {name: torch.zeros(shape) for name, shape in adapter_shapes(language, model.module.config).items()}
    for name, tensor in tensors.items():
        if tensor.ndim == 2 and (start == RANDOM or "dense1" in name):
            tensor.normal_(std=model.module.config.initializer_range, generator=generator)
    return tensors


def copied_tensors(model: "Xmod", start: str, language: str) -> dict[str, "Tensor"]:
    """Return the values that the adapter of `language` gets from others; none if it is drawn.

    They are those of one adapter, the mean of several, or a mixture folded into one, as wide as its parts together.
    They share no memory with the adapters that they come from.
    """
    import torch

    from xmodctl.model.folding import fold

    if start in (RANDOM, IDENTITY):
        return {}
    if mixture := mixture_of(start):
        return {name: tensor.clone() for name, tensor in mixture.fold(model, language).items()}
    sources = [fold(language, [(1.0, source, model.adapter(source))]) for source in start.split("+")]
    return {name: torch.stack([tensors[name] for tensors in sources]).mean(0) for name in sources[0]}


@contextmanager
def attached(model: "Xmod", packages: Sequence[Package]) -> Iterator[None]:
    """Give a model the adapters of packages, and take them away again, and what a search for a mixture tried."""
    for package in packages:
        attach(model, package)
    yield
    added = {BY_TEXT, *(package.language for package in packages)} & model.changed_adapters.keys()
    if added:
        model.swap([next(language for language in model.source.languages if language not in added)])
        for language in added:
            model.forget(language)
