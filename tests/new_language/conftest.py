"""Text of languages that nobody speaks, in the words of the tiny model: it can be learnt from its neighbours."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

CYCLES = {
    "zu": ("the", "cat", "red", "a", "dog"),
    "xh": ("never", "blue", "katze", "runs"),
    "yo": ("paka", "not", "chat"),
}


@pytest.fixture(scope="session")
def head_text(write_text: Callable[..., Path]) -> tuple[str, ...]:
    """Return text of another language for the tiny model's head, which would else learn all there is to learn."""
    return (str(write_text("yo")),)


@pytest.fixture(scope="session")
def write_text(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that writes a text whose words follow each other in a circle, which differs by language."""

    def write(language: str, lines: int = 450) -> Path:
        path = tmp_path_factory.mktemp("text") / f"{language}.txt"
        draw, cycle = random.Random(language), CYCLES[language]
        with path.open("w") as file:
            for _ in range(lines):
                start, length = draw.randrange(len(cycle)), draw.randint(8, 40)
                words = [cycle[(start + number) % len(cycle)] for number in range(length)]
                words[draw.randrange(length)] = "sleeps"  # so that hardly any line comes twice
                file.write(" ".join(words) + "\n")
        return path

    return write
