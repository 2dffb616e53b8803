"""The shipped tasks, read through the real client from a local Hub that has their layouts, and from benchmark files."""

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import pytest

from xmodctl.catalog import catalog as library
from xmodctl.core.errors import UserError
from xmodctl.data import coverage, load_rows, offers
from xmodctl.kinds import KINDS
from xmodctl.languages import expand
from xmodctl.languages.tags import spellings

ABSENT_FROM_XMOD_BASE = {
    "afrisenti": "arq ary ibo kin orm pcm tir tso twi yor",
    "sib200": """
        ace_Arab ace_Latn acm_Arab acq_Arab aeb_Arab ajp_Arab aka_Latn apc_Arab arb_Latn ars_Arab
        ary_Arab arz_Arab asm_Beng ast_Latn awa_Deva ayr_Latn azb_Arab bak_Cyrl bam_Latn ban_Latn
        bem_Latn bho_Deva bjn_Arab bjn_Latn bod_Tibt bos_Latn bug_Latn ceb_Latn cjk_Latn ckb_Arab
        crh_Latn dik_Latn dyu_Latn dzo_Tibt ewe_Latn fao_Latn fij_Latn fon_Latn fur_Latn fuv_Latn
        gaz_Latn gla_Latn grn_Latn hat_Latn hne_Deva ibo_Latn ilo_Latn jav_Latn kab_Latn kac_Latn
        kam_Latn kas_Arab kas_Deva kbp_Latn kea_Latn kik_Latn kin_Latn kmb_Latn knc_Arab knc_Latn
        kon_Latn lij_Latn lim_Latn lin_Latn lmo_Latn ltg_Latn ltz_Latn lua_Latn lug_Latn luo_Latn
        lus_Latn mag_Deva mai_Deva min_Arab min_Latn mlt_Latn mni_Beng mos_Latn mri_Latn nqo_Nkoo
        nso_Latn nus_Latn nya_Latn oci_Latn pag_Latn pap_Latn plt_Latn prs_Arab quy_Latn run_Latn
        sag_Latn sat_Olck scn_Latn shn_Mymr smo_Latn sna_Latn snd_Arab sot_Latn srd_Latn ssw_Latn
        sun_Latn szl_Latn taq_Latn taq_Tfng tat_Cyrl tgk_Cyrl tir_Ethi tpi_Latn tsn_Latn tso_Latn
        tuk_Latn tum_Latn twi_Latn tzm_Tfng uig_Arab umb_Latn vec_Latn war_Latn wol_Latn xho_Latn
        ydd_Hebr yor_Latn yue_Hant zul_Latn
    """,
    "tatoeba": """
        ang arq arz ast awa ber bos bre cbk ceb cha cor csb dsb dtp fao fry gla gsw hsb ido ile
        ina jav kab kzj lfn max mhr nds nov oci orv pam pms swg tat tuk tzl uig war wuu xho yid
        yue
    """,
    "massive-intents": "jv",
    "massive-slots": "jv",
    "multieurlex": "mt",
    "nollysenti": "ig pcm yo",
    "udpos": "wo yo",
    "masakhapos": "bam bbj ewe fon ibo kin lug luo mos nya pcm sna tsn twi wol xho yor zul",
    "masakhanews": "ibo lin lug orm pcm run sna tir xho yor",
    "afrixnli": "ewe ibo kin lug orm sna sot twi wol xho yor zul",
    "injongo-intents": "ewe ibo kin lin lug orm sna sot twi wol xho yor zul",
    "masakhaner2": "bam bbj ewe fon ibo kin lug luo mos nya pcm sna tsn twi wol xho yor zul",
    "uner": "ceb_gja",
    "wikiann": "jv yo qu",
    "xcopa": "ht qu",
    "belebele": """
        acm_Arab apc_Arab arb_Latn ars_Arab ary_Arab arz_Arab asm_Beng bam_Latn ben_Latn bod_Tibt ceb_Latn
        ckb_Arab fuv_Latn gaz_Latn grn_Latn hat_Latn hin_Latn ibo_Latn ilo_Latn jav_Latn kac_Latn kea_Latn
        kin_Latn lin_Latn lug_Latn luo_Latn mlt_Latn mri_Latn npi_Latn nso_Latn nya_Latn plt_Latn shn_Mymr
        sin_Latn sna_Latn snd_Arab sot_Latn ssw_Latn sun_Latn tgk_Cyrl tir_Ethi tsn_Latn tso_Latn urd_Latn
        war_Latn wol_Latn xho_Latn yor_Latn zul_Latn
    """,
}
"""The tasks' languages that none of the 81 adapters is for."""


