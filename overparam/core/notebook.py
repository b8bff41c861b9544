"""What a chapter's notebook calls: sharp figures, and numbers that the text quotes."""

from __future__ import annotations

from typing import Any


def setup() -> None:
    """Show figures as svg, on one thread, so that a chapter's numbers do not depend on the reader's cores."""
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    from overparam.core import compute

    compute.use_threads(1)
    set_matplotlib_formats("svg")


def glue(**values: Any) -> None:
    """Name values for the text to quote, as ``{glue:text}`name:.2f```: a scalar of numpy or torch as Python's number.

    The book is built with ``myst_nb``, which keeps them; elsewhere, as on Colab, nothing needs to be kept.
    """
    try:
        from myst_nb import glue as keep
    except ImportError:
        return
    for name, value in values.items():
        keep(name, value.item() if getattr(value, "ndim", None) == 0 else value, display=False)
