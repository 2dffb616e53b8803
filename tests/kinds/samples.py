"""Rows, tasks, and tokenizers that the kinds are tested with, and logits that predict the targets."""

from collections.abc import Mapping
from typing import Any

import datasets
import numpy as np

from xmodctl.catalog.task import Task
from xmodctl.core.encoded import Encoded

# Contexts with answers to find in them, each answer once. Ours, in scripts with and without spaces, to the right and to
# the left, with marks, digits, quotes and brackets where answers begin and end.
CONTEXTS: dict[str, tuple[str, list[str]]] = {
    "en": (
        'The bridge was built in 1894 (cost: £1,184,000) and is called "Tower Bridge". It spans the Thames.',
        ["1894", "£1,184,000", '"Tower Bridge"', "the Thames", "The bridge"],
    ),
    "de": (
        "Das Café „Größe“ öffnete am 3. Mai 2014, schloss aber schon 2016. Inhaber war Jörg Weiß.",
        ["„Größe“", "3. Mai 2014", "2016", "Jörg Weiß"],
    ),
    "th": (
        "แม่น้ำเจ้าพระยาไหลผ่านกรุงเทพมหานครและไหลลงสู่อ่าวไทยใน พ.ศ. ๒๕๖๐ น้ำท่วมสูง",
        ["แม่น้ำเจ้าพระยา", "กรุงเทพมหานคร", "อ่าวไทย", "พ.ศ. ๒๕๖๐"],
    ),
    "zh": (
        "长江全长6300公里（又称扬子江）。它发源于青藏高原，在上海流入东海，“黄金水道”。",
        ["6300公里", "扬子江", "青藏高原", "上海", "“黄金水道”"],
    ),
    "ja": (
        "富士山は静岡県と山梨県にまたがる、標高3776メートルの火山である。",
        ["静岡県と山梨県", "3776メートル", "火山"],
    ),
    "hi": (
        "गंगा नदी हिमालय से निकलती है। इसकी लंबाई २५२५ किलोमीटर है और यह बंगाल की खाड़ी में गिरती है।",
        ["हिमालय", "२५२५ किलोमीटर", "बंगाल की खाड़ी"],
    ),
    "ta": ("காவிரி ஆறு கர்நாடகத்தில் தோன்றி, தமிழ்நாடு வழியாக 800 கி.மீ. ஓடுகிறது.", ["கர்நாடகத்தில்", "தமிழ்நாடு", "800 கி.மீ"]),
    "ar": (
        "وُلد الكاتب في القاهرة عام ١٩١١، ونال جائزة «نوبل» في الأدب.",
        ["القاهرة", "١٩١١", "«نوبل»", "الكاتب"],
    ),
    "fa": ("او می‌رود به تهران؛ شهری با ۹ میلیون نفر.", ["می‌رود", "تهران", "۹ میلیون"]),
    "he": ("העיר נוסדה בשנת 1909, ושמה תל־אביב.", ["1909", "תל־אביב"]),
    "ko": ("한강은 서울을 지나 서해로 흐른다. 길이는 494킬로미터이다.", ["서울", "서해", "494킬로미터"]),
    "ru": ("Волга впадает в Каспийское море; её длина — 3530 км.", ["Каспийское море", "3530 км", "Волга"]),
    "my": ("ဧရာဝတီမြစ်သည် မြန်မာနိုင်ငံတွင် စီးဆင်းသည်။", ["မြန်မာနိုင်ငံ"]),
}

# Words with entities, (words, tags).
SENTENCES: dict[str, tuple[str, str]] = {
    "en": ("Ada Lovelace , born in London , met Charles Babbage .", "B-PER I-PER O O O B-LOC O O B-PER I-PER O"),
    "th": ("สมชาย อยู่ ที่ กรุงเทพมหานคร", "B-PER O O B-LOC"),
    "zh": ("李 白 生 于 碎 叶 城 。", "B-PER I-PER O O B-LOC I-LOC I-LOC O"),
    "hi": ("महात्मा गांधी का जन्म पोरबंदर में हुआ ।", "B-PER I-PER O O B-LOC O O O"),
    "ar": ("نجيب محفوظ كاتب من القاهرة .", "B-PER I-PER O O B-LOC O"),
    "ta": ("பாரதியார் எட்டயபுரத்தில் பிறந்தார் .", "B-PER B-LOC O O"),
    "ru": ("Анна Ахматова жила в Петербурге", "B-PER I-PER O O B-LOC"),
    "zu": ("UNelson Mandela wazalelwa eMvezo .", "B-PER I-PER O B-LOC O"),
}

