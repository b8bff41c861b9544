"""One fit loop for everything that trains by minibatches, and ensembles that train as one batched computation.

An ensemble's parameters are stacked along a leading axis of replicas. The sum of the replicas' losses has each
replica's own gradient in its slice, and torch's optimizers act element by element, so one optimizer trains all
replicas exactly as if each were alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from overparam.core import checks


def train_ensemble(
    parameters: Sequence[Tensor],
    loss: Callable[[Int[Tensor, "k b"]], Float[Tensor, " k"]],
    batches: Iterable[Int[Tensor, "k b"]],
    *,
    optimizer: Callable[[Sequence[Tensor]], torch.optim.Optimizer],
    schedule: Callable[[int], float] | None = None,
    checkpoints: Collection[int] = (),
    on_checkpoint: Callable[[int], None] | None = None,
) -> None:
    """Train stacked parameters in place.

    Parameters
    ----------
    parameters
        Leaf tensors; they come back trained, and with ``requires_grad`` as it was.
    loss
        From a batch of example indices, one row a replica, to each replica's mean loss.
    batches
        The batches, as :func:`epoch_batches` makes them; one step each.
    optimizer
        Builds a torch optimizer on the parameters, such as ``partial(torch.optim.SGD, lr=0.1)``.
    schedule
        From the number of steps taken to a factor on the learning rate, such as :func:`step_schedule`.
    checkpoints
        Numbers of steps at which to call ``on_checkpoint``: before the step after them, 0 being the start.
    on_checkpoint
        Called with the number of steps taken; the parameters hold their values of that moment.
    """
    before = [p.requires_grad for p in parameters]
    for p in parameters:
        p.requires_grad_(True)
    taken = 0

    def visit() -> None:
        if on_checkpoint is not None and taken in checkpoints:
            with torch.no_grad():
                on_checkpoint(taken)

    try:
        optim = optimizer(parameters)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optim, schedule) if schedule else None
        visit()
        for batch in batches:
            optim.zero_grad(set_to_none=True)
            loss(batch).sum().backward()
            optim.step()
            if scheduler is not None:
                scheduler.step()
            taken += 1
            visit()
    finally:
        for p, flag in zip(parameters, before, strict=True):
            p.requires_grad_(flag)
            p.grad = None


def epoch_batches(
    replicas: int, n: int, batch_size: int, epochs: int, *, generator: torch.Generator
) -> Iterator[Int[Tensor, "{replicas} {batch_size}"]]:
    """Batches of example indices for an ensemble, every replica in an order of its own, anew each epoch.

    The last, incomplete batch of an epoch is dropped.

    Raises
    ------
    ValueError
        If a count is below 1 or the batch is larger than the set.
    """
    checks.integer(1, replicas=replicas, n=n, batch_size=batch_size, epochs=epochs)
    if batch_size > n:
        raise ValueError(f"batch_size must be at most the {n} examples, got {batch_size}")
    # Not a generator function, which would refuse only when its first batch is asked for.
    orders = (torch.rand(replicas, n, generator=generator).argsort(1) for _ in range(epochs))
    return (batch for order in orders for batch in order[:, : n - n % batch_size].split(batch_size, dim=1))


def step_schedule(steps: int, drops: dict[float, float]) -> Callable[[int], float]:
    """A piecewise constant schedule: ``{0.6: 0.1}`` is factor 1, and 0.1 from 60 % of the steps on."""
    starts = sorted((round(share * steps), factor) for share, factor in drops.items())

    def factor(taken: int) -> float:
        return next((value for start, value in reversed(starts) if taken >= start), 1.0)

    return factor


def drop_schedule(steps: int, drops: Collection[float], factor: float) -> Callable[[int], float]:
    """A piecewise constant schedule that is multiplied by ``factor`` at each of the shares ``drops`` of the steps."""
    return step_schedule(steps, {share: factor ** (i + 1) for i, share in enumerate(sorted(drops))})


def accuracy(logits: Float[Tensor, "*batch n c"], labels: Int[Tensor, "*#batch n"]) -> Float[Tensor, "*batch"]:
    """The share of correct argmax decisions, over the examples axis, as float64."""
    # max is several times faster than argmax over a short axis, and takes the first of equal ones too.
    return (logits.max(-1).indices == labels).double().mean(-1)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards, even after a failure, every module has its own mode again."""
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def stack_modules(
    modules: Sequence[nn.Module],
) -> tuple[dict[str, Tensor], Callable[[dict[str, Tensor], Tensor], Tensor]]:
    """Any modules of one shape as an ensemble, through ``torch.func``.

    For MLPs :func:`overparam.core.models.mlp_ensemble_forward` is faster; this serves every other architecture
    whose forward pass changes no buffer (no batch norm in training mode).

    Returns
    -------
    The stacked parameters and buffers by name, and the function ``(parameters, x) -> outputs`` with x of shape
    (k, n, ...), one batch a replica.
    """
    parameters, buffers = stack_module_state(list(modules))
    skeleton = modules[0]

    def one(state: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(skeleton, state, (x,))

    return {**parameters, **buffers}, torch.func.vmap(one)
