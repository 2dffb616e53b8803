"""What seeds that are trained together need; everything else is refused before anything is read."""

from collections.abc import Sequence

from xmodctl.catalog.recipe import AUTO, TOKENS
from xmodctl.core.errors import UserError
from xmodctl.run.plan import Plan
from xmodctl.training.world import World

WITHOUT = "train one seed after the other with --set seeds_together=false"
"""The remedy of every refusal."""


def check_together(plan: Plan) -> None:
    """Refuse a plan that trains seeds together where that cannot work.

    Raises:
        UserError: It cannot.
    """
    recipe = plan.recipe
    if plan.shots is not None:
        raise UserError(f"seeds_together=true needs the same rows for every seed; omit --shots, or {WITHOUT}")
    if recipe.stages:
        raise UserError(f"seeds_together=true is for recipes without stages; use --set 'stages=[]', or {WITHOUT}")
    for switch in ("compile", "variable_length"):
        if getattr(recipe, switch):
            raise UserError(
                f"seeds_together=true cannot be combined with {switch}=true; use --set {switch}=false, or {WITHOUT}"
            )
    if recipe.rdrop:
        raise UserError(
            f"seeds_together=true cannot be combined with rdrop={recipe.rdrop:g}; use --set rdrop=0, or {WITHOUT}"
        )
    if recipe.tokens_per_step == AUTO:
        raise UserError(
            f"seeds_together=true needs a number of tokens_per_step; use --set tokens_per_step={TOKENS}, or {WITHOUT}"
        )
    if len(plan.adapters) > 1 and recipe.freeze == "none":
        raise UserError(
            "seeds_together=true with several languages needs frozen adapters; use --set freeze=embeddings+adapters, "
            f"name one language, or {WITHOUT}"
        )


def check_one_process(plan: Plan, world: World) -> None:
    """Refuse several processes that would train seeds together.

    Raises:
        UserError: There are several.
    """
    if plan.recipe.seeds_together and world.size > 1:
        raise UserError(f"seeds_together=true needs a single process; omit --processes, or {WITHOUT}")


def check_untracked(plan: Plan, trackers: Sequence[str]) -> None:
    """Refuse experiment trackers of seeds that are trained together: each tracker has one run at a time.

    Raises:
        UserError: There are some.
    """
    if plan.recipe.seeds_together and trackers:
        raise UserError(
            f"seeds_together=true cannot be combined with --track {','.join(trackers)}; omit --track, or {WITHOUT}"
        )
