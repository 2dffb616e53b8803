"""`xmodctl adapters export` as a function: the adapter that a model, or a run's base model, has for a language."""

from pathlib import Path

from xmodctl.adapters.packages import Package
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, Notice, warn
from xmodctl.run.run import Run


def export(base: str | Path | Run, lang: str, out: str | Path, *, listen: Listener | None = warn) -> Package:
    """Write the adapter that a model has for a language as a package.

    Of a run, it is its base model's adapter: an adapter that a run trained fits no other run.

    Args:
        base: A run or its folder, a Hub id, a model's folder, or `mini`.
        lang: The language, in any spelling.
        out: The folder to write.
        listen: Called with a `Notice` if the spelling of the language leaves a choice.

    Raises:
        UserError: The model has no such language, the run trained its adapter, or the folder cannot be written.
    """
    from xmodctl.adapters.merging import extract
    from xmodctl.languages import resolve
    from xmodctl.model import find
    from xmodctl.run.loading import find_base

    if not isinstance(base, Run) and (Path(base) / Run.FILE).exists():
        base = Run.read(Path(base))
    run = base if isinstance(base, Run) else None
    source = find_base(base) if isinstance(base, Run) else find(str(base))
    match = resolve(lang, source.languages, model=source.name)
    if match.note and listen:
        listen(Notice(match.note, caution=True))
    if run and match.adapter in run.trained_adapters():
        raise UserError(
            f"{run.folder} trained the adapter of {match.adapter} together with its own body, and it fits no other; "
            f"export the whole run with `xmodctl export --run {run.folder} --out DIR`"
        )
    return extract(source, match.adapter, out)
