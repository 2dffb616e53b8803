"""`xmodctl export`."""

from pathlib import Path
from typing import Annotated

import typer

from xmodctl.cli import options


def export(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write.")],
    run: Annotated[
        Path | None, typer.Option("--run", metavar="DIR", help="A run's folder; default: the newest under `runs/`.")
    ] = None,
    langs: Annotated[
        str, typer.Option("--langs", metavar="LANGS", help="Adapters to include: `all`, `@task`, or a list.")
    ] = "all",
    adapter: options.Adapters = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Which seed; default: the first.")] = None,
    push: Annotated[
        str | None, typer.Option("--push", metavar="OWNER/NAME", help="Upload it to this repository on the Hub too.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="With --push: nobody else may read it.")] = False,
) -> None:
    """Write a trained model as a plain transformers folder.

    Anybody loads it with `from_pretrained` alone: weights as safetensors, configuration, labels, tokenizer, and a model
    card with the run's scores, which the Hub reads too.

    Examples:

    - `xmodctl export --out my-model`

    - `xmodctl export --run runs/my-run --out my-model --langs en_XX,de_DE,sw_KE`

    - `xmodctl export --out my-model --push my-name/my-model --private`

    - `xmodctl export --run runs/my-run --adapter runs/zu_ZA --langs zu_ZA --out my-zulu-model`
    """
    from xmodctl.adapters.attaching import available_languages, load_tokenizers
    from xmodctl.adapters.store import choose_all
    from xmodctl.cli import display
    from xmodctl.core import hub
    from xmodctl.core.errors import UserError
    from xmodctl.core.files import check_empty, write_text
    from xmodctl.languages import expand
    from xmodctl.model import export as write
    from xmodctl.model import look_up
    from xmodctl.reports import card as cards
    from xmodctl.run.loading import chosen_seed, find_base, find_run
    from xmodctl.run.trained import Trained

    if private and not push:
        raise UserError("--private says who may read the repository; name one with --push OWNER/NAME")
    found = find_run(run)
    chosen = chosen_seed(found, seed)
    check_empty(out)
    if push:
        hub.check_upload(push)
    source = find_base(found)
    packages = choose_all(adapter or (), source)
    expansion = expand(
        langs,
        available_languages(source, packages),
        model=found.plan.model,
        task_languages=found.plan.task.languages if "@task" in langs else {},
        open_languages=source.open_languages,
    )
    for code, reason in expansion.missing:
        display.warn(f"{code} is left out: {reason}")
    languages = list(dict.fromkeys(target.adapter for target in expansion.targets))
    trained = Trained.load(found, source, chosen, found.plan.source_languages[0], device="cpu", packages=packages)
    read_with = load_tokenizers(source, packages)
    facts = look_up(source.name)
    came = {package.language: package.sha256 for package in packages}
    text = cards.card(found, facts, chosen, languages, model_name=push or out.resolve().name, packages=came)
    write(trained.model, read_with.get(languages[0], read_with[None]), out, languages)
    write_text(out / "README.md", text)
    display.show_text(f"model: {out}")
    if push:
        display.show_text(f"uploaded: {hub.upload(out, push, private=private)}")
    display.note(f"{len(languages)} languages; load it with AutoModel...from_pretrained({str(out)!r})")
