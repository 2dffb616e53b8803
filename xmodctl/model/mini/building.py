"""Build the embedded model once: a plain `transformers` folder in the cache."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.core.errors import UserError
from xmodctl.core.files import (
    cache_folder,
    read_json,
    remembered_digest,
    sha256_of,
    whole_file,
    whole_folder,
    write_json,
)
from xmodctl.core.locks import holding, lock_of
from xmodctl.core.reading import inside
from xmodctl.core.safetensors_io import write_tensors
from xmodctl.model.mini import weights

if TYPE_CHECKING:
    from torch import Tensor

# The languages of XNLI, with X-MOD's names. All other languages start from an identity adapter, too.
LANGUAGES = (
    *("en_XX", "de_DE", "fr_XX", "es_XX", "el_GR", "bg_BG", "ru_RU", "tr_TR"),
    *("ar_AR", "vi_VN", "th_TH", "zh_CN", "hi_IN", "sw_KE", "ur_PK"),
)

_LAYOUT = 1  # incremented whenever the same weight file would give other files
_MANIFEST = "manifest.json"  # name -> bytes and sha256 of every other file; written last. Older ones lack the sha256
_log = logging.getLogger(__name__)

# Names of a layer's parts in the weight file and in BERT.
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


def build() -> Path:
    """Return the folder of the embedded model, a complete X-MOD; the first call builds it in the cache within seconds.

    Raises:
        UserError: The package with the weights is not installed or damaged, or the cache cannot be written.
    """
    folder = cache_folder() / "mini" / f"{weights.SHA256[:16]}-{_LAYOUT}"
    if _is_whole(folder):
        return folder
    source = weights.locate()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with holding(lock_of(folder)):
            if not _is_whole(folder):  # another process may have built it in the meantime
                if folder.exists():
                    _log.warning("the embedded model in %s is damaged; it is built again", folder)
                with whole_folder(folder) as part:
                    _fill(part, source)
    except OSError as error:
        raise UserError(
            f"cannot write the embedded model (about 550 MB) to {folder}: {error.strerror or error}; "
            "free some space, or set the environment variable XMODCTL_CACHE to another folder"
        ) from error
    return folder


def _is_whole(folder: Path) -> bool:
    """Return whether all files are as they were written; a digest is computed once while a file does not change."""
    if not folder.exists():
        return False
    try:
        whole = all(_matches(inside(folder, name), facts) for name, facts in read_json(folder / _MANIFEST).items())
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        whole = False
    return whole


def _matches(file: Path, facts: Any) -> bool:
    if isinstance(facts, int):  # of an older version
        return file.stat().st_size == facts
    return bool(file.stat().st_size == facts["bytes"] and remembered_digest(file) == facts["sha256"])


def _fill(folder: Path, source: Path) -> None:
    file = weights.WeightFile.open(source)
    _write_model(file, folder)  # before the tokenizer, so that the two are never in memory together
    _write_tokenizer(file, folder)
    write_json(folder / _MANIFEST, {path.name: _facts(path) for path in sorted(folder.iterdir())})


def _facts(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def _write_model(file: weights.WeightFile, folder: Path) -> None:
    from xmodctl.model.conversion import convert

    sizes = file.geometry
    config = {
        "model_type": "bert",
        "hidden_size": sizes.hidden,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "intermediate_size": sizes.feed_forward,
        "layer_norm_eps": file.layer_norm_eps,
        "bos_token_id": file.bos,
        "eos_token_id": file.eos,
    }
    xmod = convert(config, _bert(file), LANGUAGES, pad_token_id=file.pad)
    write_json(folder / "config.json", xmod.config)
    with whole_file(folder / "model.safetensors") as part:
        write_tensors(part, xmod.tensors, {"format": "pt"})


def _write_tokenizer(file: weights.WeightFile, folder: Path) -> None:
    from xmodctl.model.mini.tokenizer import save, tokenizer

    save(tokenizer(file.pieces, file.unk, file.characters), folder, longest=file.geometry.positions)


def _bert(file: weights.WeightFile) -> "dict[str, Tensor]":
    """Return the weights under BERT's names, without the padding rows of the word embeddings."""
    import torch

    sizes = file.geometry
    hidden, wide = sizes.hidden, sizes.feed_forward
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {
        "embeddings.word_embeddings.weight": ("emb.word", (len(file.pieces), hidden)),
        "embeddings.position_embeddings.weight": ("emb.pos", (sizes.positions, hidden)),
        "embeddings.token_type_embeddings.weight": ("emb.type", (sizes.types, hidden)),
        "embeddings.LayerNorm.weight": ("emb.ln.w", (hidden,)),
        "embeddings.LayerNorm.bias": ("emb.ln.b", (hidden,)),
    }
    matrices = {"fi": (wide, hidden), "fo": (hidden, wide)}
    for layer in range(sizes.layers):
        for short, part in _LAYER.items():
            bias = (wide,) if short == "fi" else (hidden,)
            weight = (hidden,) if part.endswith("LayerNorm") else matrices.get(short, (hidden, hidden))
            shapes[f"encoder.layer.{layer}.{part}.weight"] = (f"l{layer}.{short}.w", weight)
            shapes[f"encoder.layer.{layer}.{part}.bias"] = (f"l{layer}.{short}.b", bias)
    return {bert: torch.from_numpy(file.tensor(name, *shape)) for bert, (name, shape) in shapes.items()}
