import io
import socket
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import commit_of

from xmodctl.core.errors import UserError
from xmodctl.core.hub_patience import Limits
from xmodctl.data import coverage, load_rows


def parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def pairs(count: int, mark: str = "") -> bytes:
    return parquet([{"premise": f"p{i}{mark}", "hypothesis": f"h{i}", "label": i % 3} for i in range(count)])


FILES = {
    "README.md": b"---\nconfigs:\n- config_name: de\n  data_files: de/*\n---\n",
    "de/train-00000-of-00002.parquet": pairs(50),
    "de/train-00001-of-00002.parquet": pairs(30),
    "de/test-00000-of-00001.parquet": pairs(6),
    "sw/test-00000-of-00001.parquet": pairs(9),
}


def refusal(task, language: str = "de", split: str = "test", **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        load_rows(task, language, split, **options)
    return str(caught.value)


def test_only_the_wanted_split_is_asked_for_and_its_commit_recorded(hub, nli):
    commit = hub.add("datasets", "someone/pairs", FILES)
    rows = load_rows(nli, "swh_Latn", "test")
    assert hub.fetched() == {"sw/test-00000-of-00001.parquet"}
    assert rows.origin == f"someone/pairs@{commit}:sw/test-00000-of-00001.parquet"
    assert (rows.language, rows.split, len(rows)) == ("sw", "test", 9)
    assert rows.table[1] == {"id": "1", "text": "p1", "text_pair": "h1", "label": 1}


def test_the_parts_of_a_split_come_in_order_and_ids_run_on(hub, nli):
    hub.add("datasets", "someone/pairs", FILES)
    rows = load_rows(nli, "de", "train")
    assert rows.origin == f"someone/pairs@{commit_of(FILES)}:de/train-*.parquet"
    assert rows.table["text"][49:52] == ["p49", "p0", "p1"]
    assert rows.table["id"][:] == [str(i) for i in range(80)]


def test_the_task_tells_how_the_data_spells_language_and_split(hub, nli):
    hub.add("datasets", "someone/pairs", {"zh/dev-0.parquet": pairs(5)})
    evaluation = nli.evaluation.model_copy(update={"splits": {"validation": "dev"}})
    assert load_rows(nli.model_copy(update={"evaluation": evaluation}), "zh_CN", "validation").language == "zh"


def test_the_next_location_is_tried_when_one_has_nothing(hub, nli):
    commit = hub.add("datasets", "another/pairs", {"de/test/0000.parquet": pairs(6)})
    assert load_rows(nli, "de", "test").origin == f"another/pairs@{commit}:de/test/0000.parquet"
    hub.add("datasets", "someone/pairs", {"README.md": b"moved"})
    assert load_rows(nli, "de", "test").origin == f"another/pairs@{commit}:de/test/0000.parquet"


def test_when_no_location_has_the_data_each_reason_is_told(hub, nli):
    hub.add("datasets", "another/pairs", {"de/test.arrow": b"", "README.md": b""})
    message = refusal(nli)
    assert "cannot load Pairs (de, test) from the Hub" in message
    assert "someone/pairs@main: no such repository, or a private one" in message
    assert "another/pairs@refs/convert/parquet: no file `de/test/*.parquet`" in message
    assert "--data DIR" in message


def test_a_revision_that_is_gone_is_told(hub, nli):
    hub.add("datasets", "someone/pairs", FILES)
    old = nli.evaluation.locations[0].model_copy(update={"revision": "v9"})
    gone = nli.model_copy(update={"evaluation": nli.evaluation.model_copy(update={"locations": (old,)})})
    assert "someone/pairs@v9: no such revision" in refusal(gone)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("gated", "accept the terms on its page"),
        ("unavailable", "HTTP status 503"),
        ("truncated", "the connection was lost"),
    ],
)
def test_a_failure_of_the_hub_is_told_as_what_it_is(hub, nli, fault, message, monkeypatch):
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)  # the client tries again
    hub.add("datasets", "someone/pairs", FILES)
    hub.faults["someone/pairs"] = fault
    assert message in refusal(nli)


def test_nothing_is_asked_of_a_hub_in_offline_mode_and_the_cache_serves(hub, nli, monkeypatch):
    hub.add("datasets", "someone/pairs", FILES)
    online = load_rows(nli, "de", "train")
    hub.requests.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    offline = load_rows(nli, "de", "train")
    assert hub.requests == []
    assert (offline.fingerprint, offline.origin) == (online.fingerprint, online.origin)


def test_with_the_hub_out_of_reach_the_cache_serves(hub, nli, monkeypatch):
    hub.add("datasets", "someone/pairs", FILES)
    online = load_rows(nli, "de", "train")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", closed_port())
    with pytest.warns(UserWarning, match="does not answer; the copy in the local cache is used"):
        assert load_rows(nli, "de", "train").origin == online.origin


