r"""One epoch is all you need: what changes when data is not the bottleneck.

Language models were trained for tens of epochs on a fixed corpus, with dropout against overfitting. The paper enlarges
the corpus instead, until every token is seen once:

* overfitting is impossible, because every minibatch is also a test set;
* regularization has nothing left to do but to slow the training down;
* the test loss follows a power law in the iterations, :math:`L(t) = E + A\, t^{-\alpha}`;
* size and number of iterations can be traded for each other at fixed compute, and a ratio of tokens to parameters is
  enough to find a good size.

Reproduced here: all four, with the speed-ups from one epoch and from a better size, on the language of known entropy of
:mod:`overparam.core.language`. The ten-epoch reference is stopped at its best, and has the best of its dropouts and
learning rates. Not reproduced: the paper's Transformers on subsets of LM1B, and its ratio of about five tokens for each
parameter, which belongs to them. We checked its speed-ups against the abstract, and its other numbers not at all.

Komatsuzaki, One Epoch Is All You Need, 2019, arXiv 1906.06669.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import ArrayLike
from scipy import optimize

from overparam.core import checks, figures
from overparam.core.chapters import Paper
from overparam.core.claims import Claim
from overparam.core.compute import Device
from overparam.core.figures import MARKERS, PALETTE
from overparam.core.language import ZipfLanguage, student_parameters, train_students, zipf_language
from overparam.core.progress import track

PAPER = Paper(
    title="One Epoch Is All You Need",
    authors=("Aran Komatsuzaki",),
    year=2019,
    venue="arXiv preprint",
    arxiv="1906.06669",
    code=None,
)
LEVEL = "introductory"

#: How the training data are read: every token once, or a finite set again and again.
DATA = ("one", "multi")


# --- Reading two curves horizontally ----------------------------------------------------------------------------


def iterations_to_reach(steps: ArrayLike, loss: ArrayLike, target: float) -> float:
    r"""The iterations after which a curve first comes down to a loss.

    Between two measurements the loss is taken as linear in :math:`\log t`.

    Parameters
    ----------
    steps, loss
        A training curve: positive iterations, each above the last, and the loss after each.
    target
        The loss to reach.

    Returns
    -------
    The first of the steps if the loss is there from the start, and infinity if it never gets there.

    Raises
    ------
    ValueError
        If the shapes differ, there are fewer than 2 points, a number is not finite, or the steps do not increase.
    """
    t, values = _curve(steps, loss)
    if not math.isfinite(target):
        raise ValueError(f"target must be finite, got {target!r}")
    there = np.flatnonzero(values <= target)
    if not there.size:
        return math.inf
    k = there[0]
    if k == 0:
        return float(t[0])
    share = (values[k - 1] - target) / (values[k - 1] - values[k])
    return float(t[k - 1] * (t[k] / t[k - 1]) ** share)


def speedup(
    steps_ref: ArrayLike,
    loss_ref: ArrayLike,
    steps_new: ArrayLike,
    loss_new: ArrayLike,
    *,
    cost_ref: float = 1.0,
    cost_new: float = 1.0,
) -> float:
    """How many times less a new way of training costs, to get as far as the reference at its best.

    The reference pays for the iterations to its lowest loss and for none of those after it: to run on past the best
    would count as speed-up of whatever it is compared with.

    Parameters
    ----------
    steps_ref, loss_ref, steps_new, loss_new
        Two training curves, as for :func:`iterations_to_reach`.
    cost_ref, cost_new
        Cost of one iteration of each.

    Returns
    -------
    The ratio of the costs, 0 if the new curve never gets there.

    Raises
    ------
    ValueError
        If a curve is none (:func:`iterations_to_reach`), or a cost is not positive and finite.
    """
    checks.positive(cost_ref=cost_ref, cost_new=cost_new)
    t, loss = _curve(steps_ref, loss_ref)
    best = loss.argmin()
    reached = iterations_to_reach(steps_new, loss_new, float(loss[best]))
    return float(cost_ref * t[best] / (cost_new * reached))


def _curve(steps: ArrayLike, loss: ArrayLike, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """The curve as two vectors in float64, checked."""
    t, values = (torch.as_tensor(z, dtype=torch.float64).detach().cpu().numpy() for z in (steps, loss))
    if t.ndim != 1 or t.shape != values.shape:
        raise ValueError(f"steps and loss must be vectors of one length, got shapes {t.shape} and {values.shape}")
    if len(t) < least:
        raise ValueError(f"a curve must have at least {least} points, got {len(t)}")
    for name, numbers in (("steps", t), ("loss", values)):
        if (bad := numbers[~np.isfinite(numbers)]).size:
            raise ValueError(f"{name} must be finite, got {bad[0]}")
    checks.positive(steps=float(t[0]))
    checks.increasing(steps=t.tolist())
    return t, values


# --- The power law ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PowerLaw:
    r"""The curve :math:`E + A\, t^{-\alpha}`, and the share ``r2`` of the loss's variance that it explains."""

    E: float
    A: float
    alpha: float
    r2: float

    def __call__(self, t: ArrayLike) -> Float[np.ndarray, "..."] | float:
        """The loss after t iterations."""
        return self.E + self.A * np.asarray(t, dtype=np.float64) ** -self.alpha


