"""The command `resume` as a function."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, warn
from xmodctl.core.requests import command
from xmodctl.training.world import World

if TYPE_CHECKING:
    from xmodctl.new_language.language_run import LanguageRun
    from xmodctl.run.run import Run


@dataclass(frozen=True)
class ResumeRequest:
    """What to resume.

    Args:
        run: The folder of a run, or of added languages.
        seed: Train only this seed; by default all that are not finished.
        listen: Called with each event; without it, cautions become Python warnings.
        wait: Wait for what other jobs train, and train what they leave.
    """

    run: str | Path
    seed: int | None = None
    listen: Listener | None = None
    wait: bool = False


@command(ResumeRequest)
def resume(request: ResumeRequest) -> "Run | LanguageRun":
    """Train what is not finished, or is damaged, in a folder of `finetune` or `add-language`.

    The plan, the data and the model are those that the folder names; nothing that is whole is trained again. In a run
    that scores vectors without training, what is missing or damaged is made again.

    Raises:
        UserError: The folder is neither, or its data or its model has changed.
        InProgressError: Other jobs train a part of it.
        KeyboardInterrupt: The training was interrupted; the same call resumes it.
    """
    from xmodctl.evaluation.untrained import remake
    from xmodctl.new_language.language_run import LanguageRun
    from xmodctl.run.averaging import averaging
    from xmodctl.run.run import Run
    from xmodctl.training.finetune import silent
    from xmodctl.training.resuming import resume_run

    folder = Path(request.run).expanduser()
    adds_languages = (folder / LanguageRun.FILE).exists()
    world = World.join("resume of add-language" if adds_languages else "resume of finetune")
    listen = (request.listen or warn) if world.is_first else silent
    if adds_languages:
        return _resume_languages(LanguageRun.read(folder), request, listen, world)
    run = Run.read(folder)
    if run.plan.average is not None:
        raise UserError(f"{run.folder} is an average, which is not trained; create it again: {averaging(run)}")
    if run.plan.vectors is not None:
        if world.size > 1:
            raise UserError(f"{run.folder} needs no training, so only one process can resume it; omit --processes")
        return remake(run, request.seed)
    return resume_run(run, request.seed, listen, wait=request.wait, world=world)


def _resume_languages(run: "LanguageRun", request: ResumeRequest, listen: Listener, world: World) -> "LanguageRun":
    from xmodctl.model import find
    from xmodctl.new_language.add_language import follow_plan, train_plan
    from xmodctl.run.loading import model_name
    from xmodctl.training.planning import check_switches
    from xmodctl.training.resuming import chosen_seeds

    if any("-" in files for files in (*run.plan.texts.values(), run.plan.head_text)):
        raise UserError(f"{run.folder} was trained on standard input; repeat the add-language command with its text")
    source = world.after_first(lambda: find(model_name(run.plan.model, run.plan.revision)))
    plan = replace(run.plan, revision=source.revision, config_sha256=source.config_sha256)
    check_switches(plan.recipe, plan.precision, 1, source.config)
    seeds = chosen_seeds(run, request.seed)
    if not world.is_first:
        follow_plan(plan, source, world)
        return run
    train_plan(plan, seeds, source, run.folder, "resume", listen, wait=request.wait, world=world)
    return type(run).read(run.folder)
