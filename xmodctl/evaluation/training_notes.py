"""What a reader of scores must know about the training data."""

from collections.abc import Mapping, Sequence


def training_notes(
    shots: Mapping[str, int],
    training_seed: int | None,
    translated: Sequence[str],
    members: int,
    code_switching: float,
) -> tuple[str, ...]:
    """Return which scores are not zero-shot, what the seeds of such a run are, and what was done to the data.

    Args:
        shots: Examples of target languages that were trained on, by language.
        training_seed: The seed of the training if the run's seeds draw the shots.
        translated: Source languages whose training data is machine-translated.
        members: Models whose mean the weights are; 0 if the weights were trained.
        code_switching: The probability that a word of a training text was replaced.
    """
    notes = []
    if members:
        notes.append(f"an average: the weights are the mean of the weights of {members} models, which run.json lists")
    if shots:
        counts = ", ".join(f"{count} examples in {language}" for language, count in shots.items())
        notes.append(
            f"not zero-shot: the run was trained on {counts}; each seed drew its own examples, and all of them share "
            f"the training seed {training_seed}"
        )
    if translated:
        notes.append(
            f"translate-train: the training data in {', '.join(translated)} is machine-translated, according to the "
            "task"
        )
    if code_switching:
        notes.append(
            f"code-switching: words of the training texts were replaced with probability {code_switching:g} by words "
            "of any language with near embeddings; no other data was used"
        )
    return tuple(notes)
