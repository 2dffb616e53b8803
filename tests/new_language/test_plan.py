"""The plan of adding languages: names, recipe, refusals, cost."""

import hashlib
import json
from dataclasses import replace

import pytest

from xmodctl import model
from xmodctl.catalog.recipe import Recipe
from xmodctl.core.errors import UserError
from xmodctl.core.schema import validator
from xmodctl.languages import variety
from xmodctl.languages.tags import spellings
from xmodctl.new_language.adapter_initialization import check_init_from
from xmodctl.new_language.cost import estimate
from xmodctl.new_language.plan import EXCLUDED_KEYS, LanguagePlan, name_language, resolve_plan, share_steps
from xmodctl.new_language.request import AddLanguageRequest

KNOWN = ("en_XX", "de_DE", "zh_CN", "zh_TW", "gsw")
TINY = model.Facts("tiny", "tiny", None, None, ("en_XX", "de_DE", "sw_KE"), 3, None, False, {}, None, "table")


@pytest.mark.parametrize(
    ("written", "called"),
    [
        ("zu", "zu_ZA"), ("zul", "zu_ZA"), ("Zulu", "zu_ZA"), ("zu_ZA", "zu_ZA"), ("zu-ZA", "zu_ZA"),
        ("zu_XX", "zu_XX"), ("ht", "ht_HT"), ("de_CH", "de_CH"), ("hi_Latn", "hi_Latn"), ("sw", "sw_KE"),
    ],
)  # fmt: skip
def test_a_new_adapter_is_named_as_the_checkpoints_name_theirs(written, called):
    name, note = name_language(written, KNOWN, (), model="tiny")
    assert name == called
    assert (note is None) == (written == called)


@pytest.mark.parametrize("written", ["de", "de_DE", "German", "deu_Latn", "gsw"])
def test_a_language_the_model_has_is_refused(written):
    with pytest.raises(UserError, match=r"tiny already has an adapter for .*, (de_DE|gsw): evaluate through it with"):
        name_language(written, KNOWN, (), model="tiny")


def test_the_variety_that_the_refusal_suggests_is_taken():
    with pytest.raises(UserError, match=r"or name a variety by its region, such as de_US$") as refusal:
        name_language("de", KNOWN, (), model="tiny")
    suggested = str(refusal.value).rpartition(" ")[2]
    assert name_language(suggested, KNOWN, (), model="tiny")[0] == suggested
    with pytest.raises(UserError, match=r"--langs en_XX`$"):  # for every region, so that no name is left
        name_language("en", ["en_XX"], (), model="tiny")
    for adapter in (names := list(spellings()["checkpoint_names"])):
        other = variety(adapter, names)
        assert other is None or name_language(other, names, (), model="tiny")[0] == other


@pytest.mark.parametrize("written", ["Klingonish", "q", "text.txt", "", "zz_ZZ"])
def test_unknown_languages_are_refused(written):
    with pytest.raises(UserError, match="neither an adapter of tiny nor the code or English name of a language"):
        name_language(written, KNOWN, (), model="tiny")


def test_the_placeholders_of_an_open_model_may_be_replaced():
    assert name_language("de", KNOWN, KNOWN, model="mini")[0] == "de_DE"
    assert name_language("zu", KNOWN, KNOWN, model="mini")[0] == "zu_ZA"
    with pytest.raises(UserError, match="already has an adapter for German"):  # trained, and merged into the model
        name_language("de", KNOWN, [adapter for adapter in KNOWN if adapter != "de_DE"], model="mini-de")


def plan_of(tiny_model, *texts: tuple[str, str], **more) -> LanguagePlan:
    return resolve_plan(AddLanguageRequest(texts or (("zu", "a.txt"),), model=tiny_model, **more), model.look_up)[
        0
    ].plan


def test_text_of_a_language_in_two_spellings_is_one_language(tiny_model):
    plan = plan_of(tiny_model, ("zu", "a.txt"), ("Zulu", "b.txt"), ("zu_ZA", "a.txt"), ("xh", "c.txt"))
    assert plan.texts == {"zu_ZA": ("a.txt", "b.txt"), "xh_ZA": ("c.txt",)}
    assert plan.folder_name.startswith("add-zu_ZA+xh_ZA-tiny-")


def test_a_plan_survives_its_json(tiny_model):
    plan = plan_of(tiny_model, init_from="sw+en", vocabulary="new", overrides={"epochs": 2}, limit=9)
    assert validator(LanguagePlan).validate_python(plan.to_json()) == plan
    assert (plan.init_from, plan.vocabulary_size, plan.recipe.epochs) == ("sw_KE+en_XX", 32_000, 2)


def test_a_plan_of_an_earlier_version_is_the_same_plan_in_the_same_folder(tiny_model):
    plan = plan_of(tiny_model)
    values = plan.to_json()
    del values["strip_markup"]
    earlier = validator(LanguagePlan).validate_python(values)
    assert earlier == plan
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    assert plan.folder_name.endswith(digest[:6])
    assert plan_of(tiny_model, strip_markup=True).folder_name != plan.folder_name


