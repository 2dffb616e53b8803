"""Check that two checkouts of xmodctl compute the same: `python -m bench.compare_versions OLD NEW --out DIR`.

Both versions run the same commands on the same small inputs: training on every kind of task, sweeps, an added language,
an adapter package, a conversion, reports and comparisons. Then their files and outputs are compared: weights,
predictions and caches exactly, results and metrics by value. Last, the new version reads the folders of the old
one. Seconds, dates, version numbers and wording are not compared. Results of the old version are kept in DIR and not
computed again; delete `DIR/old` after changing the inputs.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file

from bench.version_inputs import Step, result_steps, steps, write_inputs

VOLATILE = {
    "created", "file_sha256", "finished", "format", "made", "schema", "seconds", "started", "tokens_per_second", "tool",
    "version", "versions", "xmodctl",
    "size", "sizes",  # of folders, whose files hold seconds with more or fewer digits
}  # fmt: skip
ADDED = {
    "read_as", "data_set", "data_sets", "other_data", "others", "folder", "package_folder", "from_data", "strip_markup",
    "also_in", "curves",
}  # fmt: skip
"""Keys that newer versions add; their values are tested elsewhere."""
WORDING = {"ci_method", "notes", "verdict", "verdicts"}
FOLDERS = ("runs", "packages", "converted", "exported", "cache")
PROSE = (".md", ".html", ".lock", ".tmp")


class Comparison:
    """Prints one line per comparison and counts the differences."""

    def __init__(self) -> None:
        """Start with nothing compared."""
        self.same = 0
        self.different = 0

    def note(self, name: str, differences: list[str]) -> None:
        """Record what was compared and how it differs."""
        if differences:
            self.different += 1
            print(f"DIFFERENT  {name}: {'; '.join(differences[:4])}", flush=True)
        else:
            self.same += 1
            print(f"same       {name}", flush=True)


def main(arguments: list[str]) -> int:
    """Run both versions, compare, and return 1 if anything differs."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare_versions", description=__doc__)
    parser.add_argument("old", type=Path, help="a checkout")
    parser.add_argument("new", type=Path, help="another checkout")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="holds inputs and outputs")
    options = parser.parse_args(arguments)
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    inputs = out / "inputs"
    write_inputs(inputs, options.old.resolve())

    plan = steps(inputs)
    run(options.old.resolve(), out / "old", plan)
    shutil.rmtree(out / "new", ignore_errors=True)
    run(options.new.resolve(), out / "new", plan)

    comparison = Comparison()
    compare_outputs(comparison, plan, out / "old", out / "new")
    compare_folders(comparison, out / "old", out / "new")
    read_old_folders(comparison, options.new.resolve(), out, inputs)
    print(f"{comparison.same} the same, {comparison.different} different")
    return 1 if comparison.different else 0


def run(checkout: Path, side: Path, plan: list[Step], folder: str = "output") -> None:
    """Run the steps that have no output yet, in the folder of a version."""
    output = side / folder
    output.mkdir(parents=True, exist_ok=True)
    (side / "packages").mkdir(exist_ok=True)
    environment = {
        **os.environ, "PYTHONPATH": str(checkout), "XMODCTL_CACHE": str(side / "cache"), "HF_HOME": str(side / "hf"),
        "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "160", "NO_COLOR": "1",
    }  # fmt: skip
    for step in plan:
        if (output / f"{step.name}.code").exists():
            continue
        print(f"{side.name}: {' '.join(step.words)}", file=sys.stderr, flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "xmodctl", *step.words], cwd=side, env=environment, capture_output=True, check=False
        )
        (output / f"{step.name}.out").write_bytes(done.stdout)
        (output / f"{step.name}.err").write_bytes(done.stderr)
        (output / f"{step.name}.code").write_text(str(done.returncode))


def compare_outputs(
    comparison: Comparison, plan: list[Step], old: Path, new: Path, folder: str = "output", only_failures: bool = False
) -> None:
    """Compare exit codes and what the commands printed."""
    for step in plan:
        codes = [(side / part / f"{step.name}.code").read_text() for side, part in ((old, "output"), (new, folder))]
        if codes[0] != codes[1]:
            error = (new / folder / f"{step.name}.err").read_text().strip().splitlines()
            comparison.note(f"{folder} {step.name}", [f"exit codes {' and '.join(codes)}", *error[-2:]])
        elif not only_failures:
            texts = [
                (side / part / f"{step.name}.out").read_text().replace(str(side), "SIDE")
                for side, part in ((old, "output"), (new, folder))
            ]
            comparison.note(f"{folder} {step.name} (exit code {codes[0]})", _output_differences(step.output, *texts))


def _output_differences(output: str, old: str, new: str) -> list[str]:
    match output:
        case "json":
            return list(value_differences(json.loads(old or "null"), json.loads(new or "null")))
        case "numbers":
            return [] if _numbers(old) == _numbers(new) else [f"numbers {_first(_numbers(old), _numbers(new))}"]
        case "text":
            return [] if old == new else [_first(old.splitlines(), new.splitlines())]
        case _:
            return []


