"""Accuracy against the dimension of the subspace, for several widths, projections and labels, and what it shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from overparam.core import checks, compute
from overparam.core.claims import Claim
from overparam.core.compute import Device
from overparam.core.datasets import Examples, digits, hub_images
from overparam.core.progress import track
from overparam.generalization.intrinsic_dimension.measure import intrinsic_dimension, toy_best_loss, toy_problem
from overparam.generalization.intrinsic_dimension.networks import (
    accuracy,
    parameter_count,
    train_direct,
    train_subspace,
)
from overparam.generalization.intrinsic_dimension.projections import KINDS, check_dims, project

#: Inputs and classes of the data sets.
DATASETS = {"digits": (64, 10), "mnist": (784, 10)}


@dataclass(frozen=True)
class Config:
    """Reader scale: about twenty CPU-seconds. Every number of the experiment is here."""

    seed: int = 0
    # The toy problem.
    toy_sizes: tuple[int, ...] = (200, 1000, 5000)  # parameters D
    toy_groups: int = 10  # constraints
    toy_dims: int = 20  # d = 1, ..., toy_dims
    # Classification: two hidden layers of one width.
    dataset: str = "digits"  # or "mnist", which is downloaded
    source: str | None = None  # a folder to read instead of downloading
    n_train: int = 1300  # training images; of the digits the rest is for validation
    widths: tuple[int, ...] = (16, 32, 64, 128)
    dims: tuple[int, ...] = (5, 10, 20, 40, 80, 120, 160, 220, 300)  # of the subspaces
    kind: str = "dense"  # projection of all widths
    method_width: int = 32  # the width at which the projections are compared
    steps: int = 400  # of Adam
    batch: int = 128
    lr: float = 0.05  # step size in a subspace
    direct_lr: float = 3e-3  # step size of direct training
    fraction: float = 0.9  # of the baseline's accuracy, at which a problem counts as solved
    # Memorization: all examples in every step.
    memory_examples: int = 250
    memory_width: int = 32
    memory_dims: tuple[int, ...] = (40, 80, 160, 320, 640)
    memory_steps: int = 500

    def __post_init__(self) -> None:
        checks.integer(0, seed=self.seed)
        checks.integer(1, toy_groups=self.toy_groups, toy_dims=self.toy_dims)
        for D in self.toy_sizes:
            toy_problem(D, self.toy_groups)
            if self.toy_dims > D:
                raise ValueError(f"toy_dims must be at most the {D} parameters of the toy problem, got {self.toy_dims}")
        checks.one_of(tuple(DATASETS), dataset=self.dataset)
        checks.one_of(KINDS, kind=self.kind)
        checks.integer(1, n_train=self.n_train, steps=self.steps, batch=self.batch, memory_steps=self.memory_steps)
        checks.integer(1, memory_examples=self.memory_examples, memory_width=self.memory_width)
        checks.integer(1, method_width=self.method_width)
        checks.positive(lr=self.lr, direct_lr=self.direct_lr, fraction=self.fraction)
        checks.probability(fraction=self.fraction)
        checks.increasing(widths=self.widths)
        for width in self.widths:
            checks.integer(1, widths=width)
            check_dims(self.dims, parameter_count(self.sizes(width)))
        check_dims(self.memory_dims, parameter_count(self.sizes(self.memory_width)))
        if self.method_width not in self.widths:
            raise ValueError(f"method_width must be one of the widths {self.widths}, got {self.method_width}")
        if self.memory_examples > self.n_train:
            raise ValueError(f"memory_examples must be at most n_train = {self.n_train}, got {self.memory_examples}")

    def sizes(self, width: int) -> tuple[int, int, int, int]:
        """Layers of the network of a width."""
        inputs, classes = DATASETS[self.dataset]
        return inputs, width, width, classes


FULL = Config(
    dataset="mnist",
    n_train=60_000,
    widths=(50, 100, 200, 400),
    dims=(50, 100, 200, 300, 400, 500, 600, 700, 800, 1000, 1200, 1500),
    kind="fastfood",
    method_width=200,
    steps=20_000,
    direct_lr=1e-3,
    memory_examples=2500,
    memory_width=200,
    memory_dims=(400, 800, 1600, 3200, 6400),
    memory_steps=2000,
)


@dataclass(frozen=True)
class Result:
    """What :func:`run` measured.

    ``toy_loss`` is the smallest loss of the toy problem for each D and d. ``parameters``, ``baseline`` and ``accuracy``
    belong to the widths: D, the validation accuracy of direct training, and that of each subspace. ``methods`` has
    one row for each of ``KINDS`` at ``config.method_width``. ``memory_true`` and ``memory_shuffled`` are training
    accuracies on the labels that were trained.
    """

    config: Config
    toy_loss: Float[Tensor, "sizes toy_dims"]
    parameters: tuple[int, ...]
    baseline: Float[Tensor, " widths"]
    accuracy: Float[Tensor, "widths dims"]
    methods: Float[Tensor, "kinds dims"]
    memory_true: Float[Tensor, " memory_dims"]
    memory_shuffled: Float[Tensor, " memory_dims"]

    def d90(self) -> list[float]:
        """Intrinsic dimension of each width, interpolated (at ``config.fraction``, as the next two)."""
        config = self.config
        rows = zip(self.accuracy, self.baseline.tolist(), strict=True)
        return [intrinsic_dimension(config.dims, row, base, config.fraction, True) for row, base in rows]

    def d90_methods(self) -> list[float]:
        """Intrinsic dimension of each projection, interpolated."""
        config = self.config
        base = float(self.baseline[config.widths.index(config.method_width)])
        return [intrinsic_dimension(config.dims, row, base, config.fraction, True) for row in self.methods]

    def d90_memory(self) -> tuple[float, float]:
        """Intrinsic dimensions of memorizing true and shuffled labels, interpolated, for a baseline of 1."""
        config = self.config
        true, shuffled = (
            intrinsic_dimension(config.memory_dims, row, 1.0, config.fraction, True)
            for row in (self.memory_true, self.memory_shuffled)
        )
        return true, shuffled

    def toy_dimension(self) -> list[float]:
        """The first d that solves the toy problem, for each D; infinity if none does."""
        return [
            next((d for d, loss in enumerate(row, 1) if loss < TOY_SOLVED), math.inf) for row in self.toy_loss.tolist()
        ]


#: Losses of the toy problem below the first are zero but for rounding, above the second they are not.
TOY_SOLVED, TOY_UNSOLVED = 1e-12, 1e-8


def run(config: Config = Config(), *, device: Device = None, progress: bool = True) -> Result:
    """Solve the toy problem, and train the networks of every width, projection and kind of label, in float32.

    Parameters
    ----------
    config
        The experiment.
    device
        None picks the best device.
    progress
        Show a bar.
    """
    where = compute.device(device)
    data_seed, toy_seed, memory_seed, *width_seeds = compute.seeds(config.seed, 3 + len(config.widths))
    train, validation = load_data(config, data_seed)
    train, validation = (Examples(part.x.to(where), part.y.to(where)) for part in (train, validation))
    seeds = dict(zip(config.widths, width_seeds, strict=True))
    jobs = [(width, config.kind) for width in config.widths]
    # From the same seed the other projections have the same start as the one that is among the widths.
    jobs += [(config.method_width, kind) for kind in KINDS if kind != config.kind]
    curves = {
        (width, kind): _curve(config, width, kind, seeds[width], train, validation)
        for width, kind in track(jobs, progress, "subspaces")
    }
    baseline = [_baseline(config, *job, train, validation) for job in track(seeds.items(), progress, "directly")]
    true, shuffled = _memorize(config, train, memory_seed)
    return Result(
        config=config,
        toy_loss=_toy_losses(config, compute.generator(toy_seed)),
        parameters=tuple(parameter_count(config.sizes(width)) for width in config.widths),
        baseline=torch.cat(baseline),
        accuracy=torch.stack([curves[width, config.kind] for width in config.widths]),
        methods=torch.stack([curves[config.method_width, kind] for kind in KINDS]),
        memory_true=true,
        memory_shuffled=shuffled,
    )


def load_data(config: Config, seed: int) -> tuple[Examples, Examples]:
    """Training and validation images as vectors, standardized by the mean and deviation of all training pixels."""
    if config.dataset == "digits":
        split = digits(config.n_train, seed=seed, center=False, scale="raw")
    else:
        split = hub_images(config.dataset, source=config.source)
    order = torch.randperm(len(split.train.y), generator=compute.generator(seed))[: config.n_train]
    pixels = split.train.x[order].flatten(1)
    mean, deviation = pixels.mean(), pixels.std()
    train = Examples((pixels - mean) / deviation, split.train.y[order])
    return train, Examples((split.test.x.flatten(1) - mean) / deviation, split.test.y)


def _curve(config: Config, width: int, kind: str, seed: int, train: Examples, validation: Examples) -> Tensor:
    sizes = config.sizes(width)
    theta = train_subspace(
        sizes,
        *train,
        config.dims,
        kind=kind,
        steps=config.steps,
        lr=config.lr,
        batch=config.batch,
        generator=compute.generator(seed),
    )
    return accuracy(theta, *validation, sizes).cpu()


def _baseline(config: Config, width: int, seed: int, train: Examples, validation: Examples) -> Tensor:
    """Validation accuracy of direct training, from the start that the subspaces of this width have."""
    sizes, options = config.sizes(width), {"steps": config.steps, "lr": config.direct_lr, "batch": config.batch}
    theta = train_direct(sizes, *train, **options, generator=compute.generator(seed))
    return accuracy(theta, *validation, sizes).cpu()


def _memorize(config: Config, train: Examples, seed: int) -> tuple[Tensor, Tensor]:
    """Training accuracies on true and on shuffled labels, from one start in one subspace."""
    x, y = (part[: config.memory_examples] for part in train)
    label_seed, subspace_seed = compute.seeds(seed, 2)
    shuffled = y[torch.randperm(len(y), generator=compute.generator(label_seed)).to(y.device)]
    sizes, rows = config.sizes(config.memory_width), []
    for labels in (y, shuffled):
        options = {"steps": config.memory_steps, "lr": config.lr, "batch": None}
        subspace = compute.generator(subspace_seed)
        theta = train_subspace(sizes, x, labels, config.memory_dims, kind=config.kind, **options, generator=subspace)
        rows.append(accuracy(theta, x, labels, sizes).cpu())
    return rows[0], rows[1]


def _toy_losses(config: Config, generator: torch.Generator) -> Tensor:
    rows = []
    for D in config.toy_sizes:
        A, b = toy_problem(D, config.toy_groups)
        theta0 = torch.randn(D, generator=generator, dtype=A.dtype)
        P = project("dense", D, config.toy_dims, generator, A.dtype).matrix()
        rows.append([toy_best_loss(A, b, theta0, P[:, :d]) for d in range(1, config.toy_dims + 1)])
    return torch.tensor(rows, dtype=torch.float64)


# --- What it claims ---------------------------------------------------------------------------------------------


def claims(result: Result) -> list[Claim]:
    """The chapter's six claims, decided on one result."""
    config = result.config
    toy = result.toy_dimension()
    groups = config.toy_groups
    unsolved = groups == 1 or float(result.toy_loss[:, : groups - 1].amin()) > TOY_UNSOLVED
    d90, D = result.d90(), result.parameters
    share = d90[-1] / D[-1]
    true, shuffled = result.d90_memory()
    harder = min(shuffled, float(config.memory_dims[-1])) / true  # at least, where no tested dimension suffices
    lowest = float(result.accuracy[:, 0].max())
    few = _percent(config.fraction)
    return [
        Claim(
            "toy_exact",
            f"{groups} constraints on D parameters have intrinsic dimension {groups}, for every D",
            measured=max(toy),
            holds=all(d == groups for d in toy) and unsolved,
            limits=(groups, groups),
            bound=f"first d with loss below {TOY_SOLVED:g} is {groups} for every D; above {TOY_UNSOLVED:g} before",
            source="Section 2, toy example: 10 for D = 1000",
        ),
        Claim(
            "few_suffice",
            f"Well under 1 % of the parameters of the widest network suffice for {few} of the baseline",
            measured=share,
            holds=share < 0.01 and bool((result.baseline > 0.93).all()),
            limits=(-math.inf, 0.01),
            bound="d90 over D at the largest width below 0.01; every baseline above 0.93",
            source="Section 3; 750 of 199,210 for MNIST",
        ),
        Claim(
            "width_invariant",
            "The intrinsic dimension hardly changes while the number of parameters changes more than tenfold",
            measured=_spread(d90),
            holds=_spread(d90) < 2.0 and D[-1] / D[0] > 10,
            limits=(-math.inf, 2.0),
            bound="largest over smallest d90 below 2, for D that differ by more than 10",
            source="Section 3, Figure 3; 1.33 over 20 networks in the authors' data",
        ),
        Claim(
            "methods_agree",
            "Dense, sparse and Fastfood projections give the same intrinsic dimension",
            measured=_spread(result.d90_methods()),
            holds=_spread(result.d90_methods()) < 1.75,
            limits=(-math.inf, 1.75),
            bound="largest over smallest d90 of the three below 1.75",
            source="appendix on projections",
        ),
        Claim(
            "shuffled_labels",
            "Memorizing shuffled labels needs a far larger dimension than memorizing true ones",
            measured=harder,
            holds=harder > 3,
            limits=(3.0, math.inf),
            bound="ratio of the two dimensions above 3",
            source="Section 3; 190,000 for shuffled MNIST, another network",
        ),
        Claim(
            "no_solution_below",
            f"In {config.dims[0]} dimensions there is no solution",
            measured=lowest,
            holds=lowest < 0.7,
            limits=(-math.inf, 0.7),
            bound=f"best accuracy of any width at d = {config.dims[0]} below 0.7",
            source="Section 3, Figure 2",
        ),
    ]


def _spread(values: Sequence[float]) -> float:
    """The largest over the smallest; NaN where none is finite, infinity where some are not."""
    return max(values) / min(values)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:g} %"