def parquet(rows: list[dict[str, Any]], **classes: list[str]) -> bytes:
    """Return rows as the Hub's Parquet has them: label names of integer columns in the metadata."""
    table = datasets.Dataset.from_list(rows)
    for column, names in classes.items():
        label = datasets.ClassLabel(names=names)
        inner = datasets.List(label) if isinstance(rows[0][column], list) else label
        table = table.cast_column(column, inner)
    buffer = io.BytesIO()
    table.to_parquet(buffer)
    return buffer.getvalue()


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


BENCHMARKS = [name for name, task in library.tasks().items() if task.evaluation]


# --- what the files say -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_language_of_a_task_has_an_adapter_or_is_told_to_have_none(name):
    adapters = spellings()["checkpoint_names"][:81]
    task = library.task(name)
    expanded = expand("@task", adapters, model="xmod-base", task_languages=task.languages)
    assert [code for code, _ in expanded.missing] == ABSENT_FROM_XMOD_BASE.get(name, "").split()
    assert [target.data for target in expanded.targets] == [
        code for code in task.languages if code not in dict(expanded.missing)
    ]
    assert all("no adapter" in why or code == "ber" for code, why in expanded.missing)  # Berber: several languages


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_task_says_where_it_comes_from_and_can_be_trained_in_its_source_language(name):
    task = library.task(name)
    assert task.license
    assert task.homepage.startswith("https://")
    assert task.citation
    assert task.description
    covered = coverage(task, None)
    if KINDS[task.kind].trains:
        assert "train" in covered[task.source_language]
    scored = "validation" if name in ("social-iqa", "swag") else "test"  # whose test labels are hidden
    assert all(scored in splits for code, splits in covered.items() if code in task.languages)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("ner", "wikiann"), ("PAN-X", "wikiann"), ("panx", "wikiann"), ("qa", "xquad"), ("mc", "xcopa"),
        ("copa", "xcopa"),
        ("pawsx", "paws-x"), ("tydiqa", "tydiqa-goldp"), ("masakhaner", "masakhaner2"), ("nli", "xnli"),
        ("SIB-200", "sib200"), ("MASSIVE", "massive-intents"), ("pos", "udpos"), ("UD-POS", "udpos"), ("sts", "sts17"),
        ("Universal NER", "uner"), ("XStory-Cloze", "xstorycloze"),
    ],
)  # fmt: skip
def test_tasks_are_found_as_users_type_them(alias, name):
    assert library.task(alias).name == name


def test_the_counts_of_languages_are_the_benchmarks():
    counted = {name: len(library.task(name).text_languages) for name in BENCHMARKS}
    assert counted == {
        "afrisenti": 15, "afrixnli": 17, "injongo-intents": 17, "masakhanews": 16, "masakhapos": 20,
        "massive-intents": 51, "massive-slots": 51, "multieurlex": 23, "nollysenti": 5, "ud-treebanks": 49,
        "bucc2018": 4, "sts17-cross-lingual": 7,
        "lid200": 205, "sib200": 205, "sts17": 4, "sts22": 10, "tatoeba": 112, "udpos": 38, "x-stance": 3,
        "belebele": 122, "masakhaner2": 20, "mlqa": 7, "paws-x": 7, "social-iqa": 1, "swag": 1, "tydiqa-goldp": 9,
        "uner": 18, "wikiann": 48, "xcopa": 12, "xnli": 15, "xquad": 12, "xstorycloze": 11, "xwinograd": 6,
    }  # fmt: skip


# --- the Hub ----------------------------------------------------------------------------------------------------------


