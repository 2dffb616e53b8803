"""The embedded model: multilingual-e5-small as an X-MOD with identity adapters, without a download."""

from xmodctl.model.mini.building import build

__all__ = ["build"]
