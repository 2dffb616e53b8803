"""Commands as functions: one dataclass declares a command's options, for Python and the command line alike."""

import inspect
import re
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from xmodctl.core.events import listening

P = ParamSpec("P")
Request = TypeVar("Request")
Result = TypeVar("Result")


def command(request: Callable[P, Request]) -> Callable[[Callable[[Request], Result]], Callable[P, Result]]:
    """Let a function that takes a request be called with the request's fields.

    The function returned has the signature of the request's constructor, for type checkers, `help` and notebooks. The
    function itself, which takes the request, is its `__wrapped__`.

    Args:
        request: The dataclass that declares the options; its docstring describes them.
    """

    def decorate(run: Callable[[Request], Result]) -> Callable[P, Result]:
        @wraps(run)
        def call(*args: P.args, **kwargs: P.kwargs) -> Result:
            options = request(*args, **kwargs)
            if listen := getattr(options, "listen", None):
                with listening(listen):
                    return run(options)
            return run(options)

        signature = inspect.signature(request)
        call.__signature__ = signature.replace(return_annotation=inspect.signature(run).return_annotation)  # type: ignore[attr-defined]
        call.__doc__ = "\n\n".join(filter(None, (inspect.getdoc(run), _described(request, signature))))
        return call

    return decorate


def _described(request: Callable[..., object], signature: inspect.Signature) -> str:
    """Return a request's docstring with the arguments that its base classes describe, in the order of the signature."""
    described: dict[str, str] = {}
    for kind in reversed(inspect.getmro(request) if isinstance(request, type) else ()):
        arguments = inspect.cleandoc(kind.__dict__.get("__doc__") or "").partition("Args:\n")[2]
        for entry in re.split(r"\n(?= {4}\w+:)", arguments.partition("\n\n")[0]):
            described[entry.strip().partition(":")[0]] = entry.rstrip()
    title = (inspect.getdoc(request) or "").partition("Args:\n")[0]
    listed = [described[name] for name in signature.parameters if name in described]
    return f"{title}Args:\n" + "\n".join(listed) if listed else title
