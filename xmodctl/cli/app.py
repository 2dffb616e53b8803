"""The commands, gathered."""

from typing import Annotated

import typer

from xmodctl.cli.commands import (
    adapters,
    add_language,
    catalogue,
    check,
    compare,
    convert,
    demo,
    doctor,
    donors,
    eval_transfer,
    export,
    finetune,
    inspect,
    langs,
    predict,
    report,
    runs,
    score,
)
from xmodctl.cli.group import Group

app = typer.Typer(
    name="xmodctl",
    cls=Group,
    help="Fine-tune X-MOD in one language, measure what it carries over to every other.",
    epilog="New here? `xmodctl demo` trains and scores a small real model in minutes, without a network.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"xmodctl {version('xmodctl')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None: ...


app.command("finetune", rich_help_panel="The work")(finetune.finetune)
app.command("eval-transfer", rich_help_panel="The work")(eval_transfer.eval_transfer)
app.command("add-language", rich_help_panel="The work")(add_language.add_language)
app.command("report", rich_help_panel="The work")(report.report)
app.command("compare", rich_help_panel="The work")(compare.compare)
app.command("score", rich_help_panel="The work")(score.score)
app.command("donors", rich_help_panel="The work")(donors.donors)
app.command("predict", rich_help_panel="The work")(predict.predict)
app.command("export", rich_help_panel="The work")(export.export)
app.command("convert", rich_help_panel="The work")(convert.convert)
app.command("demo", rich_help_panel="The work")(demo.demo)
app.command("langs", rich_help_panel="What there is")(langs.langs)
app.add_typer(catalogue.tasks, name="tasks", rich_help_panel="What there is")
app.add_typer(catalogue.recipes, name="recipes", rich_help_panel="What there is")
app.add_typer(adapters.adapters, name="adapters", rich_help_panel="What there is")
app.command("check", rich_help_panel="What there is")(check.check)
app.command("inspect", rich_help_panel="What there is")(inspect.inspect)
app.command("runs", rich_help_panel="What there is")(runs.runs)
app.command("doctor", rich_help_panel="What there is")(doctor.doctor)
