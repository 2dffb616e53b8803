"""A figure that notebooks show as the value of a cell, without `%matplotlib inline` or pyplot."""

from io import BytesIO

from matplotlib.figure import Figure

ENLARGEMENT = 1.4
"""How much larger than on paper, where letters of 7 points are easy to read."""


class NotebookFigure(Figure):
    """A figure of matplotlib with the picture that notebooks ask a value for."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Return the picture for screens of two pixels per point of CSS, and its width in these points."""
        from xmodctl.reports.figures import drawing

        width = round(self.get_figwidth() * 96 * ENLARGEMENT)
        file = BytesIO()
        with drawing():
            self.savefig(file, format="png", dpi=192 * ENLARGEMENT)
        return file.getvalue(), {"width": width}
