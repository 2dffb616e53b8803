"""How tables print numbers: scores with one digit, differences with their sign, intervals."""


def score(value: float | None, spread: float | None = None) -> str:
    """Return a score in percent, with its standard deviation if there is one; nothing for None."""
    if value is None:
        return ""
    return f"{value:z.1f}" if spread is None else f"{value:.1f} ± {spread:.1f}"


def points(value: float | None) -> str:
    """Return a difference of scores, always with a sign; nothing for None."""
    return "" if value is None else f"{value:+z.1f}"


def interval(ends: tuple[float, float] | None) -> str:
    """Return an interval (`53.1 to 58.4`); nothing for None."""
    return "" if ends is None else f"{ends[0]:z.1f} to {ends[1]:z.1f}"


def with_interval(text: str, ends: tuple[float, float] | None) -> str:
    """Return a number followed by its interval in parentheses, if it has one."""
    return f"{text} ({interval(ends)})" if text and ends else text


def p_value(value: float) -> str:
    """Return a p-value with three digits."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"
