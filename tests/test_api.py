"""The Python surface: what the commands do, several times in one process; every example in the docs runs."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import xmodctl
from xmodctl import Report, Run, UserError, evaluate, finetune, load
from xmodctl.core.events import LanguageScored, ModelLoading, Notice, RunOpened, SeedFinished, StepTaken

DOCS = Path(__file__).parents[1] / "docs" / "python.md"
QUICK = {"epochs": 1, "batch_size": 8, "max_length": 32}


@pytest.fixture
def trained(tiny_model: Path, pairs: Path, tmp_path: Path) -> Run:
    return finetune("xnli", "en", model=str(tiny_model), data=pairs, overrides=QUICK, out=tmp_path / "run")


def test_importing_the_package_imports_nothing_of_it():
    check = (
        "import sys, xmodctl\n"
        "loaded = {name for name in sys.modules if name.startswith('xmodctl')}\n"
        "assert loaded == {'xmodctl'}, loaded\n"
        "from xmodctl import load, finetune, evaluate, Run, Report, UserError\n"
        "heavy = {'torch', 'transformers', 'datasets', 'accelerate'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_package_shows_its_public_names_only():
    _ = xmodctl.adapters.list, xmodctl.langs, xmodctl.runs  # importing subpackages does not show them
    assert dir(xmodctl) == sorted(xmodctl.__all__)
    for name in xmodctl.__all__:
        assert getattr(xmodctl, name).__doc__, name


COMMANDS = {"eval-transfer": "evaluate", "add-language": "add_language"}
WITHOUT_FUNCTION = {"tasks", "recipes"}


def test_each_command_is_a_function_of_its_name():
    from xmodctl.cli.loader import Commands

    for command in set(Commands()) - WITHOUT_FUNCTION:
        assert COMMANDS.get(command, command) in xmodctl.__all__, command


@pytest.mark.parametrize("as_path", [str, Path])
def test_each_function_takes_paths_as_text_and_as_paths(as_path, tiny_model, pairs, tmp_path):
    model, data = as_path(tiny_model), as_path(pairs)
    folder, second = as_path(tmp_path / "run"), as_path(tmp_path / "second")
    for out, epochs in ((folder, 1), (second, 2)):
        xmodctl.finetune("xnli", "en", model=model, data=data, overrides={**QUICK, "epochs": epochs}, out=out)
        assert xmodctl.evaluate(out, "de", data=data).scores
    assert xmodctl.Run.read(folder).state == "finished"
    assert xmodctl.inspect("xnli", "en", model=model, data=data, rows=2).rows[1].sequences
    assert xmodctl.check("xnli", "en", model=model, data=data, out=as_path(tmp_path)).complete
    assert xmodctl.compare([folder, second], langs="de").verdicts
    assert {rescored.state for rescored in xmodctl.score(folder)} == {"as stored"}
    assert xmodctl.report([folder, second], out=as_path(tmp_path / "report.md")).file == tmp_path / "report.md"
    assert xmodctl.donors(folder, "de", candidates="sw,de", data=data, split="test").languages == ("de",)
    rows = [{"premise": "the cat", "hypothesis": "red"}]
    assert [prediction["prediction"] for prediction in xmodctl.predict(folder, "de", rows)]
    texts = as_path(pairs / "de" / "test.jsonl")
    assert xmodctl.embed(texts, "de", model=model, text_column="premise").vectors.any()
    assert xmodctl.load(folder).xmod.active == "en_XX"
    exported = xmodctl.export(as_path(tmp_path / "model"), run=folder, langs=["de", "en"])
    assert exported.folder == tmp_path / "model"
    package = xmodctl.adapters.export(model, "sw", as_path(tmp_path / "sw_KE"))
    assert xmodctl.adapters.verify(as_path(tmp_path / "sw_KE"), model) == package
    assert [entry.language for entry in xmodctl.langs(model, "xnli", data).entries if entry.data]
    assert {summary.run for summary in xmodctl.runs(as_path(tmp_path))} == {str(folder), str(second)}
    assert [summary.run for summary in xmodctl.runs(folder)] == [str(folder)]
    assert xmodctl.doctor(model).parameters["none"].share == 100


def test_a_name_the_package_lacks_is_an_attribute_error():
    with pytest.raises(AttributeError, match="fintune"):
        _ = xmodctl.fintune


def test_every_example_in_the_docs_runs_in_order(tiny_model, pairs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    pairs.rename(tmp_path / "data" / "xnli")
    names: dict[str, object] = {}
    examples = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(examples) == 10
    for example in examples:
        exec(example.replace('"mini"', repr(str(tiny_model))), names)
    message = capsys.readouterr().out
    assert "finished (1,)" in message
    assert "sw sw_KE own" in message
    assert "sw en_XX source" in message
    assert "klingonish" in message


def test_finetune_evaluate_and_load_agree_with_one_another(trained):
    report = evaluate(trained, ["de", "sw"], limit=6)
    assert isinstance(report, Report)
    assert [(score.language, score.adapter, score.is_source) for score in report.scores] == [
        ("en", "en_XX", True), ("de", "de_DE", False), ("sw", "sw_KE", False),
    ]  # fmt: skip
    assert report.limited == 6
    assert report == evaluate(trained.folder, "de,sw", limit=6), "a second call only reads"


def test_a_loaded_model_predicts_what_the_sweep_wrote(trained, pairs):
    import json

    import torch

    evaluate(trained, "de")
    rows = [json.loads(line) for line in (pairs / "de" / "test.jsonl").read_text().splitlines()]
    path = trained.folder / "predictions" / "test" / "de.seed-1.jsonl"
    wanted = [json.loads(line)["prediction"] for line in path.read_text().splitlines()]
    model = load(trained, "German")
    assert model.xmod.active == "de_DE"
    inputs = model.tokenizer(
        [row["premise"] for row in rows], [row["hypothesis"] for row in rows], padding=True, return_tensors="pt"
    )
    inputs.pop("token_type_ids", None)
    with torch.no_grad():
        best = model.module(**inputs.to(model.module.device)).logits.argmax(-1)
    assert [model.module.config.id2label[int(item)] for item in best] == wanted
    model.use("swahili")
    assert model.xmod.active == "sw_KE"
    with pytest.raises(UserError, match="sw_KE"):
        model.use("zu")


def test_calls_of_different_precision_follow_one_another_in_one_process(tiny_model, pairs, tmp_path):
    from xmodctl.model.kernels import has_bf16

    for precision in ("fp32", "bf16", "fp32") if has_bf16() else ("fp32", "fp32"):
        run = finetune(
            "xnli", "en", model=str(tiny_model), data=pairs, overrides=QUICK, precision=precision,
            out=tmp_path / f"{precision}-run", on_exists="redo",
        )  # fmt: skip
        assert run.plan.precision == precision
        assert run.state == "finished"


def test_a_training_neither_reads_nor_changes_the_callers_accelerate_state(tiny_model, pairs, tmp_path):
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    try:
        ours = Accelerator(mixed_precision="bf16")
        run = finetune(
            "xnli", "en", model=str(tiny_model), data=pairs, overrides=QUICK, precision="fp32", out=tmp_path / "run"
        )
        assert run.plan.precision == "fp32"
        assert ours.mixed_precision == AcceleratorState().mixed_precision == "bf16"
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def test_an_interrupted_training_is_a_keyboard_interrupt_and_the_same_call_goes_on(tiny_model, pairs, tmp_path):
    import os
    import signal

    steps: list[int] = []

    def interrupt_at_2(event: object) -> None:
        if isinstance(event, StepTaken):
            steps.append(event.step)
            if len(steps) == 2:
                os.kill(os.getpid(), signal.SIGINT)

    def call(listen=None) -> Run:
        return finetune(
            "xnli", "en", model=str(tiny_model), data=pairs, overrides=QUICK, out=tmp_path / "run", listen=listen
        )

    with pytest.raises(KeyboardInterrupt, match="run the same command again to resume"):
        call(interrupt_at_2)
    assert Run.read(tmp_path / "run").state == "interrupted"
    done = len(steps)
    assert call(lambda event: steps.append(event.step) if isinstance(event, StepTaken) else None).state == "finished"
    assert steps == list(range(1, len(steps) + 1)), "no step is taken twice"
    assert len(steps) > done


def test_a_listener_hears_everything_in_order(tiny_model, pairs, tmp_path):
    heard: list[object] = []
    run = finetune(
        "xnli", "en", model=str(tiny_model), data=pairs, overrides=QUICK, out=tmp_path / "run", listen=heard.append
    )
    kinds = [type(event) for event in heard]
    assert kinds[:2] == [ModelLoading, RunOpened]
    assert kinds.count(StepTaken) == 6
    assert kinds[-1] is SeedFinished
    heard.clear()
    evaluate(run, "de", listen=heard.append)
    assert [event.language for event in heard if isinstance(event, LanguageScored)] == ["en", "de"]
    assert [event.caution for event in heard if isinstance(event, Notice)] == [False, False, False]


def test_without_a_listener_cautions_are_warnings(trained, pairs, write_pairs):
    write_pairs(pairs, "zh", "test", 6)
    with pytest.warns(UserWarning, match="zh_TW") as caught:
        evaluate(trained, "zh")
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lang": "klingonish"}, "klingonish"),
        ({"overrides": {"epoch": 1}}, "did you mean epochs"),
        ({"on_exists": "resumed"}, "did you mean resume"),
        ({"track": ["tensorbord"]}, "did you mean tensorboard"),
        ({"seeds": (1, 1)}, "seeds must be different"),
        ({"precision": "fp8"}, "choose from auto"),
        ({"data": "nowhere"}, "nowhere is not a folder"),
    ],
)
def test_what_the_caller_can_mend_is_a_user_error(changes, message, tiny_model, pairs, tmp_path):
    request = {"task": "xnli", "lang": "en", "model": str(tiny_model), "data": pairs, "out": tmp_path / "run"} | changes
    with pytest.raises(UserError, match=message):
        finetune(**request)


def test_an_evaluation_that_cannot_be_is_a_user_error(trained, tmp_path):
    for changes, message in (
        ({"split": "tests"}, "did you mean test"),
        ({"controls": ["sauce"]}, "did you mean source"),
    ):
        with pytest.raises(UserError, match=message):
            evaluate(trained, "de", **changes)
    with pytest.raises(UserError, match="is not a run"):
        evaluate(tmp_path / "nothing", "de")
    with pytest.raises(UserError, match="--seed 7"):
        load(trained, seed=7)


@pytest.mark.parametrize("name", sorted(set(xmodctl.__all__) - {"adapters"}))
def test_the_help_of_a_function_describes_each_argument_once(name):
    function = getattr(xmodctl, name)
    if inspect.isfunction(function):
        for argument in inspect.signature(function).parameters:
            assert (inspect.getdoc(function) or "").count(f"\n    {argument}: ") == 1, (name, argument)