#: Exponents among which the search begins.
ALPHAS = np.geomspace(1e-3, 10, 161)


def fit_power_law(steps: ArrayLike, loss: ArrayLike) -> PowerLaw:
    r"""Least squares of :math:`E + A\, t^{-\alpha}` on the loss itself, with :math:`E \ge 0`.

    For a given exponent E and A are a linear problem in closed form, so that one number is left to search for: on a
    grid, which sees all minima, and then by Brent's method around the best of its points. The steps are divided by
    their geometric mean, without which :math:`t^{-\alpha}` is tiny throughout and the problem badly scaled.

    Parameters
    ----------
    steps, loss
        A training curve, as for :func:`iterations_to_reach`.

    Raises
    ------
    ValueError
        If the curve is none, or has fewer than 4 points.
    """
    t, values = _curve(steps, loss, least=4)
    centre = float(np.exp(np.log(t).mean()))

    def fit(alpha: float) -> tuple[float, float, float]:
        x = (t / centre) ** -alpha
        E, A = _offset_and_scale(x, values)
        return float(np.sum((E + A * x - values) ** 2)), E, A

    best = int(np.argmin([fit(alpha)[0] for alpha in ALPHAS]))
    around = ALPHAS[max(best - 1, 0)], ALPHAS[min(best + 1, len(ALPHAS) - 1)]
    alpha = np.asarray(optimize.fminbound(lambda alpha: fit(alpha)[0], *around, xtol=1e-10)).item()
    squares, E, A = fit(alpha)
    spread = float(np.sum((values - values.mean()) ** 2))
    return PowerLaw(E, A * centre**alpha, alpha, 1 - squares / spread if spread else math.nan)


def _offset_and_scale(x: np.ndarray, loss: np.ndarray) -> tuple[float, float]:
    """Least squares of E + A x, where E is at least 0."""
    centred = x - x.mean()
    A = centred @ loss / (centred @ centred)
    E = loss.mean() - A * x.mean()
    return (float(E), float(A)) if E >= 0 else (0.0, float(x @ loss / (x @ x)))


# --- Size against iterations ------------------------------------------------------------------------------------


def adjust_size(params: float, tokens: float, ratio: float = 5.0) -> tuple[float, float]:
    r"""The size and the tokens that cost the same and have a given ratio :math:`M` of tokens to parameters.

    .. math:: N' = \sqrt{ND/M}, \qquad D' = \sqrt{NDM}

    Parameters
    ----------
    params, tokens
        Parameters N of the planned model, and tokens D that it is to be trained on.
    ratio
        :math:`M`. About 5 is the paper's, for its models and its data.

    Raises
    ------
    ValueError
        If a number is not positive and finite.
    """
    checks.positive(params=params, tokens=tokens, ratio=ratio)
    size = math.sqrt(params) * math.sqrt(tokens / ratio)
    return size, size * ratio


