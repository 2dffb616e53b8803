"""`xmodctl convert` as a function: an encoder of another architecture becomes an X-MOD with identity adapters."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xmodctl.core.arguments import as_selection
from xmodctl.core.errors import UserError
from xmodctl.core.files import check_empty
from xmodctl.core.requests import command
from xmodctl.languages import resolve
from xmodctl.model import Ported, port


@dataclass(frozen=True)
class ConvertRequest:
    """Which encoder to convert, and to what.

    Args:
        source: The encoder: a folder, or a Hub id, optionally with `@REVISION`.
        out: The folder to create; it must be new or empty, or hold the same result.
        langs: The languages of the adapters, in this order: a list, or names separated by commas.
        reduction: The hidden size divided by the adapters' inner size.
    """

    source: str | Path
    out: str | Path
    langs: str | Sequence[str]
    reduction: int = 4

    def adapters(self) -> list[str]:
        """Return the names of the adapters.

        Raises:
            UserError: `langs` names no language, an unknown one, or one twice.
        """
        languages = [part.strip() for part in as_selection(self.langs).split(",") if part.strip()]
        if not languages:
            raise UserError("--langs names no language; separate names with commas, as in en_XX,de_DE")
        model = str(self.source)
        names = [resolve(language, (), model=model, open_languages=True).adapter for language in languages]
        if repeated := [name for number, name in enumerate(names) if name in names[:number]]:
            raise UserError(f"--langs names {repeated[0]} twice; name each language once")
        return names


@command(ConvertRequest)
def convert(request: ConvertRequest) -> Ported:
    """Turn a BERT- or RoBERTa-style encoder into an X-MOD whose adapters are identities: it computes the same.

    Both models encode the same sample text, and the folder appears only if their hidden states agree.

    Returns:
        The result of the conversion.

    Raises:
        UserError: The encoder cannot be found, read, or converted; the languages are wrong; or `out` holds anything but
            the same result.
    """
    adapters = request.adapters()
    out = Path(request.out).expanduser()
    check_empty(out, unless="config.json")
    return port(str(request.source), out, adapters, reduction_factor=request.reduction)
