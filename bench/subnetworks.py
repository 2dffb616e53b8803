"""Whether the similarity of sub-networks agrees with measured transfer, beside the nearest texts of `bench.sources`.

    python -m bench.subnetworks mini-wikiann --data DIR --head-text all.txt

X-SNS (Yun et al. 2023, "X-SNS: Cross-Lingual Transfer Prediction through Sub-Network Similarity") compares the
parameters that matter for two languages: those with the largest Fisher information, which is the mean square of the
gradients of the masked-LM loss over texts. The similarity of two languages is the Jaccard index of the sets of these
parameters. Here, they are the matrices of the layers of `mini`, each gradient is that of a sequence into which texts
are packed, and the source is that of a published table.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bench.sources import show_agreement
from xmodctl.catalog.catalog import published_table, task
from xmodctl.data import load_rows
from xmodctl.data.own_data import fit
from xmodctl.kinds import KINDS
from xmodctl.model import find
from xmodctl.model.batches import IGNORED
from xmodctl.training.masked_lm.masking import Masker, pack
from xmodctl.training.masked_lm.mixing import prepared

SEQUENCES = 24
"""Sequences of each language at most."""
SHARE = 0.15
"""The share of the parameters that make up a sub-network."""


def texts_of(name: str, language: str, folder: str, rows: int) -> list[str]:
    """Return the first texts of a language's test split."""
    read_as = fit(task(name), Path(folder), [language]).task
    kind = KINDS[read_as.kind]
    table = load_rows(read_as, language, "test", folder=Path(folder), limit=rows).table
    return [" ".join(kind.gold_and_texts(row, read_as)[1]) for row in table]


def subnetworks(texts: Mapping[str, Sequence[str]], head_text: str, share: float) -> dict[str, Tensor]:
    """Return which parameters belong to each language's sub-network, shape (parameters,)."""
    source = find("mini")
    model, tokenizer, _, _ = prepared(next(iter(texts)), [head_text], source, lambda _: None, [head_text])
    encoded = {language: pack(each, tokenizer, length=128) for language, each in texts.items()}
    masker = Masker.of(tokenizer, *encoded.values())
    model.score_labeled_only(masker.candidates.tolist())
    model.use(None)
    model.module.eval().requires_grad_(False)
    matrices = [
        parameter.requires_grad_(True)
        for name, parameter in model.module.named_parameters()
        if ".layer." in name and parameter.ndim == 2 and "adapter" not in name
    ]
    candidates = torch.from_numpy(masker.candidates)
    chosen = {}
    for language, sequences in encoded.items():
        squares = [torch.zeros_like(matrix) for matrix in matrices]
        for unit in range(min(len(sequences), SEQUENCES)):
            inputs = masker.batch(sequences, np.array([unit]), seed=0, step=0, pad_id=tokenizer.pad_token_id)
            is_predicted = inputs["labels"] != IGNORED
            if not is_predicted.any():
                continue
            targets = torch.searchsorted(candidates, inputs["labels"][is_predicted].to(candidates.dtype))
            loss = functional.cross_entropy(model.module(**inputs).logits.float(), targets)
            for square, gradient in zip(squares, torch.autograd.grad(loss, matrices), strict=True):
                square.add_(gradient**2)
        flat = torch.cat([square.flatten() for square in squares])
        chosen[language] = flat > flat.kthvalue(int(len(flat) * (1 - share))).values
    return chosen


def main() -> None:
    """Print one line per target, and the correlation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table")
    parser.add_argument("--data", required=True)
    parser.add_argument("--head-text", required=True)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--share", type=float, default=SHARE)
    options = parser.parse_args()
    table = published_table(options.table)
    texts = {language: texts_of(table.task, language, options.data, options.rows) for language in table.scores}
    chosen = subnetworks(texts, options.head_text, options.share)
    own = chosen[table.trained_in]
    targets = [language for language in table.scores if language != table.trained_in]
    similar = np.array([float((own & chosen[each]).sum() / (own | chosen[each]).sum()) for each in targets])
    show_agreement(table, targets, similar, digits=3)


if __name__ == "__main__":
    main()