# --- The experiment ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Config:
    """Reader scale: about 13 CPU-seconds. Every number of the experiment is here."""

    vocab: int = 64  # the language
    zipf: float = 1.0
    features: int = 512
    decay: float = 0.8
    beta: float = 2.0
    hidden: int = 64  # units of the students that read one epoch or many
    dataset: int = 16384  # tokens of the finite set
    epochs: int = 10
    batch: int = 64  # tokens of a minibatch
    evals: int = 16  # measurements of a curve, denser at its beginning
    lrs: tuple[float, ...] = (0.003, 0.006, 0.012)  # constant after the warm-up
    dropouts: tuple[float, ...] = (0.0, 0.2, 0.5)  # the first is none
    widths: tuple[int, ...] = (8, 16, 32, 64, 128)  # of the students that get the same compute
    size_budget_width: int = 128  # the compute: what a student of this width
    size_budget_tokens: int = 49152  # needs for so many tokens
    size_lrs: tuple[float, ...] = (0.006, 0.012, 0.024)  # peaks; a cosine takes them to a tenth
    seed: int = 0

    def __post_init__(self) -> None:
        checks.integer(2, vocab=self.vocab)
        checks.integer(1, features=self.features, hidden=self.hidden, dataset=self.dataset, epochs=self.epochs)
        checks.integer(1, batch=self.batch, evals=self.evals)
        checks.integer(1, size_budget_width=self.size_budget_width, size_budget_tokens=self.size_budget_tokens)
        checks.integer(0, seed=self.seed)
        checks.non_negative(zipf=self.zipf, decay=self.decay, beta=self.beta)
        checks.increasing(lrs=self.lrs, dropouts=self.dropouts, widths=self.widths, size_lrs=self.size_lrs)
        checks.positive(lrs=self.lrs[0], size_lrs=self.size_lrs[0])
        checks.positive(lrs=self.lrs[-1], size_lrs=self.size_lrs[-1])
        checks.probability(below_one=True, dropouts=self.dropouts[-1])
        for width in self.widths:
            checks.integer(1, widths=width)
        if self.dropouts[0] != 0:
            raise ValueError(f"dropouts must begin with 0, the arm without, got {self.dropouts!r}")
        if self.batch > self.dataset * self.epochs:
            raise ValueError(f"batch must be at most all {self.dataset * self.epochs} tokens, got {self.batch}")
        if self.size_iterations(self.widths[-1]) < 1:
            raise ValueError(
                f"size_budget_tokens must be enough for a step at width {self.widths[-1]}, "
                f"got {self.size_budget_tokens}"
            )

    @property
    def iterations(self) -> int:
        """Steps of every arm of the first study, whatever it reads."""
        return self.dataset * self.epochs // self.batch

    def size_iterations(self, width: int) -> int:
        """Steps that a student of this width can be given in the second study."""
        budget = student_parameters(self.vocab, self.size_budget_width) * self.size_budget_tokens
        return round(budget / student_parameters(self.vocab, width) / self.batch)


FULL = Config(
    vocab=128,
    hidden=256,
    dataset=262144,
    widths=(32, 64, 128, 256, 512),
    size_budget_width=512,
    size_budget_tokens=2**20,
)


@dataclass(frozen=True)
class Result:
    """What :func:`run` measured, in nats a token.

    ``test`` and ``train`` have an array for each arm, under ("one" or "multi", dropout), with a row for each of
    ``lrs`` and a column for each of ``steps``. ``train`` is the mean over the minibatches since the column before.
    The ``size_`` fields have an entry for each width: parameters, tokens, the lowest final test loss over
    ``size_lrs``, and the curve of the run that has it.
    """

    config: Config
    steps: Int[np.ndarray, " e"]
    test: dict[tuple[str, float], np.ndarray]
    train: dict[tuple[str, float], np.ndarray]
    entropy: float
    size_N: Int[np.ndarray, " w"]  # noqa: N815
    size_T: Int[np.ndarray, " w"]  # noqa: N815
    size_loss: Float[np.ndarray, " w"]
    size_steps: list[np.ndarray]
    size_curves: list[np.ndarray]

    def best_rate(self, data: str, dropout: float = 0.0) -> int:
        """The number of the learning rate with which an arm gets lowest, wherever on its way."""
        return int(self.test[data, dropout].min(1).argmin())

    def gap(self, data: str, rate: int, dropout: float = 0.0) -> Float[np.ndarray, " e"]:
        """Test loss minus training loss of one run."""
        return self.test[data, dropout][rate] - self.train[data, dropout][rate]

    def envelope(self) -> Float[np.ndarray, " e"]:
        """The lowest test loss of one epoch without dropout, over the learning rates."""
        return self.test["one", 0.0].min(0)

    def reference(self) -> Float[np.ndarray, " e"]:
        """The curve of many epochs that gets lowest, over all dropouts and learning rates."""
        curves = np.concatenate([self.test["multi", dropout] for dropout in self.config.dropouts])
        return curves[curves.min(1).argmin()]

    def power_law(self) -> PowerLaw:
        """The fit to one epoch at the smallest learning rate, without the two points that the warm-up touches."""
        return fit_power_law(self.steps[2:], self.test["one", 0.0][0, 2:])


