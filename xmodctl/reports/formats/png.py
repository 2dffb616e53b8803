"""PNG: a figure, such as the scores with their intervals."""

from typing import TYPE_CHECKING

from xmodctl.reports.figures import image

if TYPE_CHECKING:
    from xmodctl.reports.study import Study

EXTENSIONS = (".png",)
PAGE = False
FIGURE = True


def render(study: "Study") -> bytes:
    """Return the figure of the first data set, in the study's `plot`."""
    return image(study, "png")
