"""Load a model in a new process and print time and memory as JSON: `python -m bench.loading SIDE FOLDER LANGUAGES`."""

import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench import sides
from bench.timing import resident, seconds


def main(side: str, folder: Path, languages: list[str]) -> None:
    """Load, run one short batch, load again; print the seconds of both loads and the memory of the first.

    Compare the second load: during the first one, both sides also import parts of their libraries. Without languages,
    all are loaded.
    """

    def load() -> tuple[Any, dict[str, torch.Tensor]]:
        if side == "stock":
            module = sides.stock(folder, "sequence", languages or None, torch.float32, "cpu")
            return module, {"lang_ids": torch.zeros(2, dtype=torch.int64)}
        return sides.ours(folder, "sequence", languages, "cpu").module, {}

    from transformers.models.xmod import modeling_xmod  # noqa: F401 (importing is not loading)

    torch.set_num_threads(1)
    before = resident()
    first, (module, extra) = timed(load)
    loaded = resident()
    ids = torch.full((2, 16), 7)
    with torch.inference_mode():
        module.eval()(input_ids=ids, attention_mask=torch.ones_like(ids), **extra)
    used = resident()
    del module
    gc.collect()  # freeing the first model is not part of loading
    second, _ = timed(load)
    memory = {
        "loaded": loaded["resident"] - before["resident"],
        "used": used["resident"] - before["resident"],
        "anonymous": used["anonymous"] - before["anonymous"],
    }
    print(json.dumps({"first": first, "seconds": second, **memory}))


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return how many CPU seconds `work` took, and its result."""
    results = []
    return seconds(lambda: results.append(work()), "cpu"), results[0]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3].split(",") if sys.argv[3] else [])
