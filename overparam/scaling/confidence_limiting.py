r"""Rethinking fine-tuning when scaling test-time compute: limiting confidence improves mathematical reasoning.

With N attempts and a checker a problem is solved if one attempt is right, with probability :math:`1 - (1 - p)^N`.
Training by cross-entropy raises p, the probability of the right answer, on training problems that are long solved, and
an over-parameterized model can raise it to one. The confidence carries over to problems that it gets wrong:

* pass@1 rises with more training while pass@N falls;
* training the coverage itself, the loss :math:`-\log(1 - (1 - p)^N)`, stops pulling where p is of order 1/N;
* the best training N grows with the N of the test, so that the two have to be designed together.

Reproduced here: the loss and the factor by which its gradient differs from that of cross-entropy, the best policy for
a given belief, chains of answers as a whole and step by step, and the three findings, on two-digit numbers read from
MNIST-1D signals by a small network. Not reproduced: the paper's fine-tuning of language models on mathematics, its
proof trees and its chain-of-thought variant. We did not check the formulas against the paper word by word.

Chen, Raventós, Cheng, Ganguli & Druckmann, Rethinking Fine-Tuning when Scaling Test-Time Compute: Limiting Confidence
Improves Mathematical Reasoning, NeurIPS 2025, arXiv 2502.07154.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Real
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor

from overparam.core import checks, compute, figures
from overparam.core.chapters import Paper
from overparam.core.claims import Claim
from overparam.core.compute import Device
from overparam.core.datasets import Examples, Split, mnist1d
from overparam.core.figures import MARKERS, PALETTE
from overparam.core.models import mlp_ensemble_forward, mlp_ensemble_init
from overparam.core.progress import track
from overparam.core.training import epoch_batches, train_ensemble

PAPER = Paper(
    title="Rethinking Fine-Tuning when Scaling Test-Time Compute: Limiting Confidence Improves Mathematical Reasoning",
    authors=("Feng Chen", "Allan Raventós", "Nan Cheng", "Surya Ganguli", "Shaul Druckmann"),
    year=2025,
    venue="NeurIPS 2025",
    arxiv="2502.07154",
    code=None,
)
LEVEL = "introductory"

REDUCTIONS = ("mean", "sum", "none")

#: A number of attempts, or one for each problem. It need not be whole.
Attempts = float | Real[Tensor, "..."]


# --- Coverage ---------------------------------------------------------------------------------------------------


def coverage(p: Float[Tensor, "..."] | float, N: Attempts) -> Float[Tensor, "..."]:
    r"""The probability :math:`1 - (1 - p)^N` that one of N independent attempts is right.

    It is computed as ``-expm1(N log1p(-p))``, because ``1 - (1 - p)**N`` in float32 is 0 for every p below 3e-8.

    Parameters
    ----------
    p
        Probability of the right answer, one for each problem.
    N
        Attempts, a number or a tensor that broadcasts against ``p``.

    Raises
    ------
    ValueError
        If a p lies outside [0, 1], or an N is below 1 or not finite.
    """
    p = _probabilities(p)
    return -torch.special.expm1(torch.special.xlog1py(_attempts(N, p), -p))


def pass_at_n_estimate(n: int, c: int, N: int) -> float:
    r"""An unbiased estimate of pass@N from n sampled answers of which c are right.

    :math:`1 - \binom{n-c}{N} / \binom{n}{N}`, the share of the subsets of N answers that hold a right one, as the
    running product :math:`1 - \prod_{i = n-c+1}^{n} (1 - N/i)`.

    Raises
    ------
    ValueError
        Unless ``1 <= N <= n`` and ``0 <= c <= n``, all integers.

    References
    ----------
    Chen et al., Evaluating Large Language Models Trained on Code, 2021, arXiv 2107.03374.
    """
    checks.integer(1, n=n, N=N)
    checks.integer(0, c=c)
    if n < N:
        raise ValueError(f"N must be at most n = {n}, got {N}")
    if c > n:
        raise ValueError(f"c must be at most n = {n}, got {c}")
    if n - c < N:
        return 1.0  # there are not enough wrong answers to fill a subset
    return 1 - math.prod(1 - N / i for i in range(n - c + 1, n + 1))


# --- The loss ---------------------------------------------------------------------------------------------------


def dco_loss(
    logits: Float[Tensor, "*batch k"], target: Int[Tensor, "*batch"], N: Attempts, reduction: str = "mean"
) -> Float[Tensor, "..."]:
    r"""Direct coverage optimization, :math:`-\log(1 - (1 - p)^N)` with p the softmax probability of the target.

    N = 1 is cross-entropy.

    Parameters
    ----------
    logits, target
        Outputs for K classes, and the right classes.
    N
        Attempts to train for, a number or a tensor that broadcasts against ``target``.
    reduction
        "mean" or "sum" over all problems, or "none".

    Raises
    ------
    ValueError
        If the shapes do not fit, a target is no class, an N is below 1, or the reduction is unknown.
    """
    if logits.ndim < 1 or logits.shape[:-1] != target.shape:
        raise ValueError(
            f"logits must be target's shape and the classes, got {tuple(logits.shape)} and {tuple(target.shape)}"
        )
    if target.device.type != "meta" and target.numel() and not 0 <= target.min() <= target.max() < logits.shape[-1]:
        raise ValueError(f"target must lie in 0..{logits.shape[-1] - 1}, got {target.min()}..{target.max()}")
    return dco_loss_from_logp(_log_probability(logits, target), N, reduction)


def dco_loss_from_logp(logp: Float[Tensor, "..."], N: Attempts, reduction: str = "mean") -> Float[Tensor, "..."]:
    r"""Direct coverage optimization from :math:`\log p`, for chains the sum of the steps' logarithms.

    With :math:`u = \log p` and :math:`x = N \log(1 - e^u)` the loss is :math:`-\log(1 - e^x)`, and where
    :math:`pN` is below the rounding it is :math:`-(u + \log N)`. Both ends are exact and have the gradient
    :math:`-F(N, p)` of :func:`overconfidence_factor`: 1 for a hopeless problem, 0 where p rounds to 1 (N > 1).

    Parameters
    ----------
    logp
        Log-probability of the right answer, at most 0.
    N, reduction
        As for :func:`dco_loss`.

    Raises
    ------
    ValueError
        If a log-probability is positive, an N is below 1, or the reduction is unknown.
    """
    checks.one_of(REDUCTIONS, reduction=reduction)
    attempts = _attempts(N, logp)
    if logp.device.type != "meta" and (logp > 0).any():
        raise ValueError(f"logp must be at most 0, got {float(logp.max())!r}")
    limits = torch.finfo(logp.dtype)
    x = attempts * _log1mexp(logp.clamp(max=-limits.tiny))  # at 0 the gradient would be 0 times infinity
    rare = x > -limits.eps
    loss = torch.where(rare, -logp - attempts.log(), -_log1mexp(torch.where(rare, -1.0, x)))
    loss = torch.where(attempts == 1, -logp, loss)
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()


def overconfidence_factor(p: Float[Tensor, "..."] | float, N: Attempts) -> Float[Tensor, "..."]:
    r"""The brake :math:`F(N, p) = N (1 - p)^{N-1} p / (1 - (1 - p)^N)`, by which DCO's gradient is that of CE.

    It falls from 1 at p = 0 to 0 at p = 1 (for N > 1; F(1, p) = 1), on a scale of 1/N.

    Parameters
    ----------
    p, N
        As for :func:`coverage`.

    Raises
    ------
    ValueError
        If a p lies outside [0, 1], or an N is below 1 or not finite.
    """
    p = _probabilities(p)
    attempts = _attempts(N, p)
    covered = coverage(p, attempts)
    factor = attempts * p / covered * torch.special.xlog1py(attempts - 1, -p).exp()
    return torch.where(covered == 0, 1.0, factor)


def _log_probability(logits: Tensor, target: Tensor) -> Tensor:
    """Log-probability of the target, which broadcasts over leading axes of the logits."""
    target = target.long().expand(logits.shape[:-1])
    return logits.log_softmax(-1).gather(-1, target[..., None])[..., 0]


def _log1mexp(u: Tensor) -> Tensor:
    """log(1 - exp(u)) for u < 0, each side by the function that is exact there."""
    near = u > -math.log(2)
    # The branch that is not taken gets a harmless input: its gradient must be finite too.
    by_expm1 = (-torch.special.expm1(torch.where(near, u, -1.0))).log()
    return torch.where(near, by_expm1, torch.log1p(-torch.where(near, -1.0, u).exp()))


def _attempts(N: Attempts, like: Tensor) -> Tensor:
    """N as a tensor of the other one's dtype and device, checked."""
    attempts = torch.as_tensor(N, dtype=like.dtype, device=like.device)
    if attempts.device.type == "meta":
        return attempts
    good = (attempts >= 1) & attempts.isfinite()
    if not good.all():
        raise ValueError(f"N must be finite and at least 1, got {attempts[~good][0].item()!r}")
    return attempts


