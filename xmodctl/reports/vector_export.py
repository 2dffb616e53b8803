"""`export --format sentence-transformers`: a model with one language, as a folder that makes vectors of texts."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, ModelLoading, Notice
from xmodctl.core.files import write_text
from xmodctl.core.versions import versions
from xmodctl.kinds.sentence_pairs import SentencePairs
from xmodctl.languages import name as name_of
from xmodctl.languages.tags import read
from xmodctl.reports.card import ORIGINS, license_id, license_of
from xmodctl.reports.formats.markdown import code, escaped
from xmodctl.reports.requests import ExportRequest

if TYPE_CHECKING:
    from xmodctl.evaluation.vector_model import VectorModel


def write_vector_folder(request: ExportRequest, listen: Listener) -> str:
    """Write a folder of sentence-transformers that gives the vectors of `xmodctl embed`, and return its language.

    Raises:
        UserError: The model lacks the language, or its vectors are not those of its last layer.
    """
    from xmodctl.adapters.attaching import available_languages, load_tokenizers
    from xmodctl.adapters.store import choose_all
    from xmodctl.evaluation.vector_model import find_vector_model
    from xmodctl.languages import resolve
    from xmodctl.model import export as write_model
    from xmodctl.model import longest_input
    from xmodctl.model.sentence_folders import write_settings

    chosen = find_vector_model(request.model, request.run, request.seed, pooling=request.pooling, prefix=request.prefix)
    layers = int(chosen.source.config["num_hidden_layers"])
    if chosen.settings.layer not in (None, layers):
        raise UserError(
            f"{chosen.label} pools layer {chosen.settings.layer}, and sentence-transformers pools the last one, "
            f"{layers}; export the model itself with --model {chosen.name}"
        )
    packages = choose_all(request.packages, chosen.source)
    match = resolve(
        request.selection,
        available_languages(chosen.source, packages),
        model=chosen.name,
        open_languages=chosen.source.open_languages,
    )
    if match.note:
        listen(Notice(match.note, caution=True))
    language, out = match.adapter, Path(request.out)
    listen(ModelLoading(chosen.name))
    model = chosen.load(language, packages, device="cpu")
    tokenizers = load_tokenizers(chosen.source, packages)

    def finish(folder: Path) -> None:
        write_settings(
            folder,
            pooling=chosen.settings.pooling,
            prefix=chosen.settings.prefix,
            dimensions=int(model.module.config.hidden_size),
            max_length=longest_input(chosen.source.config),
            versions={package: version for package, version in versions().items() if package in _NAMED},
        )
        write_text(folder / "README.md", _card(chosen, language, request.push or out.resolve().name))

    write_model(model, tokenizers.get(language, tokenizers[None]), out, (language,), finish)
    return language


def vector_lines(name: str) -> str:
    """Return the lines of Python that load a folder, or a repository, and make vectors."""
    return (
        "from sentence_transformers import SentenceTransformer\n\n"
        f'model = SentenceTransformer({name!r})\nprint(model.encode(["A text.", "Another text."]))'
    )


_NAMED = ("xmodctl", "transformers", "torch")


def _card(chosen: "VectorModel", language: str, name: str) -> str:
    """Return the text of README.md with the metadata that the Hub reads."""
    import yaml

    from xmodctl.model import look_up

    base_license = license_of(look_up(chosen.source.name))
    tag = read(language)
    base = ORIGINS.get(chosen.name) or (chosen.name if chosen.source.revision and chosen.name not in ORIGINS else None)
    data: dict[str, Any] = {
        "language": [tag.language] if tag else None,
        "license": license_id(base_license) if base_license else None,
        "library_name": "sentence-transformers",
        "pipeline_tag": SentencePairs.pipeline,
        "base_model": base,
        "tags": ["sentence-transformers", "feature-extraction", SentencePairs.pipeline, "xmod", "xmodctl"],
    }
    metadata = yaml.safe_dump({key: value for key, value in data.items() if value}, sort_keys=False, allow_unicode=True)
    origin = escaped(ORIGINS.get(chosen.name, Path(chosen.name).name if not chosen.source.revision else chosen.name))
    trained = "" if chosen.run is None else f", trained on {escaped(chosen.run.plan.task.title)}, seed {chosen.seed}"
    prefix = f" with {code(chosen.settings.prefix)} in front" if chosen.settings.prefix else ""
    is_mean = chosen.settings.pooling == "mean"
    pooled = "mean of the hidden states over all tokens" if is_mean else "hidden state of the first token"
    known = "which xmodctl does not know: find it before you redistribute this model"
    known = escaped(base_license) if base_license else known
    return f"""---
{metadata}---

# {escaped(name)}

Sentence embeddings of {escaped(name_of(language))} texts: X-MOD with the adapter {code(language)},
from {origin}{trained}. A vector is the {pooled} of the last layer,
normalized to length 1. Texts are read{prefix}.

```python
{vector_lines(name)}
```

Vectors of texts in another language come from a folder that is exported for that language; both are in one space.

License: that of the base model, {known}.
Created with xmodctl {versions()["xmodctl"]}.
"""
