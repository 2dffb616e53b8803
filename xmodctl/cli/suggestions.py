"""Names that people know from other tools, and the commands that do what they mean."""

import shlex
from collections.abc import Sequence
from typing import NoReturn

from xmodctl.core.errors import UserError, did_you_mean

OTHER_NAMES = {
    **dict.fromkeys(("train", "fine-tune", "fit", "tune", "run", "start", "training", "finetuning"), "finetune"),
    **dict.fromkeys(("eval", "evaluate", "test", "benchmark", "evaluation", "transfer", "sweep"), "eval-transfer"),
    **dict.fromkeys(("classify", "infer", "inference", "label", "tag", "pipeline", "prediction"), "predict"),
    **dict.fromkeys(("encode", "embedding", "embeddings", "vectors", "vectorize"), "embed"),
    **dict.fromkeys(("add", "new-language", "train-adapter", "extend", "pretrain", "mlm"), "add-language"),
    **dict.fromkeys(("continue", "restart"), "resume"),
    **dict.fromkeys(("validate", "lint", "preflight"), "check"),
    **dict.fromkeys(("results", "scores", "table", "html"), "report"),
    **dict.fromkeys(("diff", "significance"), "compare"),
    **dict.fromkeys(("rescore", "metrics"), "score"),
    **dict.fromkeys(("save", "serve"), "export"),
    **dict.fromkeys(("languages", "language", "lang"), "langs"),
    **dict.fromkeys(("adapter",), "adapters list"),
    **dict.fromkeys(("ls", "list", "history"), "runs list"),
    **dict.fromkeys(("rm", "remove", "delete"), "runs rm"),
    **dict.fromkeys(("show", "describe"), "runs show"),
    **dict.fromkeys(("datasets", "dataset", "data", "benchmarks"), "tasks list"),
    **dict.fromkeys(("info", "env", "status", "debug", "verify"), "doctor"),
    **dict.fromkeys(("example", "quickstart", "tutorial"), "demo"),
    **dict.fromkeys(("clean", "clear"), "cache prune"),
    **dict.fromkeys(("push", "publish", "upload"), "export --push"),
    **dict.fromkeys(("merge", "average", "soup"), "runs average"),
    **dict.fromkeys(("plot", "figure"), "report --plot scores"),
    "version": "--version",
}
"""Commands, and perhaps an option of theirs, by what they may be called elsewhere."""


def refuse_command(words: Sequence[str], commands: Sequence[str]) -> NoReturn:
    """Refuse a command that does not exist, and name the one to use.

    Raises:
        UserError: Always.
    """
    name, *rest = words
    spelled = name.lower().replace("_", "-")
    if spelled == "help":
        command = f"{rest[0]} " if rest and rest[0] in commands else ""
        raise UserError(f"there is no command `help`; use `xmodctl {command}--help`")
    if use := spelled if spelled in commands else OTHER_NAMES.get(spelled):
        help_of = "" if use.startswith("-") else f"; `xmodctl {use.partition(' --')[0]} --help` describes it"
        raise UserError(f"there is no command {shlex.quote(name)}; use `xmodctl {use}`{help_of}")
    raise UserError(
        f"there is no command {shlex.quote(name)}{did_you_mean(name, list(commands))}; "
        "`xmodctl --help` lists the commands"
    )
