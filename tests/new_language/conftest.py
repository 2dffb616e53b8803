"""Text in invented languages with the words of the tiny model, predictable from the neighboring words."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from additions import addition, run

CYCLES = {
    "zu": ("the", "cat", "red", "a", "dog"),
    "xh": ("never", "blue", "katze", "runs"),
    "yo": ("paka", "not", "chat"),
}


@pytest.fixture(scope="session")
def head_text(write_text: Callable[..., Path]) -> tuple[str, ...]:
    """Return text in another language for the tiny model's head, so that the adapter has something left to learn."""
    return (str(write_text("yo")),)


@pytest.fixture(scope="session")
def write_text(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that writes a text whose words follow each other in a cycle that differs by language."""

    def write(language: str, lines: int = 450) -> Path:
        path = tmp_path_factory.mktemp("text") / f"{language}.txt"
        generator, cycle = random.Random(language), CYCLES[language]
        with path.open("w") as file:
            for _ in range(lines):
                start, length = generator.randrange(len(cycle)), generator.randint(8, 40)
                words = [cycle[(start + number) % len(cycle)] for number in range(length)]
                words[generator.randrange(length)] = "sleeps"  # so that hardly any line is a duplicate
                file.write(" ".join(words) + "\n")
        return path

    return write


@pytest.fixture(scope="package")
def zulu(tiny_model, write_text, head_text, tmp_path_factory):
    """Return the arguments of a call that adds Zulu, its events and its package."""
    arguments = addition(tiny_model, {"zu": write_text("zu")}, head_text=head_text)
    events, packages = run(arguments, tmp_path_factory.mktemp("added") / "run")
    return arguments, events, packages[0]


@pytest.fixture
def open_model(tiny_model: Path, tmp_path: Path) -> Path:
    """Return the tiny model with open languages: its adapters are placeholders."""
    folder = tmp_path / "open"
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"identity_adapters": True}))
    return folder
