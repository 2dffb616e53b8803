"""`xmodctl convert`."""

from pathlib import Path
from typing import Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.loading import say_loading

PANEL = "Models and adapters"
ORDER = 3


def convert(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="The encoder: a folder, or a Hub id (optionally with `@REVISION`)."),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to create.")],
    langs: Annotated[
        str,
        typer.Option("--langs", metavar="LANGS", help="The languages of its adapters, in order: `en,de_DE,Swahili`."),
    ],
    reduction: Annotated[
        int,
        typer.Option("--reduction", metavar="N", min=1, help="The hidden size divided by the adapters' inner size."),
    ] = 4,
    json: options.Json = False,
) -> None:
    """Convert a BERT- or RoBERTa-style encoder to an X-MOD with untrained adapters.

    Supports post-norm encoders with absolute positions: BERT, RoBERTa, XLM-R, multilingual MiniLM. The adapters start
    as identities, so both models compute the same hidden states. To verify this, both encode the same sample text, and
    OUT is created only if their hidden states agree. Train the adapters with `add-language`, or by fine-tuning with a
    recipe that does not freeze them. A language that you do not name gets an identity adapter when it is first used.

    Examples:

    - `xmodctl convert FacebookAI/xlm-roberta-base my-xmod --langs en_XX,de_DE,sw_KE`

    - `xmodctl convert my-bert my-xmod --langs en`, then `xmodctl finetune --model my-xmod --task xnli --lang en`
    """
    say_loading(source)
    from xmodctl.adapters.convert import convert as convert_encoder
    from xmodctl.cli import display

    result = convert_encoder(source, out, langs, reduction)
    if json:
        display.show_json(result.to_json())
        return
    display.show_text(f"model: {out}")
    head = "with its masked-LM head" if result.head else "without a masked-LM head"
    display.note(f"{result.kind}, {result.pieces:,} pieces, {head}; adapters: {', '.join(result.languages)}")
    display.note(f"hidden states of sample text differ from the source's by at most {result.largest_difference:.2g}")
    if result.left_out:
        display.note(f"excluded, because X-MOD has no counterpart: {', '.join(result.left_out)}")
