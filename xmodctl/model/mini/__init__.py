"""The embedded model: multilingual-e5-small moved into an X-MOD with identity adapters, without any download."""

from xmodctl.model.mini.building import build

__all__ = ["build"]
