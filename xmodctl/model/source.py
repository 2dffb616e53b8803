"""Base checkpoints: `mini`, a folder, or from the Hub; and what is known about them before they are downloaded."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from xmodctl.core.errors import UserError, did_you_mean, near_misses
from xmodctl.core.files import read_json
from xmodctl.core.messages import quoted
from xmodctl.model import hub, weights

_SIZES = (*("hidden_size", "num_hidden_layers", "adapter_reduction_factor", "vocab_size", "max_position_embeddings"),)
"""Sizes that every configuration of X-MOD gives."""

_TOO_LARGE = 2**24
"""Larger than any size of any encoder."""

TRAINED_ADAPTERS = "trained_adapters"
"""Key of a config.json with open languages: the languages whose adapters are trained, not identities."""
_HUB_ID = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+?)(@(?P<revision>[^@\s]+))?")


@dataclass(frozen=True)
class Source:
    """A base checkpoint on disk."""

    name: str  # as the user gives it: "facebook/xmod-base@REV", "mini", "./folder"
    id: str  # the Hub's id, "mini", or the folder's absolute path
    revision: str | None  # commit of a Hub checkpoint; sha256 of mini's weights; None for a folder
    folder: Path  # contains config.json and weights
    languages: tuple[str, ...]  # in the checkpoint's order
    config_sha256: str  # of the canonical JSON of config.json
    open_languages: bool  # languages that are not listed get an identity adapter

    @property
    def config(self) -> dict[str, Any]:
        """The content of config.json."""
        return read_config(self.folder, self.name)

    @property
    def placeholders(self) -> frozenset[str]:
        """The languages whose adapter is an untrained identity."""
        return _placeholders(self.config, self.languages, self.open_languages)

    def is_placeholder(self, language: str) -> bool:
        """Return whether the adapter of a language is an untrained identity, listed or added when it is needed."""
        return language in self.placeholders or (self.open_languages and language not in self.languages)


@dataclass(frozen=True)
class Facts:
    """What is known about a checkpoint without downloading it; None for what is not known."""

    name: str
    id: str
    revision: str | None
    folder: Path | None
    languages: tuple[str, ...] | None
    language_count: int
    config_sha256: str | None
    open_languages: bool
    config: Mapping[str, Any]  # as in config.json; `vocab_size` may be missing
    license: str | None
    origin: str  # "folder", "cache" (downloaded before), or "table" (shipped with xmodctl)

    @property
    def placeholders(self) -> frozenset[str]:
        """The languages, as far as known, whose adapter is an untrained identity."""
        return _placeholders(self.config, self.languages or (), self.open_languages)


def find(name: str, *, languages: Sequence[str] = ()) -> Source:
    """Find the checkpoint `name`: "mini", a folder, or a Hub id with an optional `@revision`, downloading if needed.

    `languages` are checked after the download, and for known checkpoints before it, too.

    Raises:
        UserError: There is no such checkpoint, it is not X-MOD, its files are damaged, or it lacks a language.
    """
    place = _parse(name)
    if isinstance(place, Path):
        return _source(name, str(place.resolve()), None, place, languages)
    if place == ("mini", None):
        from xmodctl.model import mini

        folder = mini.build()
        return _source(name, "mini", weights.known_sha256(folder / "model.safetensors"), folder, languages)
    repository, revision = place
    if known := _known().get(repository):
        _check_languages(repository, known.get("languages"), languages, open_languages=False)
    folder = hub.download(repository, revision)
    return _source(name, repository, folder.name, folder, languages)


def look_up(name: str) -> Facts:
    """Return what is known about `name` without a download: from its folder, the Hub cache, or the shipped table.

    Raises:
        UserError: The name is wrong, or nothing is known about it.
    """
    place = _parse(name)
    if isinstance(place, Path):
        return _facts(name, str(place.resolve()), None, place, origin="folder")
    repository, revision = place
    known = _known().get(repository)
    if repository != "mini" and (config := hub.cached_config(repository, revision)):
        stated = known["license"] if known else None
        return _facts(name, repository, config.parent.name, config.parent, origin="cache", stated_license=stated)
    if known is None:
        raise UserError(
            f"{name} is not known before it is downloaded; run `{config_download(name)}` first, "
            f"or use a known checkpoint ({', '.join(_known())})"
        )
    return Facts(
        name=name,
        id=repository,
        revision=revision,
        folder=None,
        languages=known.get("languages"),
        language_count=known["count"],
        config_sha256=None,
        open_languages=known.get("open_languages", False),
        config={key: value for key, value in known["config"].items() if value is not None},
        license=known["license"],
        origin="table",
    )


def config_download(name: str) -> str:
    """Return the command that downloads the configuration of a model on the Hub, after which `look_up` knows it."""
    repository, _, revision = name.partition("@")
    return f"hf download {repository} config.json" + (f" --revision {revision}" if revision else "")


def read_config(folder: Path, name: str) -> dict[str, Any]:
    """Return the content of `folder/config.json`.

    Raises:
        UserError: It is not the configuration of an X-MOD model.
    """
    path = folder / "config.json"
    config: dict[str, Any] = read_any_config(folder, name)
    model_type = config.get("model_type") if isinstance(config, dict) else None
    if model_type != "xmod":
        raise UserError(
            f"{name} is not an X-MOD model (its config.json has the model_type {model_type!r}); "
            "choose one, such as --model mini or --model facebook/xmod-base"
        )
    languages = config.get("languages")
    if not isinstance(languages, list) or not languages or not all(isinstance(name, str) for name in languages):
        raise UserError(f"{path} must list the names of its adapters under `languages`, not {languages!r}")
    _check_values(config, path)
    return config


def _check_values(config: Mapping[str, Any], path: Path) -> None:
    """Refuse sizes and rates that no model has, which the library does not check or reports without the file."""
    wrong, remedy = f"{path} is not a valid X-MOD configuration", "restore the value, or download the file again"
    for key in _SIZES:
        if not (type(size := config.get(key)) is int and 0 < size < _TOO_LARGE):
            raise UserError(f"{wrong}: `{key}` must be a whole number above 0, not {quoted(size)}; {remedy}")
    for key in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"):
        rate = config.get(key)
        if rate is not None and not (type(rate) in (int, float) and 0 <= rate <= 1):
            raise UserError(f"{wrong}: `{key}` must be a number from 0 to 1, not {quoted(rate)}; {remedy}")
    pad = config.get("pad_token_id", 1)
    if type(pad) is not int or pad < 0:
        raise UserError(f"{wrong}: `pad_token_id` must be a whole number, not {quoted(pad)}; {remedy}")


def read_any_config(folder: Path, name: str) -> Any:
    """Return the JSON value in `folder/config.json` of any model.

    Raises:
        UserError: The file is missing or is not JSON.
    """
    path = folder / "config.json"
    try:
        return read_json(path)
    except FileNotFoundError:
        raise UserError(f"{name} is not a checkpoint: {folder} has no config.json") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); download the file again") from error


def longest_input(config: Mapping[str, Any]) -> int:
    """Return how many tokens a model reads at most: positions are counted after that of padding."""
    return int(config["max_position_embeddings"]) - int(config.get("pad_token_id", 1)) - 1


def config_sha256(config: Mapping[str, Any]) -> str:
    """Return the sha256 of a configuration's canonical JSON: sorted keys, no spaces."""
    canonical = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode(errors="surrogatepass")).hexdigest()


