"""Code-switching: words of training texts are replaced by near ones, so that a model relies on what they mean.

Qin et al., *CoSDA-ML: Multi-Lingual Code-Switching Data Augmentation for Zero-Shot Cross-Lingual NLP*, IJCAI 2020, take
the replacements from bilingual dictionaries. Here, they are the pieces of the vocabulary with the nearest embeddings,
which need no other data.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from xmodctl.catalog.recipe import Recipe
from xmodctl.core.encoded import Encoded, Ragged

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from xmodctl.model import Xmod

NEIGHBORS = 20
"""The most words that one word is replaced by."""
SIMILARITY = 0.4
"""The smallest cosine similarity of a word and its replacement."""


@dataclass(frozen=True)
class CodeSwitching:
    """Replaces words by words with near embeddings, each word with the same probability.

    What is replaced depends on seed, step, and unit alone, so that a resumed training and several processes read the
    same texts as a single process that was never stopped.
    """

    share: float  # the probability that a word is replaced, if there are words near to it
    near: Ragged  # for each piece of the vocabulary, the pieces near to it
    every: bool = True  # whether every text is switched; else half of them, drawn for each step

    @classmethod
    def of(cls, recipe: Recipe, model: "Xmod", tokenizer: "PreTrainedTokenizerBase", rows: Encoded) -> Self:
        """Return the code-switching of training rows, with the model's word embeddings as they are now."""
        from xmodctl.model.neighbors import near_words

        near = near_words(model, tokenizer, rows.input_ids.values, count=NEIGHBORS, similarity=SIMILARITY)
        return cls(recipe.code_switching, near, every=recipe.rdrop > 0)

    def switched(self, ids: "Tensor", units: NDArray[np.integer[Any]], *, seed: int, step: int) -> "Tensor":
        """Return the tokens of a batch with words replaced.

        Args:
            ids: The tokens, shape (units, ..., length), in the host's memory.
            units: The numbers of the units.
            seed: That of the training.
            step: The optimizer step.
        """
        import torch

        switched, begins = ids.numpy().copy(), self.near.bounds
        for row, unit in zip(switched, units.tolist(), strict=True):
            draw = np.random.default_rng([seed, step, unit])
            if not self.every and draw.random() < 0.5:
                continue
            counts = begins[row + 1] - begins[row]
            chosen = (draw.random(row.shape) < self.share) & (counts > 0)
            row[chosen] = self.near.values[begins[row[chosen]] + draw.integers(0, counts[chosen])]
        return torch.from_numpy(switched)
