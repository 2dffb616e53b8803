"""`doctor --online`: each location's repository, files, and columns, looked up on a local Hub without downloads."""

import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import refused, run

from xmodctl.catalog import catalog
from xmodctl.core import hub_downloads
from xmodctl.core.errors import UserError
from xmodctl.core.hub_patience import Limits
from xmodctl.data import hub as published
from xmodctl.data.probing import BEGINNING, Probe, probe

COLUMNS = ("premise", "hypothesis", "label")


def parquet(columns=COLUMNS, rows: int = 3) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({column: [f"{column} {number}" for number in range(rows)] for column in columns}), sink)
    return sink.getvalue()


def files(extension: str = "-0.parquet", content: bytes | None = None, without: tuple[str, ...] = ()):
    names = [
        f"{language}/{split}" for language in ("de", "en", "sw", "zh") for split in ("train", "validation", "test")
    ]
    return {f"{name}{extension}": parquet() if content is None else content for name in names if name not in without}


def states(task) -> list[tuple[str, str]]:
    return [(each.state, each.detail) for each in probe([task])]


def only(task, pattern: str, **values):
    """Return the task with its first location alone, which has other files."""
    location = {"repository": "someone/pairs", "files": pattern, **values.pop("location", {})}
    return task.model_validate({**task.model_dump(), "evaluation": {"locations": [location]}, **values})


def test_a_location_is_found_missing_or_incomplete(hub, nli):
    hub.add("datasets", "someone/pairs", files(without=("sw/train", "zh/test")))
    assert list(probe([nli])) == [
        Probe("nli", "evaluation", "someone/pairs", "incomplete", "no zh/test-*.parquet, sw/train-*.parquet"),
        Probe(
            "nli", "evaluation", "another/pairs@refs/convert/parquet", "missing",
            "no such repository, or a private one (HTTP 404)",
        ),
    ]  # fmt: skip
    hub.add("datasets", "someone/pairs", {"other/file.parquet": parquet()})
    hub.add("datasets", "another/pairs", {name.replace("-0", "/0"): content for name, content in files().items()})
    assert states(nli) == [("missing", "no file `de/test-*.parquet`"), ("found", "")]


def test_nothing_is_downloaded_but_the_end_of_one_file(hub, nli, tmp_path):
    large = {name: parquet(rows=20_000) for name in files()}
    hub.add("datasets", "someone/pairs", large)
    assert states(nli)[0] == ("found", "")
    size = len(large["de/test-0.parquet"])
    assert hub.fetched() == {"de/test-0.parquet"}
    assert hub.ranges == [f"bytes={size - BEGINNING}-{size - 1}"]
    assert not list((tmp_path / "hub").rglob("*.parquet"))
    assert published.at_hand(nli, "de", "test") is None


def test_a_footer_that_is_longer_than_the_part_is_asked_for_once_more(hub, nli):
    wide = parquet([*COLUMNS, *(f"a column with a long name {number:05}" for number in range(1000))])
    hub.add("datasets", "someone/pairs", files(content=wide))
    assert states(nli)[0] == ("found", "")
    assert len(hub.ranges) == 2


@pytest.mark.parametrize(
    ("extension", "content"),
    [
        ("-0.parquet", parquet(("premise", "hypothese", "label"))),
        ("-0.jsonl", b'{"premise": "a", "hypothese": "b", "label": 0}\n' * 5000),
        ("-0.jsonl.gz", gzip.compress(b'{"premise": "a", "hypothese": "b", "label": 0}\n' * 50)),
        ("-0.csv", b"premise,hypothese,label\n" + b"a,b,0\n" * 20_000),
        ("-0.tsv", b"premise\thypothese\tlabel\na\tb\t0\n"),
    ],
    ids=["parquet", "jsonl", "jsonl.gz", "csv", "tsv"],
)
def test_columns_that_a_file_lacks_are_named_with_those_it_has(hub, nli, extension, content):
    hub.add("datasets", "someone/pairs", files(extension, content))
    task = only(nli, "{language}/{split}-*" + extension.removeprefix("-0"))
    path = f"de/test{extension}"
    expected = f"{path} has no hypothesis; it has premise, hypothese, label"
    assert states(task) == [("other columns", expected)]
    renamed = only(nli, "{language}/{split}-*" + extension.removeprefix("-0"),
                   location={"columns": {"text_pair": "hypothese"}})  # fmt: skip
    assert states(renamed) == [("found", "")]