def _probabilities(p: Tensor | float) -> Tensor:
    """The probabilities as a tensor, in float64 if they were none, checked."""
    p = p if isinstance(p, Tensor) else torch.as_tensor(p, dtype=torch.float64)
    if p.device.type == "meta":
        return p
    good = (p >= 0) & (p <= 1)
    if not good.all():
        raise ValueError(f"p must lie in [0, 1], got {p[~good][0].item()!r}")
    return p


# --- The best policy --------------------------------------------------------------------------------------------


def optimal_policy(pi: ArrayLike, N: float) -> Float[np.ndarray, " k"]:
    r"""The law of the attempts that covers most, given a belief: it maximizes :math:`\sum_k \pi_k (1 - (1-q_k)^N)`.

    :math:`q_k = \max(0, 1 - \mu\, \pi_k^{-1/(N-1)})` with :math:`\mu = (m - 1) / \sum_{k \le m} \pi_k^{-1/(N-1)}`,
    where m, the number of answers that are kept, is the largest at which the last of them has q > 0. One attempt
    goes to the likeliest answer (the first of equals); as N grows the law tends to the uniform one.

    Parameters
    ----------
    pi
        Belief :math:`\pi_k` that answer k is right. Impossible answers get no attempt.
    N
        Attempts.

    Returns
    -------
    q, in the order of ``pi``, as float64.

    Raises
    ------
    ValueError
        If ``pi`` is no probability vector, up to 1e-6, or N is below 1 or not finite.
    """
    belief = np.asarray(pi, dtype=np.float64)
    if belief.ndim != 1 or not belief.size:
        raise ValueError(f"pi must be a vector, got shape {belief.shape}")
    if not ((belief >= 0).all() and abs(belief.sum() - 1) <= 1e-6):
        raise ValueError(f"pi must be non-negative and sum to 1, got {belief}")
    if not (math.isfinite(N) and N >= 1):
        raise ValueError(f"N must be finite and at least 1, got {N!r}")
    q = np.zeros_like(belief)
    if N == 1:
        q[belief.argmax()] = 1
        return q
    order = np.argsort(-belief, kind="stable")
    order = order[belief[order] > 0]
    logs = np.log(belief[order])
    with np.errstate(over="ignore", invalid="ignore"):
        # Relative to the likeliest answer; what overflows, for N close to 1, is not kept.
        price = np.exp((logs[0] - logs) / (N - 1))
        mu = np.arange(len(order)) / price.cumsum()
        kept = np.count_nonzero(mu * price < 1)
    q[order[:kept]] = 1 - mu[kept - 1] * price[:kept]
    return q


