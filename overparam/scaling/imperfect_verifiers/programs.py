"""A world of programs so small that they run on all inputs, and models that slip when they write them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from overparam.core import checks
from overparam.scaling.imperfect_verifiers.resampling import DTYPE

KINDS = 6
#: A mastered operation slips at the rate ``slip`` for a model of this weakness, and in proportion for others.
WEAK = 0.35


def operations(modulus: int = 64) -> Int[Tensor, "kinds guards {modulus}"]:
    r"""All guarded operations as tables: entry [k, a, x] is x below the guard, x < a, and :math:`g_k(x)` from it on.

    With m the modulus, the six g are :math:`x + 1`, :math:`x + 5`, :math:`m - 1 - x`, :math:`2x`,
    :math:`\lvert x - \lfloor m/3 \rfloor \rvert` and x with its last bit flipped, all modulo m. A guard of 0 applies g
    everywhere, a guard of m nowhere.

    Raises
    ------
    ValueError
        If ``modulus`` is no integer of at least 8.
    """
    checks.integer(8, modulus=modulus)
    x = torch.arange(modulus)
    g = torch.stack([x + 1, x + 5, modulus - 1 - x, 2 * x, (x - modulus // 3).abs(), x ^ 1]) % modulus
    guards = torch.arange(modulus + 1)
    return torch.where(x < guards[:, None], x, g[:, None])


def execute(
    kinds: Int[Tensor, "*batch l"], guards: Int[Tensor, "*batch l"], table: Int[Tensor, "kinds guards m"]
) -> Int[Tensor, "*batch m"]:
    """Run chains of L guarded operations, the first one first, on every input 0..m-1.

    Parameters
    ----------
    kinds, guards
        The chains.
    table
        The operations (:func:`operations`).

    Raises
    ------
    ValueError
        If the shapes differ, a chain is empty, or a kind or guard is not in the table.
    """
    if kinds.shape != guards.shape or kinds.ndim == 0 or kinds.shape[-1] == 0:
        shapes = f"{tuple(kinds.shape)} and {tuple(guards.shape)}"
        raise ValueError(f"kinds and guards must be chains of one length above 0, got shapes {shapes}")
    for name, codes, size in (("kinds", kinds, len(table)), ("guards", guards, table.shape[1])):
        if codes.numel() and (codes.min() < 0 or codes.max() >= size):
            worst = codes[(codes < 0) | (codes >= size)][0].item()
            raise ValueError(f"{name} must lie in 0..{size - 1}, got {worst}")
    # One flat table, in 32 bits: an operation is an offset into it, and the value goes on top.
    m, flat = table.shape[-1], table.flatten().int()
    first, *others = ((kinds * table.shape[1] + guards) * m).reshape(-1, kinds.shape[-1], 1).int().unbind(1)
    x = flat.view(-1, m).index_select(0, first.flatten() // m)
    index = torch.empty_like(x)
    for start in others:
        torch.add(start, x, out=index)
        torch.index_select(flat, 0, index.view(-1), out=x.view(-1))
    return x.to(table.dtype).view(*kinds.shape[:-1], m)


class Tasks(NamedTuple):
    """Reference programs, how hard each of their operations is, and the order in which inputs become tests.

    Chains that are shorter than the longest end in identities, whose guard is the modulus.
    """

    kinds: Int[Tensor, "tasks l"]
    guards: Int[Tensor, "tasks l"]
    difficulty: Float[Tensor, "tasks l"]
    order: Int[Tensor, "tasks m"]


def draw_tasks(
    count: int,
    table: Int[Tensor, "kinds guards m"],
    *,
    min_length: int = 1,
    max_length: int = 5,
    generator: torch.Generator | None = None,
) -> Tasks:
    """Random tasks, shared by all models; a program that changes no input is drawn again.

    Parameters
    ----------
    count
        How many.
    table
        The operations (:func:`operations`).
    min_length, max_length
        Operations of a program, uniform between these.

    Raises
    ------
    ValueError
        If a number is below 1, or the lengths are in the wrong order.
    """
    checks.integer(1, count=count, min_length=min_length, max_length=max_length)
    if min_length > max_length:
        raise ValueError(f"min_length must be at most max_length {max_length}, got {min_length}")
    modulus, lengths = table.shape[-1], (min_length, max_length)
    kinds, guards = _chains(count, modulus, lengths, generator)
    while (idle := _changes_nothing(kinds, guards, table)).any():
        kinds[idle], guards[idle] = _chains(int(idle.sum()), modulus, lengths, generator)
    difficulty = torch.rand(kinds.shape, generator=generator, dtype=DTYPE)
    order = torch.rand(count, modulus, generator=generator).argsort(-1)
    return Tasks(kinds, guards, difficulty, order)


def _chains(
    count: int, modulus: int, lengths: tuple[int, int], generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    low, high = lengths
    length = torch.randint(low, high + 1, (count, 1), generator=generator)
    kinds = torch.randint(KINDS, (count, high), generator=generator)
    guards = torch.randint(modulus - 3, kinds.shape, generator=generator)  # changes four inputs at least
    guards[torch.arange(high) >= length] = modulus
    return kinds, guards


def _changes_nothing(kinds: Tensor, guards: Tensor, table: Tensor) -> Tensor:
    return (execute(kinds, guards, table) == torch.arange(table.shape[-1])).all(-1)


def slip_rates(
    difficulty: Float[Tensor, "*batch"], weakness: float, *, slip: float = 0.4, stuck: float = 0.97
) -> Float[Tensor, "*batch"]:
    """How often a model slips: ``stuck`` on an operation that it has not mastered, difficulty < weakness.

    On the others the rate is ``slip`` times weakness / 0.35, and at most 1.

    Raises
    ------
    ValueError
        If a number is no probability.
    """
    checks.probability(weakness=weakness, slip=slip, stuck=stuck)
    return torch.where(difficulty < weakness, stuck, min(1.0, slip * weakness / WEAK))


def write_programs(
    tasks: Tasks,
    rates: Float[Tensor, "tasks l"],
    samples: int,
    *,
    gross: float = 0.4,
    generator: torch.Generator | None = None,
) -> tuple[Int[Tensor, "{samples} tasks l"], Int[Tensor, "{samples} tasks l"]]:
    """Programs as a model writes them: the reference, with a slip at each operation at the rate given.

    A slip is gross with probability ``gross``, and the kind of the operation is then a random one. Else its guard
    moves by up to 3 inputs either way: a bug at a boundary, which few inputs reveal.

    Returns
    -------
    Kinds and guards.

    Raises
    ------
    ValueError
        If ``samples`` is below 1 or ``gross`` is no probability.
    """
    checks.integer(1, samples=samples)
    checks.probability(gross=gross)
    modulus, shape = tasks.order.shape[-1], (samples, *tasks.kinds.shape)
    real = tasks.guards < modulus
    slips = real & (torch.rand(shape, generator=generator) < rates)
    is_gross = torch.rand(shape, generator=generator) < gross
    other_kind = torch.randint(KINDS, shape, generator=generator)
    shift = torch.randint(6, shape, generator=generator) - 3
    moved = (tasks.guards + shift + (shift >= 0)).clamp(0, modulus)  # by -3, -2, -1, 1, 2 or 3
    kinds = torch.where(slips & is_gross, other_kind, tasks.kinds)
    return kinds, torch.where(slips & ~is_gross, moved, tasks.guards)


def tests_passed(
    outputs: Int[Tensor, "*samples tasks m"], reference: Int[Tensor, "tasks m"], order: Int[Tensor, "tasks m"]
) -> Int[Tensor, "*samples tasks"]:
    """How many tests a program passes before the first that it fails; m where it agrees on all m inputs.

    Test sets are nested, the first n inputs of the order. So this one number tells for every n whether the program
    passes, and a program is correct if it passes all m.
    """
    wrong = (outputs != reference).gather(-1, order.expand(outputs.shape))
    first = wrong.to(torch.uint8).argmax(-1)
    return torch.where(wrong.any(-1), first, order.shape[-1])
