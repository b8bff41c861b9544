"""Search: mutations, NSGA-II on the number of operations and the error, and random search as its control."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
from jaxtyping import Float, Int, Real

from overparam.core import checks
from overparam.core.progress import track
from overparam.numerics.autonumerics_zero.fitting import Fitted, Interval, Problem, Target, fit, problem
from overparam.numerics.autonumerics_zero.programs import OPS, Instruction, Program, canonical

#: The one-instruction programs with which a search begins: x * c, x + c, c / x, c - x.
STARTS = tuple(Program((code,)) for code in (("mul", -1, 0), ("add", -1, 0), ("div", -1, 0), ("sub", -1, 0)))
#: Chance of a second mutation.
TWICE = 0.35
#: Chances of the kinds of mutation.
INSERT, REMOVE, OPERAND, OPERATION = 0.45, 0.15, 0.25, 0.15
#: Chances in an insertion: at the end, both operands the same, operands swapped.
AT_END, COPY, SWAP = 0.3, 0.35, 0.4
#: Chances of a random operand: a constant, x; else an earlier result.
CONSTANT, ARGUMENT = 0.35, 0.25
#: Errors are clamped to this range before their logarithm is taken.
CLAMP = (1e-16, 1e9)
#: Proposals for every structure that is wanted, before a generation ends with fewer.
PROPOSALS = 30
#: Random programs in a row of which none is new, before a search takes it that none is left.
PATIENCE = 300


# --- Mutation ---------------------------------------------------------------------------------------------------


def mutate(p: Program, rng: np.random.Generator, max_ops: int = 8) -> Program:
    """Change a program in one place, or two: insert or remove an instruction, change an operand or an operation.

    Afterwards every use of a constant has a slot of its own.

    Parameters
    ----------
    p
        The program, of at most ``max_ops`` operations.
    rng
        The randomness.
    max_ops
        The size that no program exceeds.

    Raises
    ------
    ValueError
        If ``max_ops`` is below 1 or the program longer.
    """
    checks.integer(1, max_ops=max_ops)
    if p.ops > max_ops:
        raise ValueError(f"p must have at most {max_ops} operations, got {p.ops}")
    code = list(p.code)
    for _ in range(1 + (rng.random() < TWICE)):
        code = _mutation(code, rng, max_ops)(code, rng)
    return _renumbered(code)


def random_program(rng: np.random.Generator, max_ops: int = 8, *, grown: bool = False) -> Program:
    """A program of a random size of at most ``max_ops``.

    Parameters
    ----------
    rng
        The randomness.
    max_ops
        The largest size.
    grown
        Let it grow from one instruction by the insertions of :func:`mutate`, under which no result is lost, instead of
        drawing every instruction by itself.

    Raises
    ------
    ValueError
        If ``max_ops`` is below 1.
    """
    checks.integer(1, max_ops=max_ops)
    size = int(rng.integers(1, max_ops + 1))
    if not grown:
        draws = ((OPS[rng.integers(len(OPS))], _random_operand(k, rng), _random_operand(k, rng)) for k in range(size))
        return _renumbered(list(draws))
    code = list(STARTS[rng.integers(len(STARTS))].code)
    for _ in range(size - 1):
        code = _insert(code, rng)
    return _renumbered(code)


Code = list[Instruction]


def _mutation(code: Code, rng: np.random.Generator, max_ops: int) -> Callable[[Code, np.random.Generator], Code]:
    """The kind of the next mutation, among those that this program admits."""
    weights = np.array([INSERT, REMOVE, OPERAND, OPERATION])
    if len(code) == 1:
        weights[1:] = (0, 0, 0) if max_ops > 1 else (0, OPERAND, OPERATION)
    if len(code) >= max_ops:
        weights[0] = 0
    kinds = (_insert, _remove, _change_operand, _change_op)
    return kinds[rng.choice(len(kinds), p=weights / weights.sum())]


def _insert(code: Code, rng: np.random.Generator) -> Code:
    at_end = rng.random() < AT_END
    k = len(code) if at_end else int(rng.integers(len(code)))
    # The new instruction is number k + 1 and may use results 1 to k.
    first = k if at_end or not k else int(rng.integers(1, k + 1))
    second = first if rng.random() < COPY else _random_operand(k, rng)
    pair = (second, first) if rng.random() < SWAP else (first, second)
    new = (OPS[rng.integers(len(OPS))], *pair)
    later = [(op, a + (a > k), b + (b > k)) for op, a, b in code[k:]]
    uses = [(i, side) for i, (_, *operands) in enumerate(later) for side in (0, 1) if operands[side] == first]
    if uses:
        i, side = uses[rng.integers(len(uses))]
        later[i] = _with(later[i], side, k + 1)
    return [*code[:k], new, *later]


def _remove(code: Code, rng: np.random.Generator) -> Code:
    k = int(rng.integers(len(code)))
    heir = _operands(code[k])[rng.integers(2)]
    if k == len(code) - 1:  # the output is now an operand, or the instruction before
        return code[: heir if heir > 0 else k]
    places = [*range(k + 1), heir, *range(k + 1, len(code))]
    later = [(op, places[a] if a > 0 else a, places[b] if b > 0 else b) for op, a, b in code[k + 1 :]]
    return [*code[:k], *later]


def _operands(instruction: Instruction) -> tuple[int, int]:
    return instruction[1:]


def _change_operand(code: Code, rng: np.random.Generator) -> Code:
    k, side = int(rng.integers(len(code))), int(rng.integers(2))
    return [*code[:k], _with(code[k], side, _random_operand(k, rng)), *code[k + 1 :]]


def _change_op(code: Code, rng: np.random.Generator) -> Code:
    k = int(rng.integers(len(code)))
    others = [op for op in OPS if op != code[k][0]]
    return [*code[:k], (others[rng.integers(len(others))], *_operands(code[k])), *code[k + 1 :]]


def _random_operand(k: int, rng: np.random.Generator) -> int:
    """A constant (its slot is numbered later), x, or one of the results 1 to k."""
    luck = rng.random()
    if luck < CONSTANT:
        return -1
    return 0 if luck < CONSTANT + ARGUMENT or not k else int(rng.integers(1, k + 1))


def _with(instruction: Instruction, side: int, operand: int) -> Instruction:
    op, a, b = instruction
    return (op, operand, b) if side == 0 else (op, a, operand)


def _renumbered(code: Code) -> Program:
    slots = count(1)
    # Operands from left to right, as the slots are to be numbered.
    return Program(tuple((op, _slot(a, slots), _slot(b, slots)) for op, a, b in code))


def _slot(operand: int, slots: Iterator[int]) -> int:
    return -next(slots) if operand < 0 else operand


# --- Non-dominated sorting --------------------------------------------------------------------------------------


def nondominated_sort(F: Real[np.ndarray, "n 2"]) -> Int[np.ndarray, " n"]:
    """Ranks from 0, the points that no other dominates; without them, those of rank 1 are dominated by none, and so on.

    A point dominates another if it is nowhere larger and somewhere smaller.

    Parameters
    ----------
    F
        Objectives to minimise, one point a row.

    Raises
    ------
    ValueError
        If an objective is NaN, or the points are not pairs.

    References
    ----------
    Deb, Pratap, Agarwal & Meyarivan (2002), *A fast and elitist multiobjective genetic algorithm: NSGA-II*.
    """
    F = _objectives(F)
    if F.shape[1] != 2:
        raise ValueError(f"F must have 2 columns, got {F.shape[1]}")
    dominates = np.all(F[:, None] <= F, axis=2) & np.any(F[:, None] < F, axis=2)
    ranks = np.full(len(F), -1)
    rank = 0
    while (left := ranks < 0).any():
        ranks[left & ~dominates[left].any(0)] = rank
        rank += 1
    return ranks


def crowding_distance(F: Real[np.ndarray, "n m"]) -> Float[np.ndarray, " n"]:
    """How far apart the neighbours of each point of a front are, as shares of each objective's range, summed.

    Parameters
    ----------
    F
        Objectives, one point a row.

    Returns
    -------
    Distances; infinite for the first and last point along an objective.

    Raises
    ------
    ValueError
        If an objective is NaN.
    """
    F = _objectives(F)
    distance = np.zeros(len(F))
    for column in F.T:
        order = np.argsort(column, kind="stable")
        values = column[order]
        distance[order[:1]] = distance[order[-1:]] = math.inf
        if len(F) > 2 and values[-1] > values[0]:
            distance[order[1:-1]] += (values[2:] - values[:-2]) / (values[-1] - values[0])
    return distance


def _objectives(F: np.ndarray) -> np.ndarray:
    F = np.asarray(F, dtype=float)
    if F.ndim != 2:
        raise ValueError(f"F must be a matrix with one point a row, got shape {F.shape}")
    if np.isnan(F).any():
        raise ValueError(f"F must not hold NaN, got {F[np.isnan(F).any(1)][0]}")
    return F


# --- The searches -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evolution:
    """What a search has found.

    ``front`` has the best (program, constants, error) of each exact number of operations, ``history`` the best error
    with at most n operations after each generation, ``evaluations`` the number of structures fitted in all, and
    ``counts`` their number after each generation.
    """

    front: dict[int, Fitted]
    history: tuple[dict[int, float], ...]
    evaluations: int
    counts: tuple[int, ...]


class _Archive:
    """Every structure that has been fitted, and the best of each size."""

    def __init__(self, aim: Problem, max_ops: int, seed: int) -> None:
        self.aim, self.max_ops = aim, max_ops
        self.starts = np.random.default_rng([seed, 1])  # apart from the randomness of the search
        self.front: dict[int, Fitted] = {}
        self.seen: set[Program] = set()

    def best(self) -> dict[int, float]:
        """Best error with at most n operations."""
        best, least = {}, math.inf
        for n in range(1, self.max_ops + 1):
            least = min(least, self.front[n][2] if n in self.front else math.inf)
            best[n] = least
        return best

    def fit(self, proposal: Program) -> Fitted | None:
        """Fit a structure that is new; None for one that is not, or that ignores x."""
        p = canonical(proposal)
        if p is None or p in self.seen:
            return None
        self.seen.add(p)
        c, error = fit(p, self.aim, self.starts, self.best()[p.ops])
        if p.ops not in self.front or error < self.front[p.ops][2]:
            self.front[p.ops] = p, c, error
        return p, c, error


def evolve(
    target: Target = np.exp2,
    *,
    interval: Interval = (0.0, 1.0),
    population: int = 60,
    children: int = 60,
    generations: int = 25,
    max_ops: int = 8,
    seed: int = 0,
    progress: bool = False,
) -> Evolution:
    """Evolve programs that approximate a target, few operations and a small error being two objectives.

    Parameters
    ----------
    target
        The function, without a zero on the interval.
    interval
        Where.
    population
        Programs that survive a generation.
    children
        New structures fitted in a generation.
    generations
        How many.
    max_ops
        The largest program.
    seed
        Of the mutations, the tournaments and the fits' random starts.
    progress
        Show a bar.

    Raises
    ------
    ValueError
        If ``population`` is below 4, a count below 1, the interval empty, or the target zero on it.

    References
    ----------
    Deb, Pratap, Agarwal & Meyarivan (2002), *A fast and elitist multiobjective genetic algorithm: NSGA-II*.
    """
    checks.integer(4, population=population)
    checks.integer(1, children=children, generations=generations, max_ops=max_ops)
    checks.integer(0, seed=seed)
    rng, archive = np.random.default_rng(seed), _Archive(problem(target, interval), max_ops, seed)
    parents = _survivors([fitted for start in STARTS if (fitted := archive.fit(start))], population)
    history, counts = [], []
    for _ in track(range(generations), progress, "generations"):
        parents = _survivors([*parents, *_offspring(parents, children, archive, rng)], population)
        history.append(archive.best())
        counts.append(len(archive.seen))
    return Evolution(dict(sorted(archive.front.items())), tuple(history), len(archive.seen), tuple(counts))


def _offspring(parents: list[Fitted], wanted: int, archive: _Archive, rng: np.random.Generator) -> list[Fitted]:
    """New structures from the winners of binary tournaments; ``parents`` are sorted, the better ones first."""
    found: list[Fitted] = []
    for _ in range(PROPOSALS * wanted):
        winner = parents[rng.integers(len(parents), size=2).min()][0]
        fitted = archive.fit(mutate(winner, rng, archive.max_ops))
        if fitted:
            found.append(fitted)
        if len(found) == wanted:
            break
    return found


def _survivors(programs: list[Fitted], kept: int) -> list[Fitted]:
    """The best by rank, and of equal rank the least crowded, in this order."""
    F = np.array([(p.ops, math.log10(min(max(error, CLAMP[0]), CLAMP[1]))) for p, _, error in programs])
    ranks, crowding = nondominated_sort(F), np.empty(len(F))
    for rank in range(ranks.max() + 1):
        crowding[ranks == rank] = crowding_distance(F[ranks == rank])
    return [programs[i] for i in np.lexsort((-crowding, ranks))[:kept]]


def random_search(
    target: Target = np.exp2,
    *,
    interval: Interval = (0.0, 1.0),
    evaluations: int = 1500,
    max_ops: int = 8,
    seed: int = 0,
    grown: bool = False,
    progress: bool = False,
) -> dict[int, float]:
    """Fit random structures, each once, without selection; ``grown`` is handed to :func:`random_program`.

    Returns
    -------
    The best error with at most n operations, for n from 1 to ``max_ops``.

    Raises
    ------
    ValueError
        If a count is below 1, the interval empty, or the target zero on it.
    """
    checks.integer(1, evaluations=evaluations, max_ops=max_ops)
    checks.integer(0, seed=seed)
    rng, archive = np.random.default_rng(seed), _Archive(problem(target, interval), max_ops, seed)
    for _ in track(range(evaluations), progress, "random search"):
        proposals = (archive.fit(random_program(rng, max_ops, grown=grown)) for _ in range(PATIENCE))
        if not any(proposals):  # short programs are few, and all of them fitted
            break
    return archive.best()