# --- The experiment ---------------------------------------------------------------------------------------------


#: Signals in all, a fifth of them for testing, and the number of classes.
SIGNALS, CLASSES = 5000, 10


@dataclass(frozen=True)
class Config:
    """Reader scale: about 9 CPU-seconds. Every number of the experiment is here."""

    hidden: int = 128  # units of a hidden layer
    depth: int = 2  # hidden layers
    batch: int = 100  # signals of a minibatch
    epochs: int = 60
    lr: float = 1e-3  # of Adam
    digits: int = 2  # signals of a problem, digits of an answer
    train_N: tuple[int, ...] = (1, 4, 16, 64)  # attempts of the training arms; 1 is cross-entropy  # noqa: N815
    test_N: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)  # attempts at test time  # noqa: N815
    pairings: int = 5  # random groupings of the test signals into problems
    evals: int = 20  # evaluations, at epochs that grow like squares
    seed: int = 0
    stepwise: bool = False  # the loss of every digit with N^(1/digits), instead of that of the whole answer

    def __post_init__(self) -> None:
        checks.integer(0, seed=self.seed)
        checks.integer(1, hidden=self.hidden, depth=self.depth, batch=self.batch, epochs=self.epochs)
        checks.integer(1, digits=self.digits, pairings=self.pairings, evals=self.evals)
        checks.positive(lr=self.lr)
        for N in self.train_N:
            checks.integer(1, train_N=N)
        for N in self.test_N:
            checks.integer(1, test_N=N)
        checks.increasing(train_N=self.train_N, test_N=self.test_N)
        if self.digits > SIGNALS // 5:
            raise ValueError(f"digits must be at most the {SIGNALS // 5} test signals, got {self.digits}")
        if self.batch % self.digits or self.batch > SIGNALS * 4 // 5:
            raise ValueError(
                f"batch must be a multiple of digits {self.digits}, at most {SIGNALS * 4 // 5}, got {self.batch}"
            )


