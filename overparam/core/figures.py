"""The look of every figure: one style, one palette, legible on paper, on a phone and in dark mode.

Figures are drawn in dark ink on white. The book's dark mode inverts lightness and keeps hue, under which every
colour of the palette keeps a contrast above 3:1 (a test computes both).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import matplotlib
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

#: Okabe and Ito's colours that stand out on white, told apart by readers with any colour vision; grey for references.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7a7a7a")
#: One marker for each colour, so that no figure relies on colour alone.
MARKERS = ("o", "s", "^", "D", "v")
#: Full width of the text column, inches; at this size a 10-point label is still 6 points on a phone.
WIDTH = 6.4

STYLE: dict[Any, Any] = {
    "font.size": 10.5,
    "axes.labelsize": 10.5,
    "axes.titlesize": 11,
    "legend.fontsize": 9.5,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "axes.prop_cycle": cycler(color=PALETTE),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "legend.frameon": False,
    "image.cmap": "cividis",
    "figure.dpi": 96,
    "savefig.dpi": 150,
    "svg.hashsalt": "overparam",
    "figure.constrained_layout.use": True,
}


def style() -> AbstractContextManager[None]:
    """The book's style as a context: ``with figures.style(): ...``."""
    return matplotlib.rc_context(STYLE)


Drawing = TypeVar("Drawing", bound=Callable[..., Figure])


def styled(draw: Drawing) -> Drawing:
    """Let a drawing function work in the book's style, whatever the user's own settings are."""

    @wraps(draw)
    def drawn(*args: Any, **kwargs: Any) -> Figure:
        with style():
            return draw(*args, **kwargs)

    return cast(Drawing, drawn)


def new(ncols: int = 1, nrows: int = 1, *, height: float = 3.4, **subplots: Any) -> tuple[Figure, Any]:
    """A figure of the text's width and its axes, kept out of pyplot so that nothing shows it twice.

    ``subplots`` goes to :meth:`matplotlib.figure.Figure.subplots`; the axes come as it returns them.
    """
    figure = Figure(figsize=(WIDTH, height))
    return figure, figure.subplots(nrows, ncols, **subplots)


def label_line(axes: Axes, x: float, y: float, text: str, color: str, **where: Any) -> None:
    """Write a line's name beside it, in its colour, instead of a legend."""
    axes.annotate(text, (x, y), color=color, fontsize=9.5, **{"textcoords": "offset points", "xytext": (4, 4), **where})


def band(axes: Axes, x: ArrayLike, low: ArrayLike, high: ArrayLike, color: str) -> None:
    """The spread around a line, from ``low`` to ``high``."""
    axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)


def save(figure: Figure, directory: Path, name: str) -> list[Path]:
    """Write a figure as png and svg; returns the two paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"{name}.png", directory / f"{name}.svg"]
    with style():
        for path in paths:
            # Without the date, and with the style's hash salt, two runs give the same bytes.
            figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    return paths
