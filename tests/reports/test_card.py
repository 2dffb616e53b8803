"""The model card says what the rows say, and claims no license but the model's own."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from huggingface_hub import ModelCard
from scored import labels, make_run, score

from xmodctl.kinds import KINDS
from xmodctl.model import look_up
from xmodctl.reports import card as cards

LANGUAGES = ("en_XX", "de_DE")


def card_of(run, **changes) -> str:
    facts = changes.pop("facts", look_up("mini"))
    return cards.card(run, facts, changes.pop("seed", 1), changes.pop("languages", LANGUAGES), model_name="a/model")


def test_the_hubs_library_reads_each_score_from_the_metadata(tmp_path):
    run = make_run(tmp_path)
    rows = [score(run, "en", labels([True] * 9 + [False])), score(run, "de", labels([True] * 7 + [False] * 3))]
    data = ModelCard(card_of(run)).data
    assert data.license == "mit"
    assert data.base_model == "intfloat/multilingual-e5-small"
    assert data.language == ["en", "de"]
    accuracies = {
        eval_result.dataset_config: eval_result.metric_value
        for eval_result in data.eval_results
        if eval_result.metric_type == "accuracy"
    }
    assert accuracies == {row.language: row.value for row in rows} == {"en": 90, "de": 70}
    assert {eval_result.dataset_split for eval_result in data.eval_results} == {"test"}


def test_the_table_holds_value_interval_majority_baseline_and_gap_of_each_row(tmp_path):
    run = make_run(tmp_path)
    score(run, "en", labels([True] * 9 + [False]))
    row = score(run, "de", labels([True] * 7 + [False] * 3))
    line = next(line for line in card_of(run).splitlines() if line.startswith("| German"))
    score_ = f"70.0 ({row.ci_low:.1f} to {row.ci_high:.1f})"
    start = f"| German (de) | Indo-European | de\\_DE | 10 | {row.baseline:.1f} | {score_} | +20.0 ("
    assert line.startswith(start), line


def test_scores_are_those_of_the_exported_seed_with_the_mean_of_all_beside_them(tmp_path):
    run = make_run(tmp_path)
    for seed, right in ((1, 6), (2, 8)):
        score(run, "en", labels([True] * right + [False] * (10 - right)), seed=seed)
    text = card_of(run, seed=2)
    line = next(line for line in text.splitlines() if line.startswith("| English"))
    assert "| 80.0 (" in line
    assert line.endswith("| 70.0 ± 14.1 |")
    assert [
        eval_result.metric_value
        for eval_result in ModelCard(text).data.eval_results
        if eval_result.metric_type == "accuracy"
    ] == [80]


def test_limited_scores_are_marked_in_table_limits_and_metadata(tmp_path):
    run = make_run(tmp_path)
    score(run, "en", labels([True] * 9 + [False]), limited=10)
    text = card_of(run)
    assert "LIMITED to the first 10 rows" in text
    assert "| 10 LIMITED |" in text
    assert "Scores marked LIMITED" in text
    assert all("first 10 rows" in eval_result.dataset_name for eval_result in ModelCard(text).data.eval_results)


def test_scores_that_the_exported_folder_cannot_give_are_left_out(tmp_path):
    run = make_run(tmp_path)
    score(run, "en", labels([True] * 10))
    score(run, "sw", labels([True] * 10))
    score(run, "de", labels([True] * 10), control="none")
    assert {eval_result.dataset_config for eval_result in ModelCard(card_of(run)).data.eval_results} == {"en"}


def test_a_run_without_rows_says_that_it_is_not_scored(tmp_path):
    text = card_of(make_run(tmp_path))
    assert "has not been scored yet" in text
    assert "not known how well" in text
    assert not {"model-index", "model_name"} & ModelCard(text).data.to_dict().keys()


@pytest.mark.parametrize(
    ("model", "license_id"),
    [("mini", "mit"), ("facebook/xmod-base", "mit"), ("ZurichNLP/swissbert", "cc-by-nc-4.0")],
)
def test_the_license_is_the_models_own(model, license_id, tmp_path):
    text = card_of(make_run(tmp_path), facts=look_up(model))
    assert ModelCard(text).data.license == license_id


def test_an_unknown_license_is_not_claimed(tmp_path, tiny_model):
    text = card_of(make_run(tmp_path), facts=look_up(str(tiny_model)))
    assert ModelCard(text).data.license is None
    assert "xmodctl does not know" in text


def test_the_license_of_a_base_model_is_read_from_its_card(tmp_path, tiny_model):
    import shutil

    base = tmp_path / "base"
    shutil.copytree(tiny_model, base)
    (base / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    assert cards.license_of(look_up(str(base))) == "cc-by-nc-4.0"
    (base / "README.md").write_text("---\nlicense: [\n---\n")
    assert cards.license_of(look_up(str(base))) is None


def test_no_path_of_this_machine_is_told(tmp_path):
    run = make_run(tmp_path)
    score(run, "en", labels([True] * 10))
    assert str(tmp_path) not in card_of(run)


def test_what_users_wrote_is_shown_as_it_is(tmp_path):
    from markdown_it import MarkdownIt

    hostile = "a|b *c* <i> {{ 7 * 7 }} {% raw %} [x](y)"
    run = make_run(tmp_path, title=hostile, citation=hostile, license=hostile)
    score(run, "en", labels([True] * 10))
    body = card_of(run).split("---\n", 2)[2]
    page = MarkdownIt("commonmark").enable("table").render(body)
    assert "<i>" not in page
    assert 'href="y"' not in page
    assert page.count("a|b *c* &lt;i&gt; {{ 7 * 7 }} {% raw %} [x](y)") >= 4


def test_no_name_breaks_out_of_the_cards_tables_code_or_metadata(tmp_path):
    from huggingface_hub import ModelCard
    from markdown_it import MarkdownIt

    hostile = "a\n---\n# b `c` | d ``` \u202e\x1b[2J"
    run = make_run(tmp_path, title=hostile)
    recipe = run.plan.recipe.model_copy(update={"name": hostile})
    plan = replace(run.plan, recipe=recipe, model=f"x/{hostile}", revision=hostile, precision=hostile)
    run = replace(run, plan=plan, fingerprints={hostile: hostile}, versions={hostile: hostile})
    run.write()
    score(run, "en", labels([True] * 10))
    text = card_of(run)
    result = ModelCard(text).data.eval_results[0]
    assert result.dataset_name.startswith("a --- # b `c` | d ```")
    assert "\x1b" not in text
    assert "\u202e" not in text
    body = text.split("\n---\n", 1)[1]
    page = MarkdownIt("commonmark").enable("table").render(body)
    assert "<h1>b" not in page
    assert page.count("<pre>") == 2
    assert {row.count("<td") for row in page.split("<tr>") if "<td" in row} <= {2, 7}


def test_labels_that_do_not_count_as_themselves_are_limits(tmp_path):
    run = make_run(tmp_path, labels_mapped={"unsure": "no"})
    score(run, "en", labels([True] * 10))
    assert "\n- The label unsure counts as no.\n" in card_of(run)
    entities = KINDS["token-classification"]
    types = SimpleNamespace(labels_mapped={"DATE": "O", "MISC": "O", "GPE": "LOC"})
    assert entities.limits(types) == ("DATE, MISC entities count as no entity", "GPE entities count as LOC")