FULL = Config(
    hidden=1024,
    depth=4,
    epochs=300,
    train_N=(1, 2, 4, 8, 16, 32, 64, 128, 256),
    test_N=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
)


@dataclass(frozen=True)
class Result:
    """What :func:`run` measured, on test problems but for ``train_loss``.

    At ``epochs`` and for every arm, which are in the order of ``train_N``: the pass@N at ``test_N`` (``coverage``),
    the mean of each arm's own loss over the training problems, the mean probability of the answer it finds likeliest
    (``confidence``), and how often that one is right (``accuracy``). ``top`` and ``hit`` are the last two of each test
    problem, at the end.
    """

    config: Config
    epochs: Int[Tensor, " e"]
    coverage: Float[Tensor, "e arms n"]
    train_loss: Float[Tensor, "e arms"]
    confidence: Float[Tensor, "e arms"]
    accuracy: Float[Tensor, "e arms"]
    top: Float[Tensor, "arms problems"]
    hit: Bool[Tensor, "arms problems"]
    train_N: tuple[int, ...]  # noqa: N815
    test_N: tuple[int, ...]  # noqa: N815

    def pass_at(self, train_N: int, test_N: int) -> Float[Tensor, " e"]:
        """The pass@N of one arm over the epochs; NaN if the run has no such arm or no such N."""
        if train_N not in self.train_N or test_N not in self.test_N:
            return torch.full((len(self.epochs),), math.nan, dtype=self.coverage.dtype)
        return self.coverage[:, self.train_N.index(train_N), self.test_N.index(test_N)]

    def overconfidence(self, train_N: int) -> float:
        """Confidence minus accuracy of an arm at the end; NaN if the run has no such arm."""
        if train_N not in self.train_N:
            return math.nan
        arm = self.train_N.index(train_N)
        return float(self.confidence[-1, arm] - self.accuracy[-1, arm])


def run(config: Config = Config(), *, device: Device = None, progress: bool = True) -> Result:
    """Train all arms at once, from one start and on the same minibatches, and measure them along the way.

    Parameters
    ----------
    config
        The experiment.
    device
        None picks the best one.
    progress
        Show a bar.
    """
    where = compute.device(device)
    start, order, pairs = (compute.generator(seed) for seed in compute.seeds(config.seed, 3))
    data = _signals(config.seed).to(where)
    parameters = _initial(config, start, where)
    problems = _pairings(len(data.test.y), config, pairs).to(where)
    train = torch.arange(len(data.train.y), device=where)
    train = train[: len(train) - len(train) % config.digits]
    batches = epoch_batches(1, len(data.train.y), config.batch, config.epochs, generator=order)
    per_epoch = len(data.train.y) // config.batch
    epochs = sorted({round(config.epochs * (k / config.evals) ** 2) for k in range(config.evals + 1)})
    records: list[tuple[Tensor, ...]] = []

    def record(_: int) -> None:
        loss = _loss(parameters, data.train, train, config).double()
        records.append((loss, *_measure(parameters, data.test, problems, config)))

    train_ensemble(
        parameters,
        lambda batch: _loss(parameters, data.train, batch[0].to(where), config),
        track(batches, progress, "confidence limiting", total=per_epoch * config.epochs),
        optimizer=partial(torch.optim.Adam, lr=config.lr, fused=True),
        checkpoints={per_epoch * epoch for epoch in epochs},
        on_checkpoint=record,
    )
    losses, covered, tops, hits = zip(*records, strict=True)
    return Result(
        config=config,
        epochs=torch.tensor(epochs),
        coverage=torch.stack(covered).cpu(),
        train_loss=torch.stack(losses).cpu(),
        confidence=torch.stack([top.mean(1) for top in tops]).cpu(),
        accuracy=torch.stack([hit.double().mean(1) for hit in hits]).cpu(),
        top=tops[-1].cpu(),
        hit=hits[-1].cpu(),
        train_N=config.train_N,
        test_N=config.test_N,
    )