def test_paraphrases_keep_their_labels_and_ids(hub):
    rows = [{"id": i + 7, "sentence1": "a", "sentence2": "b", "label": i % 2} for i in range(4)]
    files = {
        f"{code}/{split}-00000-of-00001.parquet": parquet(rows, label=["0", "1"])
        for code in ("de", "zh")
        for split in ("train", "test")
    }
    hub.add("datasets", "google-research-datasets/paws-x", files)
    task = library.task("paws-x")
    result = load_rows(task, "zh_CN", "test")
    assert hub.fetched() == {"zh/test-00000-of-00001.parquet"}
    assert (result.table["label"][:], result.table["id"][:]) == ([0, 1, 0, 1], ["7", "8", "9", "10"])
    assert [task.labels[label] for label in result.table["label"][:2]] == ["different", "paraphrase"]


NER_NAMES = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]


def sentence(*tags: int) -> dict[str, Any]:
    return {"id": "0", "tokens": [f"w{i}" for i in range(len(tags))], "ner_tags": list(tags)}


def test_dates_and_miscellany_that_one_side_does_not_mark_are_no_entities(hub):
    african = parquet([sentence(1, 2, 7, 8, 0, 5)], ner_tags=[*NER_NAMES, "B-DATE", "I-DATE"])
    english = parquet([sentence(3, 7, 8, 0)], ner_tags=[*NER_NAMES, "B-MISC", "I-MISC"])
    hub.add("datasets", "masakhane/masakhaner2", {"yor/test/0000.parquet": african, "swa/test/0000.parquet": african})
    hub.add("datasets", "eriktks/conll2003", {"conll2003/train/0000.parquet": english})
    task = library.task("masakhaner2")
    assert load_rows(task, "yo", "test").table["tags"][0] == [1, 2, 0, 0, 0, 5]
    assert hub.fetched() == {"yor/test/0000.parquet"}
    assert load_rows(task, "sw_KE", "test").language == "swa"
    training = load_rows(task, "en_XX", "train", evaluation=False)
    assert (training.language, training.table["tags"][0]) == ("en", [3, 0, 0, 0])


def test_of_several_treebanks_of_a_language_the_one_trained_on_is_meant_and_the_others_have_their_codes(hub):
    item = parquet([sentence(1, 0)], ner_tags=NER_NAMES)
    files = {
        f"{code}/{split}-00000-of-00001.parquet": item for code in ("en_ewt", "en_pud") for split in ("train", "test")
    }
    hub.add("datasets", "BramVanroy/universal_ner", files)
    task = library.task("uner")
    assert load_rows(task, "en_XX", "train", evaluation=False).language == "en_ewt"
    assert load_rows(task, "en_pud", "test").language == "en_pud"
    assert coverage(task, None)["en_pud"] == ("test",)
    with pytest.raises(UserError, match="no split `train` in `en_pud`"):
        load_rows(task, "en_pud", "train")
    with pytest.raises(UserError, match="may be pt_bosque or pt_pud"):
        load_rows(task, "pt", "test")


def question(id_: str, answer: str = "two") -> dict[str, Any]:
    return {
        "id": id_,
        "title": "t",
        "context": "one two",
        "question": "?",
        "answers": {"text": [answer], "answer_start": ["one two".index(answer)]},
    }


def test_situations_are_answered_by_the_number_of_the_right_answer(hub):
    questions = {"context": "Ada fell.", "question": "Why?", "answerA": "ice", "answerB": "sun", "answerC": "joy"}
    rows = [{**questions, "label": label} for label in ("1", "3")]
    hub.add("datasets", "lighteval/siqa", {"data/train-00000-of-00001-da17.parquet": parquet(rows)})
    table = load_rows(library.task("siqa"), "en_XX", "train", evaluation=False).table
    assert table["label"][:] == [0, 2]
    assert table[0]["choices"] == ["ice", "sun", "joy"]
    assert (table[0]["context"], table[0]["question"]) == ("Ada fell.", "Why?")


