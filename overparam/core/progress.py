"""Progress bars, in a terminal or a notebook, that a build or a test can silence from outside."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm.auto import tqdm

from overparam.core.environment import QUIET

Item = TypeVar("Item")


def track(items: Iterable[Item], progress: bool, what: str, *, total: int | None = None) -> Iterator[Item]:
    """Iterate with a bar labelled ``what``, or silently if ``progress`` is False; ``total`` is for generators."""
    yield from tqdm(items, desc=what, total=total, disable=not progress or QUIET in os.environ, leave=False)
