from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import LocalHub, local_hub

from xmodctl.catalog.task import Task


@pytest.fixture(autouse=True)
def _cache_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A Hub on the loopback that the real clients talk to, with an empty cache."""
    from huggingface_hub import constants

    with local_hub() as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.url)  # read from HF_ENDPOINT when the client was imported
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", served.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        yield served


@pytest.fixture
def nli() -> Task:
    """A task of sentence pairs with three labels, as XNLI is."""
    return Task.model_validate(
        {
            "name": "nli",
            "title": "Pairs",
            "kind": "sequence-classification",
            "columns": {"text": "premise", "text_pair": "hypothesis", "label": "label"},
            "labels": ["entailment", "neutral", "contradiction"],
            "languages": {"de": None, "en": None, "sw": None, "zh": "zh_CN"},
            "recipe": "nli",
            "parallel": True,
            "evaluation": {
                "locations": [
                    {"repository": "someone/pairs", "files": "{language}/{split}-*.parquet"},
                    {
                        "repository": "another/pairs",
                        "revision": "refs/convert/parquet",
                        "files": "{language}/{split}/*.parquet",
                    },
                ]
            },
        }
    )