def test_captions_have_four_endings(hub):
    endings = {f"ending{number}": word for number, word in enumerate(("sits.", "runs.", "sings.", "melts."))}
    begun = {"startphrase": "Ada comes in. She", "sent1": "Ada comes in.", "sent2": "She", **endings}
    rows = [{**begun, "label": label} for label in (0, 3)]
    hub.add("datasets", "allenai/swag", {"regular/train-00000-of-00001.parquet": parquet(rows)})
    table = load_rows(library.task("swag"), "en_XX", "train", evaluation=False).table
    assert table["label"][:] == [0, 3]
    assert table[0]["choices"] == ["sits.", "runs.", "sings.", "melts."]
    assert table[0]["context"] == "Ada comes in. She"


def test_questions_are_trained_on_squad_and_scored_on_the_one_split_there_is(hub):
    hub.add("datasets", "rajpurkar/squad", {"plain_text/train-00000-of-00001.parquet": parquet([question("a")])})
    hub.add("datasets", "google/xquad", {"xquad.th/validation-00000-of-00001.parquet": parquet([question("b")])})
    task = library.task("xquad")
    assert load_rows(task, "en_XX", "train", evaluation=False).table["id"][:] == ["a"]
    assert load_rows(task, "th", "test").table["answers"][0] == {"text": ["two"], "answer_start": [4]}
    with pytest.raises(UserError, match="XQuAD has no split `validation`; it has test"):
        load_rows(task, "th", "validation")
    assert offers(task, "en_XX", "validation", folder=None, evaluation=False)
    assert not offers(task, "en_XX", "validation", folder=None)
    assert not offers(task, "th", "validation", folder=None, evaluation=False)


def test_of_mlqas_49_pairs_the_one_with_question_and_context_in_the_language_is_fetched(hub):
    files = {f"mlqa.de.{pair}/test/0000.parquet": parquet([question(pair)]) for pair in ("de", "en")}
    hub.add("datasets", "facebook/mlqa", files)
    assert load_rows(library.task("mlqa"), "de", "test").table["id"][:] == ["de"]
    assert hub.fetched() == {"mlqa.de.de/test/0000.parquet"}


def test_where_only_the_id_tells_the_language_its_rows_are_picked_by_it(hub):
    ids = ["english-1", "swahili-2-0", "english-3", "telugu-4", "swahili-5"]
    for split in ("train", "validation"):
        hub.add(
            "datasets",
            "google-research-datasets/tydiqa",
            {
                f"secondary_task/{split}-0.parquet": parquet(
                    [question(i, ("one", "two")[n > 1]) for n, i in enumerate(ids)]
                )
            },
        )
        task = library.task("tydiqa-goldp")
        ours: Any = "train" if split == "train" else "test"
        assert load_rows(task, "en_XX", ours, evaluation=split != "train").table["id"][:] == ["english-1", "english-3"]
        assert load_rows(task, "sw", ours).table["id"][:] == ["swahili-2-0", "swahili-5"]
    with pytest.raises(UserError, match=r"no ko rows in .*has english, swahili, telugu"):
        load_rows(library.task("tydiqa-goldp"), "ko", "test")


def copa(request: str, label: int) -> dict[str, Any]:
    return {"premise": "p", "choice1": "a", "choice2": "b", "question": request, "label": label, "idx": 0}


def test_causes_and_effects_are_asked_for_in_the_language_of_the_row(hub):
    rows = [copa("cause", 0), copa("effect", 1)]
    hub.add("datasets", "cambridgeltl/xcopa", {"tr/test-00000-of-00001.parquet": parquet(rows)})
    hub.add("datasets", "aps/super_glue", {"copa/train/0000.parquet": parquet(rows, label=["choice1", "choice2"])})
    task = library.task("xcopa")
    assert load_rows(task, "tr", "test").table["question"][:] == ["çünkü", "bu yüzden"]
    training = load_rows(task, "en", "train", evaluation=False)
    assert (training.table["question"][:], training.table["label"][:]) == (["because", "so"], [0, 1])
    assert set(task.connectives) >= set(task.languages)


def test_english_copa_is_scored_where_its_test_labels_are(hub):
    test = b"premise,choice1,choice2,question,label\np,a,b,cause,0\np,a,b,effect,1\n"
    hidden = parquet([copa("cause", -1), copa("effect", -1)])
    hub.add("datasets", "pkavumba/balanced-copa", {"test.csv": test, "train.csv": test})
    hub.add("datasets", "aps/super_glue", {"copa/test/0000.parquet": hidden})
    assert load_rows(library.task("xcopa"), "en", "test").table["label"][:] == [0, 1]


