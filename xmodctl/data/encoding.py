"""Encoded rows, cached on disk under the content that they were made from."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xmodctl.catalog.recipe import Recipe
from xmodctl.core.encoded import Encoded, Ragged
from xmodctl.core.files import cache_folder, prune, whole_file
from xmodctl.core.locks import caching
from xmodctl.core.safetensors_io import DamagedFileError, read_arrays, write_arrays
from xmodctl.core.versions import versions
from xmodctl.data.rows import Rows
from xmodctl.kinds import Kind
from xmodctl.kinds.texts import text_columns

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase


_log = logging.getLogger(__name__)

LAYOUT = 3
"""Version of the cache files. Files of another version are made again."""

CACHE_BYTES = 4 * 2**30
"""The size limit of the cache; the least recently used files are removed first."""


def cached(key_parts: Mapping[str, str], make: Callable[[], Encoded]) -> Encoded:
    """Return what `make` returned for these parts last time, or call it and cache the result.

    Each encoding is one safetensors file, named by the sha256 of the parts; a damaged file is made again. Processes
    that need the same encoding wait for each other. If the cache cannot be written, nothing is cached.
    """
    folder = cache_folder() / "encodings"
    parts = json.dumps({**key_parts, "layout": LAYOUT}, sort_keys=True)
    path = folder / f"{hashlib.sha256(parts.encode()).hexdigest()}.safetensors"
    with caching(path):
        if (encoded := _load(path)) is not None:
            return encoded
        encoded = make()
        try:
            _save(encoded, path)
            prune(folder, CACHE_BYTES, keep=path)
        except OSError as error:
            _log.warning("encodings are not cached in %s: %s", folder, error)
        return encoded


def _load(path: Path) -> Encoded | None:
    """Return a cached encoding, or None if there is none or it is damaged."""
    try:
        arrays, facts = read_arrays(path, sealed=True)
        os.utime(path)  # used now, so the last to be removed
    except DamagedFileError as error:
        _log.warning("the rows are encoded again: %s", error)
        return None
    except OSError:
        return None
    bounds = arrays["offsets"]
    return Encoded(
        input_ids=Ragged(arrays["input_ids"], bounds),
        rows=arrays["rows"],
        scalars={name: values for group, name, values in _grouped(arrays) if group == "scalars"},
        ragged={name: Ragged(values, bounds) for group, name, values in _grouped(arrays) if group == "ragged"},
        offsets={name: Ragged(values, bounds) for group, name, values in _grouped(arrays) if group == "places"},
        counts=json.loads(facts["counts"]),
        choices=json.loads(facts["choices"]),
    )


def _save(encoded: Encoded, path: Path) -> None:
    arrays = {
        "offsets": encoded.input_ids.bounds,
        "input_ids": encoded.input_ids.values,
        "rows": encoded.rows,
        **{f"scalars.{name}": values for name, values in encoded.scalars.items()},
        **{f"ragged.{name}": ragged.values for name, ragged in encoded.ragged.items()},
        **{f"places.{name}": ragged.values for name, ragged in encoded.offsets.items()},
    }
    arrays = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    with whole_file(path) as part:
        facts = {"counts": json.dumps(encoded.counts), "choices": json.dumps(encoded.choices)}
        write_arrays(part, arrays, facts, sealed=True)


def _grouped(arrays: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, str, NDArray[Any]]]:
    for key, values in arrays.items():
        group, _, name = key.partition(".")
        yield group, name, values


def encode(
    kind: Kind, rows: Rows, tokenizer: "PreTrainedTokenizerBase", recipe: Recipe, *, prefix: str = ""
) -> Encoded:
    """Encode rows according to the recipe, or read the encoding from the cache; `prefix` is put before each text."""
    key = {
        "tool": versions()["xmodctl"],  # another release may encode differently
        "rows": rows.fingerprint,
        "kind": kind.name,
        "tokenizer": tokenizer_identity(tokenizer),
        "max_length": str(recipe.max_length),
        "stride": str(recipe.overlap),
        **({"prefix": prefix} if prefix else {}),
    }

    def make() -> Encoded:
        table = with_prefix(rows.table, prefix) if prefix else rows.table
        return kind.encode(table, tokenizer, max_length=recipe.max_length, stride=recipe.overlap)

    return cached(key, make)


def with_prefix(table: "datasets.Dataset", prefix: str) -> "datasets.Dataset":
    """Return rows with a prefix before each text and each text of a pair."""
    for column in text_columns(table):
        texts = [prefix + text for text in table[column]]
        table = table.remove_columns(column).add_column(column, texts)
    return table


def tokenizer_identity(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return a sha256 of the tokenizer's whole definition, but for how its last call truncated and padded."""
    _, mark, definition = tokenizer.backend_tokenizer.to_str().partition('"added_tokens"')
    text = f'{{"version":"1.0","truncation":null,"padding":null,{mark}{definition}'
    return hashlib.sha256(text.encode()).hexdigest()
