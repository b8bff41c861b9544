"""How important is an example: three scores, and the subsets that they choose."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from overparam.core import checks
from overparam.core.datasets import flip_labels
from overparam.core.training import evaluating

RULES = ("hardest", "easiest", "window")


def el2n_scores(logits: Float[Tensor, "*replicas n c"], labels: Shaped[Tensor, " n"]) -> Float[Tensor, "*replicas n"]:
    r"""EL2N of every example: :math:`\lVert p - y \rVert_2`, softmax output minus one-hot label.

    The entry of the true class is written as minus the sum of the others, because :math:`p_y - 1` of a confident
    network would be rounded to 0.

    Parameters
    ----------
    logits
        Of C classes along the last axis; leading axes are replicas, to be averaged by the caller.
    labels
        0..C-1.

    Returns
    -------
    Scores in :math:`[0, \sqrt 2]`, the logits' dtype and device.

    Raises
    ------
    ValueError
        If the shapes do not fit or a label is outside 0..C-1.
    TypeError
        If the labels are not integers.

    References
    ----------
    Paul, Ganguli & Dziugaite (2021), the definition of EL2N.
    """
    if logits.ndim < 2:
        raise ValueError(f"logits must have the shape (..., n, C), got {tuple(logits.shape)}")
    _check_labels(labels, *logits.shape[-2:])
    error = _error(logits, labels)
    return torch.linalg.vector_norm(error, dim=-1)


def grand_scores(
    model: nn.Module, x: Shaped[Tensor, "n ..."], labels: Shaped[Tensor, " n"], *, chunk_size: int = 256
) -> Float[Tensor, " n"]:
    r"""GraNd of every example: :math:`\lVert \nabla_\theta \ell(f_\theta(x), y) \rVert_2`, one example at a time.

    The gradient is that of the cross-entropy and over every parameter that requires one. The model is put in
    evaluation mode for it and back as it was afterwards, and no ``.grad`` is touched.

    Parameters
    ----------
    model
        From a batch of inputs to logits (n, C).
    x, labels
        Examples; a floating x is converted to the dtype of the parameters.
    chunk_size
        Examples at once. Each costs as much memory as the model's parameters.

    Returns
    -------
    Scores in the dtype of the parameters.

    Raises
    ------
    ValueError
        If ``chunk_size`` is below 1, nothing is trainable, the shapes do not fit, or a label is out of range.
    TypeError
        If the labels are not integers.

    References
    ----------
    Paul, Ganguli & Dziugaite (2021), the definition of GraNd.
    """
    checks.integer(1, chunk_size=chunk_size)
    if not x.ndim or not len(x):
        raise ValueError(f"x must have at least one example, got shape {tuple(x.shape)}")
    trained = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    if not trained:
        raise ValueError("model must have a parameter that requires a gradient, got 0 of them")
    frozen = {name: p.detach() for name, p in model.named_parameters() if not p.requires_grad}
    x = x.to(next(iter(trained.values())).dtype) if x.is_floating_point() else x

    def loss(parameters: dict[str, Tensor], one: Tensor, label: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(model, {**parameters, **frozen}, (one[None],)), label[None])

    def norm(one: Tensor, label: Tensor) -> Tensor:
        gradients = grad(loss)(trained, one, label)
        return torch.stack([g.square().sum() for g in gradients.values()]).sum().sqrt()

    with evaluating(model):
        with torch.no_grad():
            classes = model(x[:1]).shape[-1]
        _check_labels(labels, len(x), classes)
        return vmap(norm, chunk_size=chunk_size)(x, labels.long()).detach()


def mlp_ensemble_grand(
    parameters: list[Tensor], x: Float[Tensor, "n d"], labels: Int[Tensor, " n"]
) -> Float[Tensor, "k n"]:
    r"""GraNd of every example for every replica of stacked ReLU MLPs, in closed form.

    The gradient of a layer for one example is the outer product of the layer's input :math:`a_{l-1}` and the error
    :math:`\delta_l` at its output, so that no gradient needs to be formed:
    :math:`\text{GraNd}^2 = \sum_l (\lVert a_{l-1} \rVert^2 + 1) \lVert \delta_l \rVert^2`. The 1 is the bias.

    Parameters
    ----------
    parameters
        As :func:`overparam.core.models.mlp_ensemble_init` stacks them.
    x, labels
        The same examples for every replica.
    """
    weights, biases = parameters[::2], parameters[1::2]
    inputs = [x.expand(len(weights[0]), *x.shape)]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        inputs.append(torch.baddbmm(bias, inputs[-1], weight).relu())
    delta = _error(torch.baddbmm(biases[-1], inputs[-1], weights[-1]), labels)
    squared = torch.zeros_like(delta[..., 0])
    for layer in reversed(range(len(weights))):
        squared += (inputs[layer].square().sum(-1) + 1) * delta.square().sum(-1)
        if layer:
            delta = (delta @ weights[layer].mT) * (inputs[layer] > 0)
    return squared.sqrt()


def forgetting_scores(correct: Shaped[Tensor, "t n"]) -> Float[Tensor, " n"]:
    """How often each example was forgotten: transitions from correct to wrong between its visits.

    The first visit counts no event, and an example that was never correct scores infinity.

    Parameters
    ----------
    correct
        Whether example i was predicted correctly at its t-th visit, in order of time.

    Raises
    ------
    ValueError
        If ``correct`` is not a matrix.

    References
    ----------
    Toneva et al., An Empirical Study of Example Forgetting during Deep Neural Network Learning, ICLR 2019.
    """
    if correct.ndim != 2:
        raise ValueError(f"correct must have the shape (visits, examples), got {tuple(correct.shape)}")
    right = correct.bool()
    events = (right[:-1] & ~right[1:]).sum(0).to(torch.get_default_dtype())
    return events.masked_fill(~right.any(0), torch.inf)


def keep_indices(
    scores: Shaped[Tensor, " n"], keep: int, *, rule: str = "hardest", offset: int = 0
) -> Int[Tensor, " {keep}"]:
    """Which examples to keep, by their place in the ascending order of the scores.

    Parameters
    ----------
    scores
        One an example. Equal scores keep their order, which matters for forgetting scores; infinity is last.
    keep
        How many, 1..n.
    rule
        "hardest" keeps the largest scores, "easiest" the smallest, "window" places offset..offset+keep-1.
    offset
        The easiest examples that a window skips.

    Returns
    -------
    Positions in ``scores``, ascending.

    Raises
    ------
    ValueError
        If ``keep`` is outside 1..n, a score is NaN, the rule is unknown, the window does not fit, or an offset is
        given to another rule.
    """
    if scores.ndim != 1:
        raise ValueError(f"scores must be a vector, got shape {tuple(scores.shape)}")
    checks.one_of(RULES, rule=rule)
    checks.integer(1, keep=keep)
    checks.integer(0, offset=offset)
    n = len(scores)
    if keep > n:
        raise ValueError(f"keep must lie in 1..{n}, got {keep}")
    if scores.isnan().any():
        raise ValueError(f"scores must be numbers, got nan at {int(scores.isnan().nonzero()[0, 0])}")
    if offset and rule != "window":
        raise ValueError(f"offset belongs to the rule window, got {offset} with {rule!r}")
    if offset + keep > n:
        raise ValueError(f"the window must end within the {n} examples, got offset {offset} and keep {keep}")
    first = n - keep if rule == "hardest" else offset
    order = scores.argsort(stable=True)
    return order[first : first + keep].sort().values


def corrupt_labels(
    labels: Shaped[Tensor, " n"], fraction: float, num_classes: int, *, generator: torch.Generator
) -> tuple[Int[Tensor, " n"], Bool[Tensor, " n"]]:
    """Move exactly ``round(fraction * n)`` labels, each to a uniformly drawn *different* class.

    (The official code permutes the chosen labels among themselves, which leaves some of them as they were.)

    Returns
    -------
    The noisy labels and the mask of those that moved, on the labels' device.

    Raises
    ------
    ValueError
        If ``fraction`` is outside [0, 1], there are fewer than two classes, or the labels' shape or range is wrong.
    TypeError
        If the labels are not integers.
    """
    checks.probability(fraction=fraction)
    checks.integer(2, num_classes=num_classes)
    _check_labels(labels, len(labels) if labels.ndim else 0, num_classes)
    return flip_labels(labels, fraction, num_classes, exact=True, generator=generator)


def _error(logits: Tensor, labels: Tensor) -> Tensor:
    """The error vector p - y, its entry of the true class from the other ones."""
    at = labels.long()[:, None].expand(*logits.shape[:-1], 1)
    others = logits.softmax(-1).scatter(-1, at, 0.0)
    return others.scatter(-1, at, -others.sum(-1, keepdim=True))


def _check_labels(labels: Tensor, n: int, classes: int) -> None:
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    if labels.shape != (n,):
        raise ValueError(f"labels must have the shape ({n},), got {tuple(labels.shape)}")
    if (wrong := labels[(labels < 0) | (labels >= classes)]).numel():
        raise ValueError(f"labels must lie in 0..{classes - 1}, got {int(wrong[0])}")