def _numbers(text: str) -> list[str]:
    return re.findall(r"\d+\.\d+", text)


def _first(old: list[str], new: list[str]) -> str:
    for before, after in zip(old, new, strict=False):
        if before != after:
            return f"{before!r} is now {after!r}"
    return f"{len(old)} are now {len(new)}"


def value_differences(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """Yield where two JSON values differ; new keys are differences too."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new} - VOLATILE - WORDING):
            if key not in old and key in ADDED:
                continue
            if key not in old or key not in new:
                yield f"{place}.{key} is only in {'new' if key in new else 'old'}"
            else:
                yield from value_differences(old[key], new[key], f"{place}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from value_differences(before, after, f"{place}[{index}]")
    elif isinstance(old, list) and isinstance(new, list):
        yield f"{place}: {len(old)} entries are now {len(new)}"
    elif old != new or type(old) is not type(new):
        yield f"{place}: {str(old)[:80]!r} is now {str(new)[:80]!r}"


def compare_folders(comparison: Comparison, old: Path, new: Path) -> None:
    """Compare the files of two versions, one line per folder and kind of file."""
    for folder in FOLDERS:
        names = {side: _files(side / folder) for side in (old, new)}
        missing = [f"{name} is only in old" for name in sorted(names[old] - names[new])]
        extra = [f"{name} is only in new" for name in sorted(names[new] - names[old])]
        comparison.note(f"{folder}: names of {len(names[old])} files", missing + extra)
        for name in sorted(names[old] & names[new]):
            comparison.note(f"{folder}/{name}", _file_differences(old, new, Path(folder) / name))


def _files(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in PROSE and path.parent.name != "hashes"  # of absolute paths
    }


def _file_differences(old: Path, new: Path, name: Path) -> list[str]:
    before, after = (old / name).read_bytes(), (new / name).read_bytes()
    if before == after:
        return []
    if name.suffix == ".safetensors":
        return _tensor_differences(old, new, name)
    if name.suffix == ".jsonl" and "predictions" not in name.parts:
        rows = [
            [json.loads(line) for line in data.decode().replace(str(side), "SIDE").splitlines()]
            for data, side in ((before, old), (after, new))
        ]
        return list(value_differences(*rows))
    if name.suffix == ".json":
        values = [json.loads(data.decode().replace(str(side), "SIDE")) for data, side in ((before, old), (after, new))]
        if "converted" in name.parts:  # its plan has the absolute path of the model
            values = [{**value, "plan_sha256": ""} for value in values]
        return list(value_differences(*values))
    return [f"{len(before)} bytes are now {len(after)} other bytes"]


def _tensor_differences(old: Path, new: Path, name: Path) -> list[str]:
    """Compare tensors and metadata; the order of metadata in a header is random."""
    before, after = load_file(old / name), load_file(new / name)
    if before.keys() != after.keys():
        return [f"names of tensors: {sorted(before.keys() ^ after.keys())[:4]}"]
    changed = [key for key in before if not np.array_equal(before[key], after[key])]
    if changed:
        return [f"{len(changed)} of {len(before)} tensors differ"]
    with safe_open(old / name, "np") as first, safe_open(new / name, "np") as second:
        metadata = [
            {key: value.replace(str(side), "SIDE") for key, value in (file.metadata() or {}).items()}
            for file, side in ((first, old), (second, new))
        ]
    return list(value_differences(*metadata, "metadata"))


def read_old_folders(comparison: Comparison, checkout: Path, out: Path, inputs: Path) -> None:
    """Let the new version read a copy of what the old one wrote; nothing may be left to do."""
    old, copy = out / "old", out / "reread"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(old, copy, symlinks=True)
    known = {folder: {_content(copy / folder / name) for name in _files(copy / folder)} for folder in FOLDERS}
    # The model that was converted has moved with the folder, and a list of runs is sorted by when they were written.
    plan = [step for step in steps(inputs) if "converted" not in step.name and step.name != "runs"]
    stored = result_steps(inputs)
    repeated = [step for step in plan if step.words[0] in ("finetune", "eval-transfer", "add-language", "donors")]
    reads = ("predict", "embed", "report", "score")
    reading = [step for step in plan if step.words[0] in reads or step.name == "verify" or step in stored]
    run(checkout, copy, [*repeated, *reading], "reread")
    compare_outputs(comparison, repeated, old, copy, "reread", only_failures=True)
    compare_outputs(comparison, reading, old, copy, "reread")
    for folder in FOLDERS:
        names = _files(copy / folder)
        changed = [
            f"{name} has new content" for name in sorted(names) if _content(copy / folder / name) not in known[folder]
        ]
        comparison.note(f"reread adds nothing new to the {len(names)} files of {folder}", changed)


def _content(path: Path) -> str:
    """Return a hash of a file's content; of safetensors, without the order of metadata."""
    data = path.read_bytes()
    if path.suffix == ".safetensors":
        with safe_open(path, "np") as file:
            metadata = json.dumps(file.metadata(), sort_keys=True).encode()
        data = metadata + data[8 + int.from_bytes(data[:8], "little") :]
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
