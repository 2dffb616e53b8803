"""The versions of the packages that compute a result."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("xmodctl", "torch", "transformers", "datasets", "accelerate", "tokenizers", "numpy")


def versions() -> dict[str, str]:
    """Return the versions of the installed packages that compute a result."""
    return {name: number for name in PACKAGES if (number := _version(name))}


@cache  # reading a package's metadata takes milliseconds, and a report asks hundreds of times
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
