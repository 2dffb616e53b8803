"""The tables of `add-language`: its dry run, and the held-out losses of a new adapter."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xmodctl.cli.display import Sheet, sheet
from xmodctl.cli.plan_tables import recipe_value
from xmodctl.core.messages import size_text

if TYPE_CHECKING:
    from xmodctl.new_language.dry_run import LanguageDryRun


def plan_tables(dry_run: "LanguageDryRun", origins: Mapping[str, str]) -> list[Sheet]:
    """Return the tables of a dry run: the plan with the origin of each value, text, parameters, and cost."""
    groups = [(name, f"{count:,}", "yes" if trains else "") for name, count, trains in dry_run.cost.parameters.groups]
    return [
        sheet(("plan", "value", "from"), _plan_rows(dry_run, origins)),
        *([_text_table(dry_run)] if dry_run.texts else []),
        sheet(("parameters", "count", "trains"), groups, right=("count",)),
        sheet(("cost", "estimate"), _cost_rows(dry_run)),
    ]


def held_out_table(language: str, facts: Mapping[str, Any]) -> Sheet:
    """Return the held-out losses that a package records, one row per adapter."""
    rows = []
    for row in facts["held_out"]:
        vocabulary = "" if row["vocabulary"] == "the model's" else f" ({row['vocabulary']} vocabulary)"
        has_difference = row["above"] is not None
        rows.append(
            (
                f"{row['what']}{vocabulary}",
                row["adapter"] or "none",
                f"{row['loss']:.3f}",
                f"{row['perplexity']:.1f}",
                f"{row['nats_a_character']:.3f}",
                f"{row['above']:+z.2f} ({row['above_low']:z.2f} to {row['above_high']:z.2f})" if has_difference else "",
            )
        )
    columns = ("through", "adapter", "held-out loss", "perplexity", "nats per character", "minus the new one")
    return Sheet(columns, tuple(rows), f"{language}, seed {facts['seed']}", frozenset(columns[2:]))


def _plan_rows(dry_run: "LanguageDryRun", options: Mapping[str, str]) -> list[tuple[str, str, str]]:
    plan, request, origins = dry_run.plan, dry_run.request, dry_run.resolved.origins
    return [
        ("languages", ", ".join(plan.languages), "CODE" if len(plan.languages) == 1 else "--text"),
        ("model", f"{plan.model}{'@' + plan.revision[:12] if plan.revision else ''}", options["model"]),
        ("initialized from", plan.init_from, "--init-from"),
        *((("adapters", ", ".join(each.folder for each in plan.packages), "--adapter"),) if plan.packages else ()),
        ("vocabulary", plan.vocabulary, "--vocabulary"),
        *([("markup", "removed", "--strip-markup")] if plan.strip_markup else ()),
        *([("limit", f"first {plan.limit:,} lines of each text", "--limit")] if plan.limit else ()),
        ("seeds", ", ".join(map(str, request.seed_numbers)), "--seeds"),
        ("precision", plan.precision, "device" if request.precision == "auto" else "--precision"),
        ("folder", str(dry_run.folder), options["run"]),
        *((key, recipe_value(getattr(plan.recipe, key)), origin) for key, origin in origins.items()),
    ]


def _text_table(dry_run: "LanguageDryRun") -> Sheet:
    columns = ("text", "lines", "kept", "characters", "the model's vocabulary")
    rows = []
    for text in dry_run.texts:
        counts = text.corpus.counts
        numbers = (f"{count:,}" for count in (counts.lines, counts.kept, counts.characters))
        rows.append((text.language, *numbers, text.fit.verdict))
    return sheet(columns, rows, right=columns[1:4])


def _cost_rows(dry_run: "LanguageDryRun") -> list[tuple[str, str]]:
    cost = dry_run.cost
    return [
        ("optimizer steps per seed", f"{cost.steps:,}" if cost.steps else "known once the text is tokenized"),
        ("memory", f"at most about {size_text(cost.memory)}"),
        ("disk", f"about {size_text(cost.disk)}"),
    ]