@lru_cache(maxsize=1)
def _signals(seed: int) -> Split:
    """The signals, kept for the next run on the same seed: to generate them takes a second."""
    return mnist1d(SIGNALS, seed=seed)


def _initial(config: Config, generator: torch.Generator, where: torch.device) -> list[Tensor]:
    """One network's start, copied for every arm: the loss alone differs."""
    dims = (40, *[config.hidden] * config.depth, CLASSES)
    one = mlp_ensemble_init(1, dims, generator=generator)
    return [parameter.repeat(len(config.train_N), 1, 1).to(where) for parameter in one]


def _pairings(n: int, config: Config, generator: torch.Generator) -> Tensor:
    """Test problems: every pairing is a permutation of the test signals, cut into answers."""
    orders = torch.rand(config.pairings, n, generator=generator).argsort(1)
    return orders[:, : n - n % config.digits].reshape(-1, config.digits)


def _loss(parameters: Sequence[Tensor], examples: Examples, batch: Tensor, config: Config) -> Tensor:
    """Every arm's mean loss over problems made of consecutive signals of the batch."""
    logits = mlp_ensemble_forward(parameters, examples.x[batch])
    logp = _log_probability(logits, examples.y[batch]).unflatten(-1, (-1, config.digits))
    N = torch.tensor(config.train_N, dtype=logp.dtype, device=logp.device)
    if config.stepwise:
        return dco_loss_from_logp(logp, N[:, None, None] ** (1 / config.digits), "none").sum(-1).mean(-1)
    return dco_loss_from_logp(logp.sum(-1), N[:, None], "none").mean(-1)


def _measure(
    parameters: Sequence[Tensor], examples: Examples, problems: Tensor, config: Config
) -> tuple[Tensor, Tensor, Tensor]:
    """Pass@N for every arm and N, and for every problem the likeliest answer's probability and whether it is right."""
    logits = mlp_ensemble_forward(parameters, examples.x)
    logits = logits if logits.device.type == "mps" else logits.double()
    p = _log_probability(logits, examples.y)[:, problems].sum(-1).exp()
    best, guess = logits.log_softmax(-1).max(-1)
    covered = [coverage(p, N).mean(1) for N in config.test_N]
    hit = (guess == examples.y)[:, problems].all(-1)
    return torch.stack(covered, 1), best[:, problems].sum(-1).exp(), hit


# --- What it claims ---------------------------------------------------------------------------------------------


def claims(result: Result) -> list[Claim]:
    """The chapter's four claims, decided on one result."""
    cross_entropy, single = result.pass_at(1, 64), result.pass_at(1, 1)
    peak = int(cross_entropy.argmax())
    drop, gain = float(cross_entropy[peak] - cross_entropy[-1]), float(single[-1] - single[peak])
    gap, gap_16 = result.overconfidence(1), result.overconfidence(16)
    matched = result.pass_at(64, 64)[-1]
    rescued, above_peak = float(matched - cross_entropy[-1]), float(matched - cross_entropy[peak])
    shift = _best_arm(result, 128) - _best_arm(result, 1)
    return [
        Claim(
            "misalignment",
            "Longer training by cross-entropy lowers pass@64 while pass@1 still rises",
            measured=drop,
            holds=drop >= 0.03 and gain > 0,
            limits=(0.03, math.inf),
            bound="peak minus final pass@64 at least 0.03, pass@1 gains after the peak",
            source="pass@N of CE decreases with longer training",
        ),
        Claim(
            "overconfidence",
            "Cross-entropy ends over-confident on test problems, coverage training does not",
            measured=gap,
            holds=gap >= 0.1 and gap >= gap_16 + 0.1,
            limits=(0.1, math.inf),
            bound="confidence minus accuracy at least 0.1, and 0.1 above that of N' = 16",
            source="overconfidence impedes pass@N",
        ),
        Claim(
            "rescue",
            "Training for 64 attempts rescues pass@64",
            measured=rescued,
            holds=rescued >= 0.05 and above_peak >= -0.005,
            limits=(0.05, math.inf),
            bound="at least 0.05 above CE at the end, and no more than 0.005 below CE's peak",
            source="DCO rescues pass@N",
        ),
        Claim(
            "co_design",
            "The best training N grows with the N of the test",
            measured=shift,
            holds=shift > 0,
            limits=(0, math.inf),
            bound="the best arm at N = 128 comes after the best arm at N = 1",
            source="co-design of training and test",
        ),
    ]