def test_blanks_answers_and_stories_keep_their_numbers_from_one(hub):
    blank = [{"sentence": "_ sings", "option1": "A", "option2": "B", "answer": str(1 + i % 2)} for i in range(3)]
    hub.add("datasets", "Muennighoff/xwinograd", {"test/jp.jsonl": jsonl(blank)})
    winograd = load_rows(library.task("xwinograd"), "ja", "test")
    assert (winograd.table["label"][:], winograd.table[0]["choices"]) == ([0, 1, 0], ["A", "B"])

    story = {f"input_sentence_{i}": f"s{i}." for i in range(1, 5)} | {"sentence_quiz1": "x", "sentence_quiz2": "y"}
    stories = [story | {"story_id": f"i{i}", "answer_right_ending": i} for i in (1, 2)]
    hub.add("datasets", "juletxara/xstory_cloze", {"eu/eval/0000.parquet": parquet(stories)})
    cloze = load_rows(library.task("xstorycloze"), "eu", "test")
    assert cloze.table[1] == {"id": "i2", "context": "s1. s2. s3. s4.", "choices": ["x", "y"], "label": 1}

    questions = {"flores_passage": "f", "question": "q", **{f"mc_answer{i}": str(i) for i in range(1, 5)}}
    hub.add(
        "datasets",
        "facebook/belebele",
        {"data/zho_Hant.jsonl": jsonl([questions | {"correct_answer_num": i} for i in ("4", "1")])},
    )
    race = [{"article": "f", "question": "q", "options": list("wxyz"), "answer": letter} for letter in "CA"]
    hub.add("datasets", "ehovy/race", {"all/train-00000-of-00001.parquet": parquet(race)})
    belebele = library.task("belebele")
    assert load_rows(belebele, "zh_TW", "test").table["label"][:] == [3, 0]
    assert load_rows(belebele, "en", "train", evaluation=False).table["label"][:] == [2, 0]


# --- benchmark files on disk ------------------------------------------------------------------------------------------


FILES: Mapping[str, tuple[str, int]] = {"wikiann": ("panx", 22), "xquad": ("xquad", 8), "xcopa": ("xcopa", 12)}


@pytest.fixture(scope="module")
def benchmarks() -> Path:
    if not (named := os.environ.get("XMODCTL_REALDATA")):
        pytest.skip("XMODCTL_REALDATA names no folder with benchmark files")
    return Path(named)


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_realdata_every_file_of_a_benchmark_loads_through_its_task(name, benchmarks):
    task = library.task(name)
    folder, languages = benchmarks / FILES[name][0], FILES[name][1]
    covered = coverage(task, folder)
    assert len(covered) == languages
    for language, splits in covered.items():
        assert {"validation", "test"} <= set(splits)
        for split in splits:
            rows = load_rows(task, language, split, folder=folder, evaluation=split != "train")
            stray = [note for note in rows.notes if "begin with I- instead of B-" in note]
            assert (len(rows) >= 50, rows.notes) == (True, tuple(stray))
            assert not stray or (name, language) == ("wikiann", "zh")
            if name == "xcopa":
                assert set(rows.table["question"]) <= set(task.connectives[language].values())  # Thai has effects only


@pytest.mark.realdata
def test_realdata_zulu_entities_load_and_their_dates_are_none(benchmarks, tmp_path):
    (tmp_path / "zu").symlink_to(benchmarks / "masakhaner_zu", target_is_directory=True)
    task = library.task("masakhaner2")
    for split, name in (("validation", "dev"), ("test", "test")):
        written = (benchmarks / "masakhaner_zu" / f"{name}.txt").read_text(encoding="utf-8")
        rows = load_rows(task, "zul", split, folder=tmp_path)
        tags = [task.labels[tag] for sentence in rows.table["tags"] for tag in sentence]
        assert "DATE" in written
        assert len(tags) == sum(bool(line.strip()) for line in written.splitlines())
        assert tags.count("B-PER") == written.count(" B-PER")
        assert tags.count("B-LOC") == written.count(" B-LOC")