def run(config: Config = Config(), *, device: Device = None, progress: bool = True) -> Result:
    """Train every arm from one start for the same iterations, then every width with the same compute.

    Parameters
    ----------
    config
        The experiment.
    device
        None picks the best one.
    progress
        Show bars.
    """
    language = zipf_language(
        config.vocab,
        zipf=config.zipf,
        features=config.features,
        decay=config.decay,
        beta=config.beta,
        seed=config.seed,
    )
    steps = _log_points(config.iterations, config.evals)
    arms = [(data, dropout) for data in DATA for dropout in config.dropouts]
    runs = {
        (data, dropout): train_students(
            language,
            config.hidden,
            config.iterations,
            config.batch,
            config.lrs,
            seed=config.seed,
            eval_at=steps,
            dropout=dropout,
            dataset=config.dataset if data == "multi" else None,
            device=device,
        )
        for data, dropout in track(arms, progress, "one epoch and many")
    }
    sizes = [_train_size(language, width, config, device) for width in track(config.widths, progress, "sizes")]
    size_steps, size_curves = map(list, zip(*sizes, strict=True))
    return Result(
        config=config,
        steps=np.array(steps),
        test={arm: run.test.numpy() for arm, run in runs.items()},
        train={arm: run.train.numpy() for arm, run in runs.items()},
        entropy=language.entropy,
        size_N=np.array([student_parameters(config.vocab, width) for width in config.widths]),
        size_T=np.array([config.batch * config.size_iterations(width) for width in config.widths]),
        size_loss=np.array([curve[-1] for curve in size_curves]),
        size_steps=size_steps,
        size_curves=size_curves,
    )


def _log_points(iterations: int, evals: int) -> list[int]:
    """Steps to measure at: they grow like the power 3/2, and the last of them is the end."""
    return sorted({round(iterations * (k / evals) ** 1.5) for k in range(1, evals + 1)} - {0})


def _train_size(
    language: ZipfLanguage, width: int, config: Config, device: Device
) -> tuple[Int[np.ndarray, " e"], Float[np.ndarray, " e"]]:
    """Steps and test losses of the learning rate that ends lowest, on fresh tokens for the compute of the study."""
    iterations = config.size_iterations(width)
    runs = train_students(
        language,
        width,
        iterations,
        config.batch,
        config.size_lrs,
        seed=config.seed,
        eval_at=_log_points(iterations, config.evals),
        final_lr=[lr / 10 for lr in config.size_lrs],
        device=device,
    )
    return runs.steps.numpy(), runs.test[runs.test[:, -1].argmin()].numpy()


# --- What it claims ---------------------------------------------------------------------------------------------


def claims(result: Result) -> list[Claim]:
    """The chapter's five claims, decided on one result."""
    faster = _or_nan(lambda: speedup(result.steps, result.reference(), result.steps, result.envelope()))
    gap_one, gap_multi = _last_gap(result, "one"), _last_gap(result, "multi")
    cost_one, cost_multi = _cost_of_dropout(result, "one"), _cost_of_dropout(result, "multi")
    r2 = _or_nan(lambda: result.power_law().r2)
    cheaper = _or_nan(lambda: size_speedup(result))
    return [
        Claim(
            "one_epoch_speedup",
            "One epoch of fresh tokens reaches in fewer iterations what ten epochs reach at their best",
            measured=faster,
            holds=faster >= 1.9,
            limits=(1.9, math.inf),
            bound="speed-up at least 1.9",
            source="abstract: 1.9 to 3.3 times for ten epochs",
        ),
        Claim(
            "no_overfitting",
            "In one epoch the training loss is the test loss, in ten epochs it is not",
            measured=gap_one,
            holds=abs(gap_one) <= 0.03 and gap_multi >= 0.15,
            limits=(-0.03, 0.03),
            bound="gap within 0.03 nats in one epoch, at least 0.15 in ten",
            source="abstract: no overfitting occurs",
        ),
        Claim(
            "dropout",
            "Dropout raises the best loss of one epoch and lowers that of ten",
            measured=cost_one,
            holds=cost_one > 0 > cost_multi,
            limits=(0, math.inf),
            bound="best loss with dropout above that without in one epoch, below in ten",
            source="abstract: regularization only slows the training down",
        ),
        Claim(
            "power_law",
            "The test loss of one epoch is a power law in the iterations",
            measured=r2,
            holds=r2 >= 0.99,
            limits=(0.99, math.inf),
            bound="R^2 of E + A t^-alpha at least 0.99",
            source="abstract: power law over the iterations",
        ),
        Claim(
            "size_adjustment",
            "At equal compute a better size reaches the loss of the largest for less",
            measured=cheaper,
            holds=cheaper >= 1.3,
            limits=(1.3, math.inf),
            bound="compute saved by a factor of at least 1.3",
            source="abstract: 1 to 2.7 times from the size",
        ),
    ]