@pytest.mark.parametrize("content", [b"", b"no parquet at all", b"\xff\xff\xff\x7fPAR1", b"\x20\0\0\0PAR1"], ids=repr)
def test_a_file_whose_columns_cannot_be_read_is_found_and_said_to_be_unchecked(hub, nli, content):
    hub.add("datasets", "someone/pairs", files(content=content))
    state, detail = states(nli)[0]
    assert state == "found"
    assert detail.startswith("columns not checked: ")


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "message"), [("gated", "its owner restricts access"), ("unavailable", "503")])
def test_a_failure_of_the_hub_is_no_missing_location(hub, nli, fault, message, monkeypatch):
    monkeypatch.setattr("xmodctl.core.hub_patience.LIMITS", Limits(read=5, patience=0.5))
    hub.add("datasets", "someone/pairs", files())
    hub.faults["someone/pairs"] = fault
    hub_downloads.forget()
    state, detail = states(nli)[0]
    assert state == "no answer"
    assert message in detail


def test_without_a_hub_nothing_is_probed(hub, nli, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="--online: offline mode is on"):
        list(probe([nli]))
    assert not hub.requests


def test_training_data_elsewhere_and_columns_of_a_text_with_tags(hub):
    task = catalog.task("massive-slots")
    hub.add("datasets", task.evaluation.locations[0].repository, {})
    assert {each.part for each in probe([catalog.task("xcopa")])} == {"evaluation", "training"}
    location = task.evaluation.locations[0]
    names = {task.evaluation.pattern(location, code, split) for code in task.languages for split in ("train", "test")}
    names |= {task.evaluation.pattern(location, code, "validation") for code in task.languages}
    content = parquet(("id", "locale", "annot_utt"))
    hub.add("datasets", location.repository, {name.replace("*", "0000"): content for name in names})
    assert next(iter(probe([task]))).state == "found"


@pytest.mark.slow
def test_every_location_of_the_shipped_tasks_is_probed_once(hub):
    tasks = catalog.tasks().values()
    parts = [data for task in tasks for data in (task.evaluation, task.training) if data]
    probes = list(probe(tasks))
    assert len(probes) == sum(len(data.locations) for data in parts)
    assert {each.state for each in probes} == {"missing"}


def test_the_command_prints_a_line_for_each_location_and_ends_with_1(hub, nli, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps({key: value for key, value in nli.model_dump(exclude_defaults=True).items()
                                if key != "name"}))  # fmt: skip
    hub.add("datasets", "someone/pairs", files())
    result = run("doctor", "--online", "--task", path)
    assert result.exit_code == 1, result.output
    assert result.stdout.splitlines() == [
        "found          mine  someone/pairs",
        "missing        mine  another/pairs@refs/convert/parquet: no such repository, or a private one (HTTP 404)",
    ]
    assert "2 locations, 1 as the tasks say" in result.stderr
    assert "no location has all data" not in result.stderr
    hub.add("datasets", "another/pairs", {name.replace("-0", "/0"): content for name, content in files().items()})
    whole = run("doctor", "--online", "--task", path, "--json")
    assert whole.exit_code == 0, whole.output
    assert [each["state"] for each in json.loads(whole.stdout)["locations"]] == ["found", "found"]
    hub.repositories.clear()
    assert "no location has all data of mine" in " ".join(run("doctor", "--online", "--task", path).stderr.split())


def test_what_the_hub_says_reaches_the_terminal_without_control_characters(hub, nli, tmp_path):
    path = tmp_path / "mine.yaml"
    values = nli.model_dump(exclude_defaults=True, exclude={"name"})
    path.write_text(json.dumps(values))
    hub.add("datasets", "someone/pairs", files(content=parquet(("premise", "\x1b[2J\u202e", "label"))))
    result = run("doctor", "--online", "--task", path)
    assert "it has premise" in result.stdout
    assert not {"\x1b", "\u202e"} & set(result.output)


def test_options_that_make_no_sense_together_are_refused():
    assert "give one of" in refused(run("doctor", "--online", "--run", Path("x")))
    assert "--task needs --online" in refused(run("doctor", "--task", "xnli"))
