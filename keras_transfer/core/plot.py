"""The figure that every plot of ours is; import this module only where something is drawn, because Matplotlib takes time."""

import io

from matplotlib.figure import Figure


class Plot(Figure):
    """A Matplotlib figure that a notebook shows also where pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=self.dpi, bbox_inches="tight")
        return buffer.getvalue()


def plain(name: str) -> str:
    """A name without Matplotlib's mathematics: a dollar sign is a dollar sign."""
    return str(name).replace("$", r"\$")