# Words that a tokenizer may make nothing of, or more or less than it seems.
INVISIBLE = "\u200b\ufe0f\u2060\ufeff"
AWKWARD = [*INVISIBLE, "\u00ad", "e\u0301", "½", "ﷺ", "👩\u200d👧", "می\u200cرود", "ﬁ", "\u0301", "Ａ"]

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
# Pieces of several characters that do not end where words do, as those of a real vocabulary.
LONG_PIECES = (  # between spaces
    "▁The ▁the ▁bridge ▁built ▁( ▁Café ▁2014, ▁Inc. ▁Волга ▁море; 公里 ）。 江。 青藏 高原， 上海 ”。 メートル 서울 "
    "▁١٩١١، ▁القاهرة ▁गंगा ▁नदी ▁है। แม่น้ํา กรุง เทพ"
)


def small_tokenizer() -> Any:
    """Return a Unigram tokenizer over the characters of the texts here, made the way XLM-R's is."""
    import unicodedata

    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    texts = [context for context, _ in CONTEXTS.values()] + [words for words, _ in SENTENCES.values()] + AWKWARD
    characters = sorted(set(unicodedata.normalize("NFKC", " ".join(texts) + "?")) - {" ", *INVISIBLE})
    pieces = [(piece, 0.0) for piece in SPECIAL] + [("▁", -4.0)]
    pieces += [(character, -5.0) for character in characters]
    pieces += [(piece, -6.0) for piece in LONG_PIECES.split()]
    backend = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    backend.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Replace(Regex(f"[{INVISIBLE}]"), ""),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return _fast(backend)


def xlm_r_tokenizer() -> Any:
    """Return XLM-R's tokenizer out of the embedded model's weight file."""
    from xmodctl.model.mini import weights
    from xmodctl.model.mini.tokenizer import tokenizer

    file = weights.WeightFile.open(weights.locate())
    return _fast(tokenizer(file.pieces, file.unk, file.characters))


def _fast(backend: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
        pad_token="<pad>", unk_token="<unk>", mask_token="<mask>", model_max_length=512,
    )  # fmt: skip


def task(kind: str, **changes: Any) -> Task:
    """Return a task of a kind; entities are PER and LOC."""
    columns = {
        "word-tagging": ("tokens", "tags"),
        "token-classification": ("tokens", "tags"),
        "question-answering": ("context", "question", "answers"),
        "multiple-choice": ("choices", "label", "context", "question"),
    }[kind]
    labels = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC") if "tags" in columns else ()
    values = {"name": "t", "title": "T", "kind": kind, "columns": {column: column for column in columns}}
    return Task.model_validate({**values, "labels": labels, "languages": {}, "recipe": "r", **changes})


def questions(*rows: tuple[str, str, Mapping[str, int] | list[tuple[str, int]]]) -> datasets.Dataset:
    """Return rows of (context, question, answers with their offsets)."""
    answers = [list(answer.items()) if isinstance(answer, Mapping) else answer for _, _, answer in rows]
    return datasets.Dataset.from_dict(
        {
            "id": [str(number) for number in range(len(rows))],
            "context": [context for context, _, _ in rows],
            "question": [question for _, question, _ in rows],
            "answers": [{"text": [t for t, _ in answer], "answer_start": [s for _, s in answer]} for answer in answers],
        },
        features=datasets.Features(
            {
                "id": datasets.Value("string"),
                "context": datasets.Value("string"),
                "question": datasets.Value("string"),
                "answers": {
                    "text": datasets.List(datasets.Value("string")),
                    "answer_start": datasets.List(datasets.Value("int64")),
                },
            }
        ),
    )


def sentences(*rows: tuple[list[str], list[int]]) -> datasets.Dataset:
    """Return rows of (words, ids of their tags)."""
    return datasets.Dataset.from_dict(
        {"id": [str(n) for n in range(len(rows))], "tokens": [w for w, _ in rows], "tags": [t for _, t in rows]},
        features=datasets.Features(
            {
                "id": datasets.Value("string"),
                "tokens": datasets.List(datasets.Value("string")),
                "tags": datasets.List(datasets.Value("int64")),
            }
        ),
    )


def logits_of_targets(kind: str, encoded: Encoded, outputs: int) -> list[np.ndarray]:
    """Return logits that predict the targets, padded as in a batch: the inverse of `encode`."""
    logits = []
    for unit in range(len(encoded)):
        feature = encoded.first[unit]
        length = len(encoded.input_ids[feature])
        if kind == "multiple-choice":
            values = np.zeros(encoded.sizes[unit], dtype=np.float32)
            values[encoded.scalars["labels"][feature]] = 9
        elif kind == "question-answering":
            values = np.zeros((length + 2, 2), dtype=np.float32)
            values[encoded.scalars["start_positions"][feature], 0] = 9
            values[encoded.scalars["end_positions"][feature], 1] = 9
            values[length:] = 99  # what is said of padding does not count
        elif kind == "sequence-classification":
            values = 9 * (encoded.scalars["labels"][feature] == np.arange(outputs)).astype(np.float32)
        else:
            labels = encoded.ragged["labels"][feature]
            values = np.full((length + 2, outputs), 99, dtype=np.float32)
            values[:length] = 9 * (labels[:, None] == np.arange(outputs))
        logits.append(values)
    return logits
