"""`xmodctl convert`."""

from pathlib import Path
from typing import Annotated

import typer

from xmodctl.cli import options

PANEL = "Models and adapters"
ORDER = 3


def convert(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="The encoder: a folder, or a Hub id (`@REVISION` may follow).")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.")],
    langs: Annotated[
        str, typer.Option("--langs", metavar="LANGS", help="Its adapters, in this order: `en,de_DE,Swahili`.")
    ],
    reduction: Annotated[
        int, typer.Option("--reduction", metavar="N", min=1, help="Hidden size over the adapters' inner size.")
    ] = 4,
    json: options.Json = False,
) -> None:
    """Turn a BERT- or RoBERTa-style encoder into an X-MOD whose adapters change nothing yet.

    Takes post-norm encoders with absolute positions: BERT, RoBERTa, XLM-R, multilingual MiniLM. Both models encode the
    same sample text, and OUT appears only if their hidden states agree. Adapters learn with `add-language`, or in a
    fine-tuning that trains them; any language not named gets an identity adapter when it is asked for.

    Examples:

    - `xmodctl convert FacebookAI/xlm-roberta-base my-xmod --langs en_XX,de_DE,sw_KE`

    - `xmodctl convert my-bert my-xmod --langs en`, then `xmodctl finetune --model my-xmod --task xnli --lang en`
    """
    from xmodctl.cli import display
    from xmodctl.core.errors import UserError
    from xmodctl.core.files import check_empty
    from xmodctl.languages import resolve
    from xmodctl.model import port

    asked = [part.strip() for part in langs.split(",") if part.strip()]
    if not asked:
        raise UserError("--langs names no language; write names between commas, such as en_XX,de_DE")
    named = [resolve(one, (), model=source, open_languages=True).adapter for one in asked]
    if twice := [one for number, one in enumerate(named) if one in named[:number]]:
        raise UserError(f"--langs names {twice[0]} twice; each adapter has a name of its own")
    check_empty(out)
    made = port(source, out, named, reduction_factor=reduction)
    if json:
        display.show_json(made.to_json())
        return
    display.show_text(f"model: {out}")
    head = "with its masked-LM head" if made.head else "without a masked-LM head"
    display.note(f"{made.kind}, {made.pieces:,} pieces, {head}; adapters: {', '.join(made.languages)}")
    display.note(f"hidden states of sample text differ from the source's by {made.largest_difference:.2g} at most")
    if made.left_out:
        display.note(f"left out, X-MOD has no place for them: {', '.join(made.left_out)}")
