"""Prefixes: what an embedding model was trained to see in front of a text."""

from xmodctl.model.source import Source

QUERY, PASSAGE = "query: ", "passage: "
"""Of E5 models (Wang et al. 2024, arXiv 2402.05672): `query: ` for symmetric tasks, such as finding translations; for a
search, `query: ` before questions and `passage: ` before the texts that are searched."""


def usual_prefix(source: Source) -> str:
    """Return the prefix of a model's texts where they are compared with each other: of `mini`, which is an E5 model."""
    return QUERY if source.id == "mini" else ""