def test_values_have_their_origin(tiny_model):
    resolved, _ = resolve_plan(
        AddLanguageRequest({"zu": "a"}, model=tiny_model, overrides={"epochs": 2}), model.look_up
    )
    assert resolved.origins["epochs"] == "--set"
    assert resolved.origins["learning_rate"] == "recipe add-language"
    assert resolved.origins["adam_beta1"] == "default"
    assert not set(EXCLUDED_KEYS) & set(resolved.origins)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"overrides": {"freeze": "none"}}, r"--set freeze: not a key of a recipe for adding languages"),
        ({"overrides": {"head_seed": 1}}, r"--set head_seed: not a key of a recipe for adding languages"),
        ({"overrides": {"learning_rat": 1}}, r"--set learning_rat: .*did you mean learning_rate\?"),
        ({"recipe": "mc-copa"}, r"the recipe mc-copa sets `(keep|stages|freeze|stride)`, which has no meaning here"),
        ({"vocabulary": "old"}, r"--vocabulary old: choose from keep, new"),
        ({"vocabulary_size": 300}, r"--vocabulary-size is the size of a new vocabulary; add --vocabulary new"),
        ({"init_from": "zu"}, r"has no adapter for 'zu' \(Zulu\)"),
        ({"init_from": "sw+random"}, r"--init-from sw\+random: choose auto, random, identity, LANG, LANG\+LANG"),
        ({"init_from": "zu=0.7*sw+-0.3*de"}, r"the weight of de is negative"),
        ({"init_from": "zu=0*sw+0*de"}, r"all weights are 0"),
        ({"init_from": "zu=0.7*sw+0.3*so"}, r"has no adapter for 'so' \(Somali\).*`--adapter DIR` adds"),
        ({"init_from": "zu=1*sw+0*de"}, r"one adapter with a weight above 0; name it alone"),
        ({"init_from": "zu=5*sw+5*de@text"}, r"write the weights without `@`"),
        ({"init_from": "xh=mix"}, r"--init-from xh=mix: xh is not added here; added are zu_ZA"),
        (
            {"init_from": "zu=mix", "texts": (("zu", "a"), ("xh", "b"))},
            r"for zu alone, and this command adds zu_ZA, xh",
        ),
        ({"adapters": ("nowhere",)}, r"--adapter nowhere is neither a folder nor a package in the store"),
        ({"head_text": ("-",), "texts": (("zu", "-"),)}, r"standard input \(`-`\) can be read only once"),
        ({"texts": ()}, r"no text given; give text in the language with --text FILE"),
        ({"texts": (("zu", "a"), ("zu_XX", "b"))}, r"--text names zu_ZA and zu_XX, which are the same language"),
    ],
)
def test_contradictions_and_unknown_values_are_refused(tiny_model, more, message):
    values = {"texts": (("zu", "a.txt"),), "model": tiny_model, **more}
    with pytest.raises(UserError, match=message):
        resolve_plan(AddLanguageRequest(**values), model.look_up)


def test_init_from_is_spelt_as_in_the_checkpoint():
    assert check_init_from("German+English+de", TINY) == "de_DE+en_XX"
    assert check_init_from("zu=0.75*sw+0.25*German", TINY, ["zu_ZA"]) == "3*sw_KE+1*de_DE"
    assert check_init_from("0.5*sw+0.5*none", TINY) == "1*none+1*sw_KE"
    assert check_init_from("zu=sw", TINY, ["zu_ZA"]) == "sw_KE"
    assert check_init_from(" zu = MIX ", TINY, ["zu_ZA"]) == check_init_from("mix", TINY, ["zu_ZA", "xh_ZA"]) == "mix"


def test_an_initialization_from_identities_alone_is_refused():
    untrained = replace(TINY, open_languages=True)
    for text in ("zu=mix", "zu=0.5*sw+0.5*de"):
        with pytest.raises(UserError, match=r"add trained adapters with --adapter DIR, or start from the identity"):
            check_init_from(text, untrained, ["zu_ZA"])
    notes: list[str] = []
    partly = replace(untrained, config={"trained_adapters": ["sw_KE"]})
    assert check_init_from("zu=0.5*sw+0.5*de", partly, ["zu_ZA"], (), notes.append) == "1*de_DE+1*sw_KE"
    assert "de_DE is an untrained identity" in notes[0]


def test_a_mixture_with_a_language_in_front_is_not_a_mean_of_weights():
    assert check_init_from("zu=sw+de", TINY, ["zu_ZA"]) == "1*de_DE+1*sw_KE"
    assert check_init_from("sw+de", TINY, ["zu_ZA"]) == "sw_KE+de_DE"


def test_languages_see_their_text_equally_often_or_by_their_tempered_share():
    sizes = {"large": 900_000, "small": 100_000}
    plain = share_steps(sizes, Recipe(epochs=2))
    assert {recipe.epochs for recipe in plain.values()} == {2}
    for alpha in (0.3, 0.0):
        tempered = share_steps(sizes, Recipe(epochs=2, sampling_alpha=alpha))
        seen = {language: recipe.epochs * sizes[language] for language, recipe in tempered.items()}
        assert sum(seen.values()) == pytest.approx(2 * 1_000_000)
        assert seen["large"] / seen["small"] == pytest.approx(9**alpha)
    assert share_steps({"small": 7}, Recipe(epochs=2, sampling_alpha=0.3))["small"].epochs == 2


def test_the_cost_counts_what_trains(tiny_model):
    facts = model.look_up(str(tiny_model))
    keep, new = (plan_of(tiny_model, vocabulary=vocabulary) for vocabulary in ("keep", "new"))
    adapter = 2 * (2 * 16 * 8 + 16 + 8)
    assert estimate(keep, facts, None, 1).parameters.trainable == adapter
    assert estimate(new, facts, None, 1).parameters.trainable == adapter + 32_000 * 17
    assert estimate(new, facts, None, 1).memory > estimate(keep, facts, None, 1).memory
    assert estimate(keep, facts, {"zu_ZA": 1_000}, 1).steps == 320  # 10 epochs of batches of 32
