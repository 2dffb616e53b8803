"""The masked-LM loss of held-out text through the nearest adapter, an even mixture, and mixtures that were found.

    python -m bench.mixtures fi=et,en,ru --text fi.txt --held-out fi.held.txt --head-text all.txt PACKAGE...

The adapters between commas form the even mixture; the first of them is the nearest. Weights are found on `--text`
among all packages; with `--typology`, also by the typology of their languages. Differences are paired by sequence,
with 95% intervals from resampling these.
"""

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from xmodctl.adapters.attaching import attach
from xmodctl.adapters.mixtures import Mixture
from xmodctl.adapters.packages import read_package
from xmodctl.adapters.typological_mixtures import mixture_by_typology
from xmodctl.adapters.written_weights import parsed
from xmodctl.data.texts import gather
from xmodctl.model import find
from xmodctl.statistics.resampling import bootstrap
from xmodctl.training.masked_lm.held_out import measure_held_out
from xmodctl.training.masked_lm.masking import Masker, pack
from xmodctl.training.masked_lm.mixing import find_mixture, prepared


def main() -> None:
    """Measure one language and print one JSON object per way through the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("language", help="LANG=NEAREST,OTHER...")
    parser.add_argument("packages", nargs="+")
    parser.add_argument("--text", required=True)
    parser.add_argument("--held-out", required=True)
    parser.add_argument("--head-text")
    parser.add_argument("--typology", action="store_true", help="needs the extra `typology`")
    options = parser.parse_args()
    language, _, names = options.language.partition("=")
    even = names.split(",")
    source = find("mini")
    packages = [read_package(folder) for folder in options.packages]
    head = [options.head_text] if options.head_text else []
    searched = find_mixture(language, [options.text], source, packages, lambda _: None, head_text=head)
    ways = {
        "none": None,
        "nearest": Mixture.of(parsed("", even[0])),
        "even": Mixture.of(parsed("", "+".join(even))),
        "found": searched,
    }
    if options.typology:
        ways["typology"] = mixture_by_typology(language, source, packages, lambda _: None)
    with TemporaryDirectory() as folder:
        model, tokenizer, _, _ = prepared(language, [options.text], source, lambda _: None, head)
        corpus = gather([options.held_out], Path(folder))
        text = pack(corpus.documents(), tokenizer, length=128)
    for package in packages:
        attach(model, package)
    measured = {}
    for label, mixture in ways.items():
        if mixture is not None:
            model.put_adapter("way", mixture.fold(model, "way"))
        model.use("way" if mixture else None)
        measured[label] = measure_held_out(
            model, text, Masker.of(tokenizer, text), precision="fp32", pad_id=tokenizer.pad_token_id
        )
    for label, mixture in ways.items():
        ours, nearest = measured[label], measured["nearest"]
        counts = np.stack([ours.losses - nearest.losses, ours.tokens], axis=1)
        interval = bootstrap(counts, lambda sums: sums[..., 0] / sums[..., 1])
        sys.stdout.write(
            json.dumps(
                {
                    "language": language, "way": label, "mixture": mixture.language if mixture else None,
                    "loss": round(ours.loss, 3), "minus nearest": round(ours.loss - nearest.loss, 3),
                    "low": round(interval.low, 3), "high": round(interval.high, 3), "tokens": int(ours.tokens.sum()),
                }
            )
            + "\n"
        )  # fmt: skip


if __name__ == "__main__":
    main()