def test_with_neither_hub_nor_cache_one_sentence_names_three_ways_out(hub, nli, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", closed_port())
    message = refusal(nli)
    assert "does not answer" in message
    assert "\n" not in message
    for way in ("--model mini", "--data DIR", "xmodctl demo"):
        assert way in message


@pytest.mark.slow
def test_a_hub_that_accepts_and_never_answers_is_given_up_for_all_locations_at_once(nli, tmp_path, monkeypatch):
    monkeypatch.setattr("xmodctl.core.hub_patience.LIMITS", Limits(read=5, patience=0.5))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "does not answer" in refusal(nli)
        silent.settimeout(0.1)
        paths = set()
        with suppress(TimeoutError):
            while True:
                with silent.accept()[0] as asked:
                    asked.settimeout(1)
                    paths.add(asked.recv(4096).split(b" ")[1])
    assert paths == {b"/api/datasets/someone/pairs/revision/main"}
    assert len(nli.evaluation.locations) > 1


def test_a_half_fetched_split_is_not_taken_for_a_whole_one_offline(hub, nli, tmp_path, monkeypatch):
    hub.add("datasets", "someone/pairs", FILES)
    load_rows(nli, "de", "train")
    next((tmp_path / "hub").rglob("train-00001-of-00002.parquet")).unlink()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "the local cache does not have it" in refusal(nli, split="train")


def test_new_content_on_the_hub_is_fetched_and_has_its_own_commit(hub, nli):
    old = hub.add("datasets", "someone/pairs", FILES)
    first = load_rows(nli, "de", "test")
    changed = {**FILES, "de/test-00000-of-00001.parquet": pairs(7, "new")}
    new = hub.add("datasets", "someone/pairs", changed)
    assert new == commit_of(changed) != old
    second = load_rows(nli, "de", "test")
    assert (len(second), second.origin.split("@")[1][:40]) == (7, new)
    assert first.fingerprint != second.fingerprint


def test_a_language_or_split_the_task_lacks_is_refused_before_the_hub_is_asked(hub, nli):
    assert "Pairs has no `fr`; it has de, en, sw, zh" in refusal(nli, "fr")
    evaluation = nli.evaluation.model_copy(update={"splits": {"validation": "dev"}})
    assert "no split `test`; it has validation" in refusal(nli.model_copy(update={"evaluation": evaluation}))
    assert "--data DIR" in refusal(nli.model_copy(update={"evaluation": None}))
    assert hub.requests == []


def test_training_data_of_its_own_has_its_own_place_and_columns(hub, nli):
    hub.add(
        "datasets",
        "big/pairs",
        {"all/train.parquet": parquet([{"a": f"x{i}", "b": "y", "label": i % 2} for i in range(4)])},
    )
    training = {
        "locations": [{"repository": "big/pairs", "files": "all/{split}.parquet"}],
        "columns": {"text": "a", "text_pair": "b"},
    }
    values = nli.model_dump(exclude_unset=True) | {"training": training}
    own = type(nli).model_validate(values)
    rows = load_rows(own, "en_XX", "train", evaluation=False)
    assert (rows.language, rows.table["text"][:]) == ("en", ["x0", "x1", "x2", "x3"])
    assert "has this data in `en` only, not in `de`; use --lang en" in refusal(own, "de", "train", evaluation=False)


def test_an_empty_text_of_a_published_benchmark_is_scored_as_it_is(hub, nli):
    rows = [{"premise": "p", "hypothesis": "", "label": 0}, {"premise": "p", "hypothesis": "h", "label": 1}]
    hub.add("datasets", "someone/pairs", {"de/test-0.parquet": parquet(rows)})
    assert load_rows(nli, "de", "test").table["text_pair"][:] == ["", "h"]


def test_an_answer_a_benchmark_published_at_a_wrong_place_counts_in_evaluation_and_is_left_out_of_training(hub, nli):
    columns = {"context": "context", "question": "question", "answers": "answers"}
    facts = nli.model_dump(exclude_unset=True) | {"kind": "question-answering", "columns": columns, "labels": ()}
    results = [("right", 0), ("wrong", 9), ("place", 12)]
    rows = [
        {"context": "right wrong place", "question": "?", "answers": {"text": [text], "answer_start": [start]}}
        for text, start in results
    ]
    hub.add("datasets", "someone/pairs", {"de/test-0.parquet": parquet(rows), "de/train-0.parquet": parquet(rows)})
    questions = type(nli).model_validate(facts)
    assert load_rows(questions, "de", "test").table["id"][:] == ["0", "1", "2"]
    training = load_rows(questions, "de", "train", evaluation=False)
    assert training.table["id"][:] == ["0", "2"]
    assert "1 of 3 rows have no gold answer and are excluded" in training.notes[0]


def test_a_published_file_with_mistakes_is_named_by_repository_and_row(hub, nli):
    hub.add(
        "datasets",
        "someone/pairs",
        {"de/test-0.parquet": parquet([{"premise": "p", "hypothesis": "h", "label": i} for i in (0, 1, 9)])},
    )
    assert refusal(nli).startswith("someone/pairs:de/test-0.parquet row 3: `label` is 9; the labels are")


def test_coverage_without_a_folder_is_the_tasks_own_list_and_asks_nobody(hub, nli):
    assert coverage(nli, None) == dict.fromkeys(["de", "en", "sw", "zh"], ("train", "validation", "test"))
    evaluation = nli.evaluation.model_copy(update={"splits": {"validation": "dev", "test": "test"}})
    elsewhere = nli.model_copy(update={"evaluation": evaluation, "training": nli.evaluation})
    assert coverage(elsewhere, None)["en"] == ("train", "validation", "test")
    assert coverage(elsewhere, None)["de"] == ("validation", "test")
    assert hub.requests == []


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"
