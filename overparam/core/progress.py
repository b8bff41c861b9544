"""Progress bars, in a terminal or a notebook, that a build or a test can silence from outside."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

from tqdm.auto import tqdm

Item = TypeVar("Item")
#: Set this variable to any value to silence every bar, whatever ``progress`` says.
QUIET = "OVERPARAM_QUIET"


def track(items: Iterable[Item], progress: bool, what: str) -> Iterable[Item]:
    """Iterate with a bar labelled ``what``, or silently if ``progress`` is False."""
    return tqdm(items, desc=what, disable=not progress or QUIET in os.environ, leave=False)
