"""A folder that keeps what a plan makes, seed by seed. A file in it says which plan; one process at a time has it."""

from importlib.metadata import PackageNotFoundError, version


def versions() -> dict[str, str]:
    """Return the versions of what computes a result."""
    found = {}
    for name in ("xmodctl", "torch", "transformers", "datasets", "accelerate", "tokenizers", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
