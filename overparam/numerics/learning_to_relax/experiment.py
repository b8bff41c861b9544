"""Two families of systems, three learners on each, the bounds, and what they show."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Real

from overparam.core import checks, compute
from overparam.core.claims import Claim
from overparam.core.compute import Device
from overparam.core.progress import track
from overparam.numerics.learning_to_relax.bandits import ChebCB, TsallisINF, TsallisINFCB
from overparam.numerics.learning_to_relax.conjugate import pcg_bound, ssor_pcg
from overparam.numerics.learning_to_relax.relaxation import (
    asymptocity,
    check_omegas,
    check_tolerance,
    jacobi_radius,
    laplacian_square,
    optimal_omega,
    sor_costs,
    sor_radius,
    surrogate_cost,
    truncated_normal,
)


@dataclass(frozen=True)
class Config:
    """Reader scale: about 15 CPU-seconds. Every number of the experiment is here."""

    seed: int = 0
    grid_side: int = 10  # m, interior grid points along an edge; a system has m² unknowns
    rounds: int = 2000  # T, systems of a sequence
    trials: int = 8  # runs of each learner on the same sequence
    actions: int = 20  # d, relaxation factors on the grid
    omega_min: float = 1.0  # the smallest of them
    omega_max: float = 1.95  # the largest
    tol: float = 1e-8  # residual norm at which a solver stops, relative to the start
    shift_min: float = -0.15  # the smallest diagonal shift c
    shift_width: float = 0.6  # the largest is that much larger
    high: tuple[float, float] = (0.5, 1.5)  # Beta law of the shifts, high variance
    low: tuple[float, float] = (2.0, 6.0)  # the same, low variance
    terms: int = 6  # of a Chebyshev series of ChebCB
    bins: int = 5  # of the binned baseline

    def __post_init__(self) -> None:
        checks.integer(0, seed=self.seed)
        checks.integer(1, rounds=self.rounds, trials=self.trials, terms=self.terms, bins=self.bins)
        checks.integer(2, grid_side=self.grid_side, actions=self.actions)
        check_omegas(self.omega_min, name="omega_min")
        check_omegas(self.omega_max, name="omega_max")
        if self.omega_min >= self.omega_max:
            raise ValueError(f"omega_max must be above omega_min {self.omega_min}, got {self.omega_max}")
        check_tolerance(self.tol)
        singular = 4 * math.cos(math.pi / (self.grid_side + 1)) - 4
        if not (math.isfinite(self.shift_min) and self.shift_min > singular):
            raise ValueError(f"shift_min must be above {singular:.4f}, got {self.shift_min!r}: A would be indefinite")
        checks.positive(shift_width=self.shift_width)
        for name, law in (("high", self.high), ("low", self.low)):
            if len(law) != 2:
                raise ValueError(f"{name} must hold the two parameters of a Beta law, got {law}")
            for value in law:
                checks.positive(**{name: value})

    @property
    def omegas(self) -> Float[np.ndarray, " d"]:
        """The relaxation factors."""
        return np.linspace(self.omega_min, self.omega_max, self.actions)

    @property
    def interval(self) -> tuple[float, float]:
        """The range of the shifts, which are the contexts."""
        return self.shift_min, self.shift_min + self.shift_width


FULL = Config(rounds=5000, trials=40)


@dataclass(frozen=True)
class Family:
    """One sequence of systems, the cost of every factor on each of them, and which factors were played.

    ``costs`` has one row a system and one column a factor. ``young`` is the factor nearest to the optimal one of each
    system; ``bandit``, ``binned`` and ``contextual`` are what Tsallis-INF, its binned version and ChebCB played, one
    row a trial. All four are indices of columns.
    """

    shifts: Float[np.ndarray, " t"]
    costs: Int[np.ndarray, "t d"]
    young: Int[np.ndarray, " t"]
    bandit: Int[np.ndarray, "trials t"]
    binned: Int[np.ndarray, "trials t"]
    contextual: Int[np.ndarray, "trials t"]

    @property
    def best(self) -> int:
        """The best fixed factor in hindsight."""
        return int(self.costs.sum(0).argmin())

    def paid(self, arms: Int[np.ndarray, "*trials t"]) -> Int[np.ndarray, "*trials t"]:
        """The costs of the factors played."""
        return self.costs[np.arange(len(self.costs)), arms]

    @property
    def fixed(self) -> Int[np.ndarray, " t"]:
        """The costs of the best fixed factor."""
        return self.costs[:, self.best]


@dataclass(frozen=True)
class Bounds:
    r"""Costs of one matrix without a shift over several right-hand sides, and what theory says of them.

    The grid of factors and the optimal one, ascending, with the cost of SOR (the largest and the mean), the asymptotic
    estimate :math:`\log\varepsilon / \log\rho` and the near-asymptotic bound with asymptocity ``tau``; the factors,
    largest costs and bounds of preconditioned conjugate gradients.
    """

    omegas: Float[np.ndarray, " g"]
    costs: Int[np.ndarray, " g"]
    mean_costs: Float[np.ndarray, " g"]
    asymptotic: Float[np.ndarray, " g"]
    surrogate: Float[np.ndarray, " g"]
    tau: float
    pcg_omegas: Float[np.ndarray, " p"]
    pcg_costs: Int[np.ndarray, " p"]
    pcg_bounds: Float[np.ndarray, " p"]


@dataclass(frozen=True)
class Result:
    """What :func:`run` measured: the two families of systems, and the bounds on one matrix."""

    config: Config
    high: Family
    low: Family
    bounds: Bounds


#: Factors at which conjugate gradients are measured, from the minimum of the condition bound's first term upwards.
PCG_OMEGAS = np.linspace(2 * math.sqrt(2) - 2, 1.9, 12)
#: Right-hand sides, as a single one can be half as dear as another: bounds must hold for the dearest, be near the mean.
RHS = 16


Learner = TsallisINF | TsallisINFCB | ChebCB


def play(
    learner: Learner, costs: Real[np.ndarray, "t d"], contexts: Real[np.ndarray, " t"] | None = None
) -> Int[np.ndarray, " t"]:
    """Let a learner choose a column of ``costs`` in each row; it is told the entry that it chose and no other.

    Parameters
    ----------
    learner
        One of the learners of this chapter.
    costs
        One row a round, one column an arm.
    contexts
        What the learner sees before it chooses; None for a learner that sees nothing.

    Returns
    -------
    The arms played.

    Raises
    ------
    ValueError
        If there is not one context a round.
    """
    if contexts is not None and len(contexts) != len(costs):
        raise ValueError(f"contexts must number {len(costs)}, one a round, got {len(contexts)}")
    arms = np.empty(len(costs), dtype=np.int64)
    for t, row in enumerate(costs):
        arms[t] = learner.predict(*(() if contexts is None else (float(contexts[t]),)))
        learner.update(float(row[arms[t]]))
    return arms


def run(config: Config = Config(), *, device: Device = None, progress: bool = True) -> Result:
    """Solve every system with every factor, let the learners play on the table, and measure the bounds.

    Parameters
    ----------
    config
        The experiment.
    device
        For the protocol: all is numpy in float64 on the CPU. A device that is not there is refused.
    progress
        Show a bar.
    """
    compute.device(device)
    rng = np.random.default_rng(config.seed)
    bounds = _bounds(config, rng)
    high, low = (_family(name, law, config, rng, progress) for name, law in _laws(config))
    return Result(config=config, high=high, low=low, bounds=bounds)


def _laws(config: Config) -> tuple[tuple[str, tuple[float, float]], ...]:
    return ("high variance", config.high), ("low variance", config.low)


def _family(name: str, law: tuple[float, float], config: Config, rng: np.random.Generator, progress: bool) -> Family:
    shifts = config.shift_min + config.shift_width * rng.beta(*law, size=config.rounds)
    rhs = np.stack([truncated_normal(config.grid_side**2, rng) for _ in range(config.rounds)])
    omegas, interval = config.omegas, config.interval
    costs = sor_costs(config.grid_side, shifts, rhs, omegas, tol=config.tol)
    played: dict[str, list[np.ndarray]] = {"bandit": [], "binned": [], "contextual": []}
    for trial in track(range(config.trials), progress, name):
        luck = np.random.default_rng([config.seed, trial])
        played["bandit"].append(play(TsallisINF(omegas, luck), costs))
        played["binned"].append(play(TsallisINFCB(omegas, config.bins, interval, luck), costs, shifts))
        played["contextual"].append(play(ChebCB(omegas, config.terms, interval, luck), costs, shifts))
    beta = 4 * math.cos(math.pi / (config.grid_side + 1)) / (4 + shifts)
    optimal = np.array([optimal_omega(float(b)) for b in beta])
    return Family(
        shifts=shifts,
        costs=costs,
        young=np.abs(omegas - optimal[:, None]).argmin(1),
        **{learner: np.stack(arms) for learner, arms in played.items()},
    )


def _bounds(config: Config, rng: np.random.Generator) -> Bounds:
    A = laplacian_square(config.grid_side)
    rhs = np.stack([truncated_normal(len(A), rng) for _ in range(RHS)])
    beta = jacobi_radius(A)
    omegas = np.sort([*config.omegas, optimal_omega(beta)])
    sampled = sor_costs(config.grid_side, np.zeros(RHS), rhs, omegas, tol=config.tol)
    costs = sampled.max(0)
    tau = asymptocity(A, omegas, costs)
    return Bounds(
        omegas=omegas,
        costs=costs,
        mean_costs=sampled.mean(0),
        asymptotic=math.log(config.tol) / np.log(sor_radius(omegas, beta)),
        surrogate=np.asarray(surrogate_cost(omegas, beta, tau, config.tol)),
        tau=tau,
        pcg_omegas=PCG_OMEGAS.copy(),
        pcg_costs=np.array([max(ssor_pcg(A, b, float(w), tol=config.tol)[0] for b in rhs) for w in PCG_OMEGAS]),
        pcg_bounds=np.asarray(pcg_bound(A, PCG_OMEGAS, config.tol)),
    )


# --- What it claims ---------------------------------------------------------------------------------------------


def claims(result: Result) -> list[Claim]:
    """The chapter's six claims, decided on one result."""
    families, bounds = (result.high, result.low), result.bounds
    bandit = max(late_ratio(f, f.bandit, f.fixed) for f in families)
    exponent = _largest([_regret_exponent(f) for f in families])
    high = result.high
    contextual = float(high.paid(high.contextual).sum(1).mean() / high.fixed.sum())
    optimal = max(late_ratio(f, f.contextual, f.paid(f.young)) for f in families)
    slack = float((bounds.surrogate / bounds.costs).min())
    loosest = float((bounds.surrogate / bounds.mean_costs).max())
    asymptotic = float((bounds.asymptotic / bounds.mean_costs).min())
    pcg = float((bounds.pcg_costs / bounds.pcg_bounds).max())
    return [
        Claim(
            "bandit_matches_best_fixed",
            "Tsallis-INF, which is told iteration counts alone, approaches the best fixed relaxation factor",
            measured=bandit,
            holds=bandit <= 1.2,
            limits=(-math.inf, 1.2),
            bound="cost in the last quarter at most 1.20 of the best fixed factor's, both families",
            source="regret of order T^(2/3) against the best fixed factor",
        ),
        Claim(
            "regret_sublinear",
            "The regret against the best fixed factor grows sublinearly",
            measured=exponent,
            holds=exponent <= 0.75,
            limits=(-math.inf, 0.75),
            bound="exponent between T/4 and T at most 0.75, both families",
            source="regret of order T^(2/3) against the best fixed factor",
        ),
        Claim(
            "context_beats_fixed",
            "ChebCB costs less than any fixed factor, exploration included",
            measured=contextual,
            holds=contextual <= 0.8,
            limits=(-math.inf, 0.8),
            bound="total at most 0.80 of the best fixed factor's, high variance",
            source="experiment with shifts of high variance",
        ),
        Claim(
            "context_reaches_instance_optimal",
            "ChebCB approaches the policy that uses the optimal factor of each system",
            measured=optimal,
            holds=optimal <= 1.1,
            limits=(-math.inf, 1.1),
            bound="cost in the last quarter at most 1.10 of the instance-optimal one, both families",
            source="sublinear regret against the instance-optimal policy",
        ),
        Claim(
            "surrogate_bounds_cost",
            "The near-asymptotic cost is an upper bound at every factor, and the asymptotic estimate is not",
            measured=slack,
            holds=slack >= 1 and loosest <= 2 and asymptotic < 1,
            limits=(1, math.inf),
            bound="U at least the dearest cost, at most twice the mean; asymptotic/mean below 1 somewhere",
            source="near-asymptotic bound on the cost of SOR",
        ),
        Claim(
            "ssor_cg_bound",
            "Preconditioned conjugate gradients stay below their bound at every factor",
            measured=pcg,
            holds=pcg <= 1,
            limits=(-math.inf, 1),
            bound="cost/bound at most 1 at 12 factors",
            source="condition number bound (Axelsson)",
        ),
    ]


def late_ratio(family: Family, arms: Int[np.ndarray, "trials t"], against: Int[np.ndarray, " t"]) -> float:
    """What ``arms`` cost in the last quarter of the rounds, a mean over trials, over another policy's costs there."""
    late = slice(-max(len(against) // 4, 1), None)
    return float(family.paid(arms)[:, late].sum(1).mean() / against[late].sum())


def _regret_exponent(family: Family) -> float:
    """The power of the horizon in the mean regret, from a quarter of the rounds to all of them."""
    regret = (family.paid(family.bandit) - family.fixed).mean(0).cumsum()
    quarter = len(regret) // 4
    if not quarter or regret[quarter - 1] <= 0 or regret[-1] <= 0:
        return math.nan
    return math.log(regret[-1] / regret[quarter - 1]) / math.log(4)


def _largest(values: list[float]) -> float:
    """The largest of them, or NaN if one is NaN."""
    return float(np.max(values))
