"""`xmodctl cache`: list, prune."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from xmodctl.cli import options

if TYPE_CHECKING:
    from xmodctl.core.cache import CacheEntry

PANEL = "Models and adapters"
ORDER = 6

cache = typer.Typer(help="Show and clean up the cache folder.", no_args_is_help=True)

_GB = 10**9


@cache.command("list")
def list_entries(json: options.Json = False) -> None:
    """List the entries of the cache folder, with their sizes and when they were last used.

    The cache is `XMODCTL_CACHE`, or `~/.cache/xmodctl`.

    Examples:

    - `xmodctl cache list`
    """
    from xmodctl.cli import display
    from xmodctl.core.cache import CONTENTS, list_cache
    from xmodctl.core.files import cache_folder
    from xmodctl.core.messages import size_text

    entries = list_cache()
    if json:
        display.show_json([entry.to_json() for entry in entries])
        return
    rows = []
    for content, description in CONTENTS.items():
        group = [entry for entry in entries if entry.content == content]
        if group:
            rows.append((content, description, f"{len(group):,}", _size(group), _date(group)))
    if rows:
        display.show(
            display.sheet(("folder", "content", "entries", "size", "last used"), rows, right=("entries", "size"))
        )
    display.note(f"{size_text(sum(entry.bytes for entry in entries))} in {cache_folder()}")


@cache.command()
def prune(
    older_than: Annotated[
        float | None,
        typer.Option("--older-than", metavar="DAYS", help="Remove entries that have not been used for this many days."),
    ] = None,
    max_size: Annotated[
        float | None,
        typer.Option(
            "--max-size",
            metavar="GB",
            help="Remove the least recently used entries until the rest takes at most this much.",
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove everything.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed; remove nothing.")] = False,
    json: options.Json = False,
) -> None:
    """Remove entries from the cache. They are created again when needed; imported adapters are always kept.

    Entries that another process is writing are also kept.

    Examples:

    - `xmodctl cache prune --older-than 30`

    - `xmodctl cache prune --max-size 2 --dry-run`
    """
    from xmodctl.cli import display
    from xmodctl.core.cache import prune_cache

    size = None if max_size is None else int(max_size * _GB)
    pruned = prune_cache(older_than=older_than, max_size=size, everything=everything, dry_run=dry_run)
    if json:
        display.show_json(pruned.to_json())
        return
    verb = "would be removed" if dry_run else "removed"
    display.show_text(f"{verb}: {_size(pruned.removed)} in {len(pruned.removed):,} entries")
    if pruned.in_use:
        display.note(f"in use by another process, and kept: {_size(pruned.in_use)}")
    display.note(f"the cache contains {_size(pruned.kept)}" if not dry_run else f"{_size(pruned.kept)} would remain")


def _size(entries: "Sequence[CacheEntry]") -> str:
    from xmodctl.core.messages import size_text

    return size_text(sum(entry.bytes for entry in entries))


def _date(entries: "Sequence[CacheEntry]") -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(max(entry.last_used for entry in entries), UTC).strftime("%Y-%m-%d")