def _best_arm(result: Result, test_N: int) -> float:
    if test_N not in result.test_N:
        return math.nan
    final = result.coverage[-1, :, result.test_N.index(test_N)]
    return math.nan if final.isnan().any() else float(final.argmax())


# --- Figures ----------------------------------------------------------------------------------------------------


#: Attempts of the lines in the first figure.
SHOWN = (1, 8, 64)


@figures.styled
def plot(result: Result) -> Figure:
    """Pass@N over the epochs, for cross-entropy and for the arm that is trained for the most attempts."""
    figure, panels = figures.new(ncols=2, height=3.5, sharey=True)
    for axes, train_N in zip(panels, (result.train_N[0], result.train_N[-1]), strict=True):
        _draw_epochs(axes, result, train_N)
    panels[0].set(ylim=(0, 1), ylabel="test coverage, pass@$N$")
    return figure


def _draw_epochs(axes: Axes, result: Result, train_N: int) -> None:
    for i, N in enumerate(N for N in SHOWN if N in result.test_N):
        values = result.pass_at(train_N, N)
        axes.plot(result.epochs, values, color=PALETTE[i], marker=MARKERS[i], ms=3.5)
        at = len(values) * 4 // 5
        figures.label_line(axes, float(result.epochs[at]), float(values[at]), f"$N={N}$", PALETTE[i], xytext=(-6, 7))
    name = "cross-entropy" if train_N == 1 else f"coverage, $N'={train_N}$"
    axes.set(xlabel="epoch", title=name)


@figures.styled
def plot_budgets(result: Result) -> Figure:
    """Pass@N against N at the end, a line for each arm, and the best arm for every N."""
    figure, axes = figures.new(height=3.6)
    final = result.coverage[-1]
    axes.plot(result.test_N, final.amax(0), color="#d9d9d9", lw=9, solid_capstyle="round", zorder=0)
    arms = _spread(len(result.train_N), 4)
    for i, arm in enumerate(arms):
        axes.plot(result.test_N, final[arm], color=PALETTE[i], marker=MARKERS[i])
    low, high = result.test_N[0], result.test_N[-1]
    names = [f"$N'={result.train_N[arm]}$" for arm in arms]
    names[0] += " (CE)" if result.train_N[0] == 1 else ""
    for i, (arm, name) in enumerate(zip(arms, names, strict=True)):
        where = (-8, 2 if i == 0 else -6)
        figures.label_line(axes, low, float(final[arm, 0]), name, PALETTE[i], xytext=where, ha="right")
    axes.set(xscale="log", xlabel="attempts $N$ at test time", ylabel="test coverage, pass@$N$", ylim=(0, 1.02))
    axes.set_xticks(result.test_N, [str(N) for N in result.test_N])
    axes.set_xlim(low / 2.6, high * 1.15)
    axes.minorticks_off()
    return figure


def _spread(count: int, most: int) -> list[int]:
    """At most so many of the arms, evenly, first and last among them."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


@figures.styled
def plot_confidence(result: Result) -> Figure:
    """How sure the first arm and a later one are of their answers, on problems they get right and wrong."""
    later = result.train_N.index(16) if 16 in result.train_N else len(result.train_N) - 1
    figure, panels = figures.new(ncols=2, height=3.3, sharey=True)
    bins = np.linspace(0, 1, 11)
    for axes, arm in zip(panels, (0, later), strict=True):
        top, hit = result.top[arm].numpy(), result.hit[arm].numpy()
        looks = ((hit, "right", PALETTE[0], "-", ""), (~hit, "wrong", PALETTE[1], "--", "//"))
        for chosen, name, color, line, hatch in looks:
            heights = np.histogram(top[chosen], bins)[0] / len(top)
            axes.stairs(heights, bins, color=color, ls=line, lw=1.8, label=name)
            axes.stairs(heights, bins, fill=True, facecolor=color, alpha=0.15, hatch=hatch, edgecolor=color)
        train_N = result.train_N[arm]
        axes.set(xlabel="confidence", title="cross-entropy" if train_N == 1 else f"coverage, $N'={train_N}$")
    panels[0].set_ylabel("share of the test problems")
    panels[0].legend(title="the answer is", loc="upper center")
    return figure