def size_speedup(result: Result) -> float:
    """Compute of the largest student over the compute at which the best size has come down to its final loss."""
    best = int(result.size_loss.argmin())
    reached = iterations_to_reach(result.size_steps[best], result.size_curves[best], float(result.size_loss[-1]))
    spent = result.size_N[best] * result.config.batch * reached
    return float(result.size_N[-1] * result.size_T[-1] / spent)


def _or_nan(measure: Callable[[], float]) -> float:
    """What is measured, or NaN where the curves are too short or not finite: no claim holds with it."""
    try:
        return measure()
    except ValueError:
        return math.nan


def _last_gap(result: Result, data: str) -> float:
    """Mean gap over the last fifth of the measurements, at the best learning rate without dropout."""
    gap = result.gap(data, result.best_rate(data))
    return float(gap[-max(1, len(gap) // 5) :].mean())


def _cost_of_dropout(result: Result, data: str) -> float:
    """The best loss with the smallest dropout minus that without."""
    if len(result.config.dropouts) < 2:
        return math.nan
    without, little = (result.test[data, dropout].min() for dropout in result.config.dropouts[:2])
    return float(little - without)


# --- Figures ----------------------------------------------------------------------------------------------------

NAMES = {"one": "one epoch", "multi": "many epochs"}
COLORS = {"one": PALETTE[0], "multi": PALETTE[1]}
SHAPES = {"one": MARKERS[0], "multi": MARKERS[1]}


@figures.styled
def plot(result: Result) -> Figure:
    """Test loss against iterations, fresh tokens and repeated ones, with and without dropout, at one learning rate."""
    figure, axes = figures.new(height=3.9)
    rate = result.best_rate("one")
    for data in DATA:
        for dropout, line in zip(result.config.dropouts[:2], ("-", "--"), strict=False):
            fill = COLORS[data] if dropout == 0 else "white"
            axes.plot(
                result.steps,
                result.test[data, dropout][rate],
                line,
                color=COLORS[data],
                marker=SHAPES[data],
                mfc=fill,
                ms=4,
                label=NAMES[data] if dropout == 0 else f"{NAMES[data]}, dropout {dropout:g}",
            )
    axes.axhline(result.entropy, color="black", ls=":", lw=1.3)
    where = {"xytext": (0, -13), "ha": "right"}
    figures.label_line(axes, float(result.steps[-1]), result.entropy, "entropy of the language", "black", **where)
    late = result.envelope()[len(result.steps) // 4 :].max()
    axes.set(xlabel="iterations", ylabel="test loss, nats", ylim=(result.entropy - 0.06, late + 0.1), xlim=(0, None))
    _mark_epochs(axes, result.config)
    axes.legend(loc="lower center", bbox_to_anchor=(0.52, 0.2), ncols=2)
    return figure


def _mark_epochs(axes: Axes, config: Config) -> None:
    """A second axis on top, that counts how often the finite set has been read."""
    each = config.dataset / config.batch
    top = axes.secondary_xaxis("top", functions=(lambda t: np.divide(t, each), lambda epoch: np.multiply(epoch, each)))
    top.set_xlabel("epochs of the finite set")
    top.set_xticks(range(0, config.epochs + 1, max(1, config.epochs // 10)))


@figures.styled
def plot_speedup(result: Result) -> Figure:
    """The speed-up as a horizontal distance between the best of one epoch and the best of many."""
    figure, axes = figures.new(height=3.4)
    steps, reference, envelope = result.steps, result.reference(), result.envelope()
    for data, curve in (("one", envelope), ("multi", reference)):
        axes.plot(steps, curve, color=COLORS[data], marker=SHAPES[data], ms=4)
    early = len(steps) // 4
    low, high = float(envelope.min()), float(reference[early])
    axes.set(xscale="log", xlabel="iterations", ylabel="test loss, nats", xlim=(steps[0], 1.1 * steps[-1]))
    axes.set_ylim(low - 0.05, high + 0.12)
    x = float(steps[early])
    figures.label_line(axes, x, float(reference[early]), "many epochs, the best run", COLORS["multi"], xytext=(8, 5))
    where = {"xytext": (-10, -9), "ha": "right"}
    figures.label_line(axes, x, float(envelope[early]), "one epoch, the best rate", COLORS["one"], **where)
    best = int(reference.argmin())
    there, level = float(steps[best]), float(reference[best])
    reached = _or_nan(lambda: iterations_to_reach(steps, envelope, level))
    if math.isfinite(reached) and reached < there:
        arrow = {"arrowstyle": "->", "color": "black", "lw": 1.3, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", xy=(reached, level), xytext=(there, level), arrowprops=arrow)
        factor = f"{there / reached:.1f} times fewer"
        figures.label_line(axes, reached, level, factor, "black", xytext=(-4, -12), ha="right")
    return figure


@figures.styled
def plot_gap(result: Result) -> Figure:
    """Test loss minus training loss, for every learning rate."""
    figure, axes = figures.new(height=3.6)
    end = float(result.steps[-1])
    for data in DATA:
        for rate, (lr, line) in enumerate(zip(result.config.lrs, ("-", "--", ":"), strict=False)):
            gap = result.gap(data, rate)
            axes.plot(result.steps, gap, line, color=COLORS[data], marker=SHAPES[data], ms=3.5)
            if data == "multi":
                figures.label_line(axes, end, float(gap[-1]), rf"$\eta={lr:g}$", COLORS[data], xytext=(6, -3))
    figures.label_line(axes, end, 0.0, "one epoch, all rates", COLORS["one"], xytext=(-4, 7), ha="right")
    middle = len(result.steps) // 2
    top = max(float(result.gap("multi", rate)[middle]) for rate in range(len(result.config.lrs)))
    where = {"xytext": (-10, 10), "ha": "right"}
    figures.label_line(axes, float(result.steps[middle]), top, "many epochs", COLORS["multi"], **where)
    axes.axhline(0, color="black", lw=0.8)
    axes.set(xlabel="iterations", ylabel="test minus training loss, nats", xlim=(0, 1.16 * end))
    _mark_epochs(axes, result.config)
    return figure


@figures.styled
def plot_power_law(result: Result) -> Figure:
    """One epoch at the smallest learning rate above the fitted limit, where a power law is a straight line."""
    figure, axes = figures.new(height=3.3)
    curve = result.test["one", 0.0][0]
    try:
        law = result.power_law()
    except ValueError:
        law = PowerLaw(result.entropy, math.nan, math.nan, math.nan)
    t = np.geomspace(result.steps[0], result.steps[-1], 50)
    axes.plot(t, law(t) - law.E, "--", color="black", lw=1.2)
    axes.plot(result.steps[2:], curve[2:] - law.E, "o", color=PALETTE[0])
    axes.plot(result.steps[:2], curve[:2] - law.E, "o", color=PALETTE[0], mfc="white")
    axes.set(xscale="log", yscale="log", xlabel="iterations $t$", ylabel="test loss minus $E$, nats")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    if math.isfinite(law.A):
        name = rf"$A\,t^{{-\alpha}}$, $\alpha={law.alpha:.2f}$, $E={law.E:.2f}$"
        middle = float(t[len(t) // 2])
        figures.label_line(axes, middle, float(law(middle)) - law.E, name, "black", xytext=(8, 6))
    return figure


@figures.styled
def plot_sizes(result: Result) -> Figure:
    """The final loss of every size at one compute, against the tokens that it gets for each parameter."""
    figure, axes = figures.new(height=3.3)
    ratio = result.size_T / result.size_N
    axes.plot(ratio, result.size_loss, color=PALETTE[2], marker=MARKERS[2], ms=6)
    best = int(result.size_loss.argmin())
    sides = ({"xytext": (-9, 3), "ha": "right"}, {"xytext": (0, -16), "ha": "center"}, {"xytext": (9, 3)})
    for k, width in enumerate(result.config.widths):
        side = sides[1 + (k > best) - (k < best)]
        figures.label_line(axes, float(ratio[k]), float(result.size_loss[k]), f"$h={width}$", PALETTE[2], **side)
    axes.axvline(5, color="black", ls=":", lw=1.3)
    axes.margins(x=0.12, y=0.2)
    axes.set(xscale="log", xlabel="tokens for each parameter, $D/N$", ylabel="final test loss, nats")
    low = axes.get_ylim()[0]
    figures.label_line(axes, 5.0, float(low), "the paper's 5", "black", xytext=(4, 5))
    return figure