def check_languages(source: Source, languages: Sequence[str]) -> None:
    """Refuse a language that the checkpoint has no adapter for.

    Raises:
        UserError: There is such a language.
    """
    _check_languages(source.name, source.languages, languages, open_languages=source.open_languages)


def _check_languages(
    name: str, available: Sequence[str] | None, languages: Sequence[str], *, open_languages: bool
) -> None:
    if available is None or open_languages:
        return
    for language in languages:
        if language not in available:
            raise UserError(
                f"{name} has no adapter for {language!r}{did_you_mean(language, tuple(available))}; "
                f"it has {len(available)}, which `xmodctl langs --model {name}` lists"
            )


def _placeholders(config: Mapping[str, Any], languages: Sequence[str], open_languages: bool) -> frozenset[str]:
    return frozenset(languages) - frozenset(config.get(TRAINED_ADAPTERS, ())) if open_languages else frozenset()


def _source(name: str, identity: str, revision: str | None, folder: Path, languages: Sequence[str]) -> Source:
    config = read_config(folder, name)
    weights.check(folder, name)
    source = Source(
        name=name,
        id=identity,
        revision=revision,
        folder=folder,
        languages=tuple(config["languages"]),
        config_sha256=config_sha256(config),
        open_languages=config.get("identity_adapters") is True,
    )
    check_languages(source, languages)
    return source


def _facts(
    name: str, identity: str, revision: str | None, folder: Path, *, origin: str, stated_license: str | None = None
) -> Facts:
    config = read_config(folder, name)
    return Facts(
        name=name,
        id=identity,
        revision=revision,
        folder=folder,
        languages=tuple(config["languages"]),
        language_count=len(config["languages"]),
        config_sha256=config_sha256(config),
        open_languages=config.get("identity_adapters") is True,
        config=config,
        license=stated_license,
        origin=origin,
    )


def _parse(name: str) -> Path | tuple[str, str | None]:
    """Return a folder, or a Hub id and its revision.

    Raises:
        UserError: `name` can be neither.
    """
    if name == "mini":
        return "mini", None
    path = Path(name).expanduser()
    if name and path.is_dir():
        return path
    if name and path.exists():
        raise UserError(f"{name} is a file; give a folder with config.json, a Hub id, or `mini`")
    match = _HUB_ID.fullmatch(name)
    known = tuple(_known())
    if match is None or name.startswith((".", "~")):
        short = {choice.rpartition("/")[2]: choice for choice in reversed(known)}
        likely = [short[guess] for guess in near_misses(name, tuple(short))]
        hint = f" (did you mean {' or '.join(likely)}?)" if likely else f" (known checkpoints: {', '.join(known)})"
        raise UserError(f"there is no model folder {name!r}{hint}")
    repository = match["repository"]
    if repository.startswith("facebook/xmod") and repository not in known:
        existing = [choice for choice in known if choice.startswith("facebook/")]
        raise UserError(f"{repository} does not exist on the Hub; these do: {', '.join(existing)}")
    return repository, match["revision"]


def checkpoints() -> tuple[str, ...]:
    """Return the names of the published checkpoints that are known before anything is downloaded."""
    return tuple(_known())


@cache
def _known() -> dict[str, dict[str, Any]]:
    import yaml

    table = yaml.safe_load((Path(__file__).parent / "known.yaml").read_text(encoding="utf-8"))
    known: dict[str, dict[str, Any]] = table["checkpoints"]
    for entry in known.values():
        if "languages" in entry:
            entry["languages"] = tuple(entry["languages"].split())
    return known
