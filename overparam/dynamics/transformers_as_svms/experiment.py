"""Both parameterizations beside their SVMs, and a sweep over the width."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from overparam.core import checks, compute
from overparam.core.claims import Claim
from overparam.core.compute import Device
from overparam.core.progress import track
from overparam.dynamics.transformers_as_svms.descent import (
    PARAMETERIZATIONS,
    attention,
    attention_data,
    normalized_gd,
    token_scores,
)
from overparam.dynamics.transformers_as_svms.machines import frobenius_svm, nuclear_svm, numerical_rank, svm_constraints

DTYPE = torch.float64  # the norm of K Q' reaches 1e4, and float32 rounds logits of that size to 1e-3
NORMS = ("Frobenius", "nuclear")


@dataclass(frozen=True)
class Config:
    """Reader scale: a few CPU-seconds. Every number of the experiment is here."""

    seed: int = 0
    n: int = 6  # inputs of a dataset
    T: int = 8  # tokens of an input
    d: int = 10  # coordinates of a token
    runs: int = 20  # datasets
    steps: int = 2000
    lr: float = 0.1  # length of a step
    init_scale: float = 0.3  # standard deviation of the start of K and Q; W starts from 0
    record_every: int = 100  # steps between recorded weights
    sweep_dims: tuple[int, ...] = (2, 4, 8, 16, 32, 64)  # values of d
    sweep_runs: int = 100  # datasets for each of them
    sweep_steps: int = 400

    def __post_init__(self) -> None:
        checks.integer(0, seed=self.seed)
        checks.integer(1, n=self.n, d=self.d, runs=self.runs, steps=self.steps, record_every=self.record_every)
        checks.integer(2, T=self.T)
        checks.integer(1, sweep_runs=self.sweep_runs, sweep_steps=self.sweep_steps)
        checks.positive(lr=self.lr, init_scale=self.init_scale)
        if not self.sweep_dims:
            raise ValueError(f"sweep_dims must name at least one dimension, got {self.sweep_dims}")
        for dim in self.sweep_dims:
            checks.integer(1, sweep_dims=dim)

    @property
    def threshold(self) -> int:
        """The width from which every choice of tokens can be separated, max(T - 1, n)."""
        return max(self.T - 1, self.n)


FULL = Config(
    runs=100,
    steps=4000,
    sweep_dims=(2, 4, 8, 16, 32, 64, 128, 256),
    sweep_runs=500,
    sweep_steps=2000,
)


@dataclass(frozen=True)
class Result:
    """What :func:`run` measured.

    First axes follow :data:`PARAMETERIZATIONS` and :data:`NORMS`. ``corr`` is the correlation with the SVM of the
    tokens selected at the end, in the run's own parameterization, at ``steps``; ``prob`` the mean over inputs of the
    largest attention; ``rank`` that of the SVM solutions of the runs that train W. NaN where the SVM is infeasible.
    ``sweep_global`` is the share of datasets in which all selected tokens are those with the best score, and
    ``sweep_feasible`` that in which these could be separated, for each of ``config.sweep_dims``.
    """

    config: Config
    steps: Int[np.ndarray, " k"]
    corr: Float[np.ndarray, "2 2 runs k"]
    prob: Float[np.ndarray, "2 runs k"]
    rank: Float[np.ndarray, "2 runs"]
    sweep_global: Float[np.ndarray, " dims"]
    sweep_feasible: Float[np.ndarray, " dims"]


def run(config: Config = Config(), *, device: Device = None, progress: bool = True) -> Result:
    """Train both parameterizations, solve their SVMs, and sweep the width, in float64.

    Parameters
    ----------
    config
        The experiment.
    device
        None picks the best device that has float64; the SVMs are solved on the CPU.
    progress
        Show bars.
    """
    where = compute.device(device, dtype=DTYPE)
    data_seed, start_seed, *sweep_seeds = compute.seeds(config.seed, 2 + len(config.sweep_dims))
    X, Z, scores = _problem(config.runs, config, config.d, data_seed, where)
    paths, solutions = [], []
    for parameterization in track(PARAMETERIZATIONS, progress, "attention"):
        path = normalized_gd(
            X,
            Z,
            scores,
            parameterization=parameterization,
            steps=config.steps,
            lr=config.lr,
            init_scale=0.0 if parameterization == "W" else config.init_scale,
            generator=compute.generator(start_seed),
            record_every=config.record_every,
        )
        paths.append(path)
        solutions.append(_solutions(X, Z, _selected(path.W[-1], X, Z)))
    prob = [attention(path.W, X, Z).amax(-1).mean(-1).mT.cpu().numpy() for path in paths]
    corr = [_correlations(path.W.cpu().numpy(), solution) for path, solution in zip(paths, solutions, strict=True)]
    widths = list(zip(config.sweep_dims, sweep_seeds, strict=True))
    sweep = [_width(config, d, seed, where) for d, seed in track(widths, progress, "width")]
    return Result(
        config=config,
        steps=paths[0].steps.cpu().numpy(),
        corr=np.stack(corr),
        prob=np.stack(prob),
        rank=np.array([[_rank_or_nan(W) for W in of_norm] for of_norm in solutions[0]], dtype=float),
        sweep_global=np.array([share for share, _ in sweep]),
        sweep_feasible=np.array([share for _, share in sweep]),
    )


def _problem(runs: int, config: Config, d: int, seed: int, where: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    data = attention_data(runs, config.n, config.T, d, generator=compute.generator(seed), dtype=DTYPE)
    X, Z, v, Y = (part.to(where) for part in data)
    return X, Z, token_scores(X, v, Y)


def _selected(W: Tensor, X: Tensor, Z: Tensor) -> Tensor:
    return attention(W, X, Z).argmax(-1)


def _solutions(X: Tensor, Z: Tensor, selected: Tensor) -> np.ndarray:
    """The SVM solutions of every dataset, (2 norms, runs, d, d), NaN where there is none."""
    sets = [svm_constraints(*one) for one in zip(X.cpu(), Z.cpu(), selected.cpu(), strict=True)]
    nothing = np.full(X.shape[-1:] * 2, math.nan)
    solved = [[solve(C) for C in sets] for solve in (frobenius_svm, nuclear_svm)]
    return np.array([[nothing if W is None else W for W in of_norm] for of_norm in solved])


def _correlations(W: np.ndarray, solutions: np.ndarray) -> np.ndarray:
    """Of weights (k, runs, d, d) with solutions (2, runs, d, d), as (2, runs, k)."""
    unit_W, unit_solutions = (A / np.linalg.norm(A, axis=(-2, -1), keepdims=True) for A in (W, solutions))
    return np.einsum("krde,srde->srk", unit_W, unit_solutions)


def _rank_or_nan(W: np.ndarray) -> float:
    return numerical_rank(W) if np.isfinite(W).all() else math.nan


def _width(config: Config, d: int, seed: int, where: torch.device) -> tuple[float, float]:
    """The shares of datasets of width d that select the best tokens everywhere, and that could."""
    X, Z, scores = _problem(config.sweep_runs, config, d, seed, where)
    W = normalized_gd(X, Z, scores, steps=config.sweep_steps, lr=config.lr).W[-1]
    best = scores.argmax(-1)
    found = (_selected(W, X, Z) == best).all(-1).double().mean()
    sets = zip(X.cpu(), Z.cpu(), best.cpu(), strict=True)
    separable = [frobenius_svm(svm_constraints(*one)) is not None for one in sets]
    return float(found), float(np.mean(separable))


def claims(result: Result) -> list[Claim]:
    """The chapter's seven claims, decided on one result."""
    config = result.config
    (w_fro, w_nuc), (kq_fro, kq_nuc) = result.corr[..., -1].mean(-1).tolist()
    preference = min(w_fro - w_nuc, kq_nuc - kq_fro)
    saturated = float(result.prob[..., -1].min())
    dims = np.array(config.sweep_dims)
    narrowest, widest = int(dims.argmin()), int(dims.argmax())
    wide = result.sweep_feasible[dims >= config.threshold]
    feasible = float(wide.min()) if wide.size else math.nan
    gain = float(result.sweep_global[widest] - result.sweep_global[narrowest])
    saved_rank = float((result.rank[0] - result.rank[1]).mean())
    return [
        Claim(
            "w_is_frobenius_svm",
            "Training W converges in direction to the Frobenius-norm SVM of the tokens it selects",
            measured=w_fro,
            holds=w_fro >= 0.99,
            limits=(0.99, math.inf),
            bound="mean correlation at least 0.99",
            source="implicit bias of gradient descent in W",
        ),
        Claim(
            "kq_is_nuclear_svm",
            "Training the factors K and Q converges in direction to the nuclear-norm SVM",
            measured=kq_nuc,
            holds=kq_nuc >= 0.95,
            limits=(0.95, math.inf),
            bound="mean correlation at least 0.95",
            source="implicit bias of the (K, Q) parameterization",
        ),
        Claim(
            "parameterization_decides",
            "Each parameterization is closer to the SVM of its own norm than to the other",
            measured=preference,
            holds=preference >= 0.05,
            limits=(0.05, math.inf),
            bound="smaller of the two gaps in correlation at least 0.05",
            source="Frobenius against nuclear norm",
        ),
        Claim(
            "saturation",
            "The attention becomes hard: one token of each input takes all of it",
            measured=saturated,
            holds=saturated >= 0.999,
            limits=(0.999, math.inf),
            bound="mean largest attention at least 0.999 in every run",
            source="divergence of the weights",
        ),
        Claim(
            "feasible_when_wide",
            "The best tokens can be separated once d >= max(T - 1, n), and mostly not in two dimensions",
            measured=feasible,
            holds=feasible == 1 and bool(result.sweep_feasible[narrowest] <= 0.5),
            limits=(1.0, 1.0),
            bound="feasible share 1 for all d >= max(T - 1, n), at most 0.5 at the smallest d",
            source="separability for d >= max(T - 1, n)",
        ),
        Claim(
            "width_makes_it_global",
            "The wider the embedding, the more often gradient descent selects the best token of every input",
            measured=gain,
            holds=gain >= 0.6,
            limits=(0.6, math.inf),
            bound="share at the largest d at least 0.6 above that at the smallest",
            source="over-parameterization catalyzes global convergence",
        ),
        Claim(
            "nuclear_is_lower_rank",
            "The nuclear-norm SVM has the lower rank, and neither has a rank above n",
            measured=saved_rank,
            holds=saved_rank >= 0.5 and bool(result.rank.max() <= config.n),
            limits=(0.5, math.inf),
            bound="mean rank lower by at least 0.5, largest rank at most n",
            source="low rank of both solutions",
        ),
    ]
