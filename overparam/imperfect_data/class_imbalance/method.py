"""Imbalanced sets and the cures for them: sizes of classes, resampling, thresholding, and how to score a ranking."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from torch import Tensor

from overparam.core import checks

#: The two ways of :func:`resample_indices`.
METHODS = ("oversample", "undersample")


# --- Sizes of classes -------------------------------------------------------------------------------------------


def step_counts(num_classes: int, minority: Sequence[int], n_max: int, rho: float) -> Int[np.ndarray, " {num_classes}"]:
    r"""Sizes of the classes under step imbalance: :math:`n_{\max}/\rho` for a minority class, else :math:`n_{\max}`.

    Parameters
    ----------
    num_classes
        Classes C, at least 2.
    minority
        The minority classes, each once; their share of all classes is the paper's :math:`\mu`.
    n_max
        Examples of a majority class.
    rho
        The imbalance ratio :math:`\rho`, in [1, n_max].

    Returns
    -------
    One size a class; :math:`n_{\max}/\rho` is rounded.

    Raises
    ------
    ValueError
        If there are fewer than two classes, a minority class is repeated or none of the classes, or ``n_max`` or
        ``rho`` is out of range.

    References
    ----------
    Buda, Maki & Mazurowski (2018), Section 3.1, eqs. 1 and 2.
    """
    _check_sizes(num_classes, n_max, rho)
    for label in minority:
        if label not in range(num_classes):
            raise ValueError(f"minority must name classes 0..{num_classes - 1}, got {label!r}")
    if len(set(minority)) < len(minority):
        raise ValueError(f"minority must name each class once, got {list(minority)}")
    counts = np.full(num_classes, n_max)
    counts[list(minority)] = round(n_max / rho)
    return counts


def linear_counts(num_classes: int, n_max: int, rho: float) -> Int[np.ndarray, " {num_classes}"]:
    r"""Sizes of the classes under linear imbalance: from :math:`n_{\max}/\rho` up to :math:`n_{\max}` in even steps.

    Parameters
    ----------
    num_classes, n_max, rho
        As for :func:`step_counts`.

    Returns
    -------
    One size a class, ascending and rounded.

    Raises
    ------
    ValueError
        If there are fewer than two classes, or ``n_max`` or ``rho`` is out of range.

    References
    ----------
    Buda, Maki & Mazurowski (2018), Section 3.1.
    """
    _check_sizes(num_classes, n_max, rho)
    return np.rint(np.linspace(n_max / rho, n_max, num_classes)).astype(int)


def _check_sizes(num_classes: int, n_max: int, rho: float) -> None:
    checks.integer(2, num_classes=num_classes)
    checks.integer(1, n_max=n_max)
    if not 1 <= rho <= n_max:
        raise ValueError(f"rho must lie in [1, n_max = {n_max}], got {rho!r}")


# --- Which examples to train on ---------------------------------------------------------------------------------


def subsample(
    labels: Int[Tensor, " n"], counts: Sequence[int] | Int[np.ndarray, " c"], *, generator: torch.Generator
) -> Int[Tensor, " m"]:
    """Make a set imbalanced: a random subset with ``counts[c]`` distinct examples of class c.

    From generators in the same state smaller counts give subsets of what larger ones give, so that two ratios of
    imbalance differ in nothing else.

    Parameters
    ----------
    labels
        Classes of the whole set.
    counts
        Examples wanted of the classes 0, 1, ...; labels beyond them are left out.
    generator
        CPU generator.

    Returns
    -------
    Ascending indices into ``labels``, on its device.

    Raises
    ------
    ValueError
        If a count is negative or above what the class has, or the labels are not one row of classes.
    """
    _check_labels(labels)
    for wanted in np.asarray(counts).tolist():
        checks.integer(0, counts=wanted)
    chosen = []
    for label, wanted in enumerate(np.asarray(counts).tolist()):
        members = (labels == label).nonzero()[:, 0]
        if wanted > len(members):
            raise ValueError(f"class {label} has {len(members)} examples, fewer than the counts ask for, {wanted}")
        chosen.append(members[torch.randperm(len(members), generator=generator)[:wanted].to(labels.device)])
    return _sorted(chosen, labels)


def resample_indices(
    labels: Int[Tensor, " n"], *, method: str, level: float = 1.0, generator: torch.Generator
) -> Int[Tensor, " m"]:
    r"""Balance a set by repeating examples of the small classes or by leaving out examples of the large ones.

    Let :math:`n_{\min}` and :math:`n_{\max}` be the sizes of the smallest and the largest class that is there.
    Oversampling to level l fills each class up to :math:`n_{\min} + l\,(n_{\max} - n_{\min})` with uniform draws
    with replacement from its own examples, all of which stay; undersampling cuts each class down to
    :math:`n_{\max} - l\,(n_{\max} - n_{\min})` by a uniform subset. Level 0 changes nothing, level 1 balances.

    Parameters
    ----------
    labels
        Classes of the training set.
    method
        "oversample" or "undersample".
    level
        How much of the imbalance to remove, in [0, 1]; the target is rounded to an integer.
    generator
        CPU generator.

    Returns
    -------
    Ascending indices into ``labels``, on its device, with repetitions for oversampling.

    Raises
    ------
    ValueError
        If ``method`` is unknown, ``level`` outside [0, 1], or the labels are not one row of at least one class.

    References
    ----------
    Buda, Maki & Mazurowski (2018), Sections 2.1 and 4.5.
    """
    checks.one_of(METHODS, method=method)
    checks.probability(level=level)
    _check_labels(labels)
    if not len(labels):
        raise ValueError(f"labels must hold at least one example, got shape {tuple(labels.shape)}")
    present, sizes = labels.unique(return_counts=True)
    smallest, largest = int(sizes.min()), int(sizes.max())
    removed = level * (largest - smallest)
    target = round(smallest + removed if method == "oversample" else largest - removed)
    chosen = []
    for label, size in zip(present, sizes.tolist(), strict=True):
        members = (labels == label).nonzero()[:, 0]
        if method == "oversample":
            more = torch.randint(size, (max(0, target - size),), generator=generator)
            chosen += [members, members[more.to(labels.device)]]
        else:
            chosen.append(members[torch.randperm(size, generator=generator)[:target].to(labels.device)])
    return _sorted(chosen, labels)


def _check_labels(labels: Tensor) -> None:
    if labels.ndim != 1 or labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"labels must be one row of integers, got {labels.dtype} of shape {tuple(labels.shape)}")
    if len(labels) and labels.min() < 0:
        raise ValueError(f"labels must be at least 0, got {int(labels.min())}")


def _sorted(chosen: list[Tensor], labels: Tensor) -> Tensor:
    empty = torch.empty(0, dtype=torch.int64, device=labels.device)
    return torch.cat([empty, *chosen]).sort().values


# --- Decisions and their quality --------------------------------------------------------------------------------


def threshold(probs: Float[Tensor, "*batch c"], prior: ArrayLike | Tensor, *, normalize: bool = True) -> Tensor:
    r"""Take the training prior out of a posterior: :math:`y_i(x) = p(i \mid x) / p(i) \propto p(x \mid i)`.

    Parameters
    ----------
    probs
        The network's softmax outputs :math:`p(i \mid x)`, classes along the last axis.
    prior
        The share of each class in the data, or its number of examples: the prior is normalized to sum to 1.
    normalize
        Divide by the sum over classes, for the posterior under a uniform prior. It changes no decision within an
        example, but, unlike the division by the prior, it changes the ranking *across* examples.

    Returns
    -------
    Scores of the shape, dtype and device of ``probs``.

    Raises
    ------
    ValueError
        If the prior has another length than the classes, or an entry that is not positive and finite.

    References
    ----------
    Buda, Maki & Mazurowski (2018), Section 2.2; Richard & Lippmann (1991).
    """
    shares = torch.as_tensor(prior, dtype=torch.float64)
    if not probs.ndim or shares.shape != probs.shape[-1:]:
        raise ValueError(f"prior must have one entry for each class of {tuple(probs.shape)}, got {tuple(shares.shape)}")
    for value in shares.tolist():
        checks.positive(prior=value)
    scores = probs / (shares / shares.sum()).to(probs)
    return scores / scores.sum(-1, keepdim=True) if normalize else scores


def multiclass_auc(scores: Float[Tensor, "n c"], labels: Int[Tensor, " n"]) -> float:
    r"""Mean over the classes of the area under the one-vs-rest ROC curve of that class's score.

    The area is the probability that an example of the class scores above one of the rest, ties counting one half
    (Mann and Whitney): with :math:`R_i` the sum of the ranks of the :math:`n_i` examples of class i among all n,

    .. math:: \mathrm{AUC}_i = \frac{R_i - n_i (n_i + 1)/2}{n_i\,(n - n_i)}.

    One sort a class, :math:`O(C\,n \log n)`.

    Parameters
    ----------
    scores
        One column a class; only the order within a column matters.
    labels
        True classes 0..C-1, each of which must occur.

    Raises
    ------
    ValueError
        If a score is NaN, the shapes do not fit, there are fewer than two classes, or a class has no example.

    References
    ----------
    Buda, Maki & Mazurowski (2018), Section 3.4; Provost & Domingos (2003).
    """
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(f"labels must name the class of each row of {tuple(scores.shape)}, got {tuple(labels.shape)}")
    _check_labels(labels)
    classes = scores.shape[1]
    checks.integer(2, num_classes=classes)
    if scores.isnan().any():
        raise ValueError(f"scores must be numbers, got {math.nan}")
    sizes = labels.bincount(minlength=classes)
    if len(sizes) > classes:
        raise ValueError(f"labels must lie in 0..{classes - 1}, got {int(labels.max())}")
    if (sizes == 0).any():
        raise ValueError(f"each class needs an example, got none of class {int((sizes == 0).nonzero()[0])}")
    areas = [_auc(column, labels == label) for label, column in enumerate(scores.mT.contiguous())]
    return float(torch.stack(areas).mean())


def _auc(scores: Float[Tensor, " n"], positive: Bool[Tensor, " n"]) -> Float[Tensor, ""]:
    own, ordered = scores[positive], scores.sort().values
    below, up_to = (torch.searchsorted(ordered, own, side=side) for side in ("left", "right"))
    ranks = (below + up_to + 1).double() / 2  # of tied scores, the middle one
    n, size = len(scores), len(own)
    return (ranks.sum() - size * (size + 1) / 2) / (size * (n - size))
