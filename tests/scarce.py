"""A model that runs out of memory with large batches."""

from dataclasses import dataclass, field

import pytest
import torch

from xmodctl.model.modules import RoutedModel

CUDA = "CUDA error: out of memory"


@dataclass
class Scarcity:
    """How many padded tokens memory holds, and the sizes of the batches that it did not hold."""

    limit: int
    error: Exception = field(default_factory=lambda: RuntimeError(CUDA))
    during_training: bool = False
    failures: list[int] = field(default_factory=list)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> "Scarcity":
        """Let the forward passes of all models fail that are too large."""
        forward = RoutedModel.forward

        def limited(module, input_ids=None, *args, **inputs):
            if input_ids.numel() > self.limit and (self.during_training or not torch.is_grad_enabled()):
                self.failures.append(input_ids.numel())
                raise self.error
            return forward(module, input_ids, *args, **inputs)

        monkeypatch.setattr(RoutedModel, "forward", limited)
        return self
