"""Five planted networks, one with hidden modules, and students of rising width."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from overparam.core import checks, compute
from overparam.core.claims import Claim
from overparam.core.compute import Device
from overparam.core.models import mlp_ensemble_forward
from overparam.core.progress import track
from overparam.core.training import train_ensemble
from overparam.generalization.loss_degeneracy.directions import KINDS, Degeneracy, degenerate_directions, planted, rank
from overparam.generalization.loss_degeneracy.interaction import (
    Basis,
    edge_strengths,
    find_modules,
    interaction_basis,
    log_weights,
    pca_basis,
    random_invertible,
)
from overparam.generalization.loss_degeneracy.networks import (
    Trace,
    balance_biases,
    behavioral_hessian,
    effective_parameters,
    forward,
    parameter_jacobian,
    random_mlp,
    trace,
)

DTYPE = torch.float64  # ranks and null spaces are told from singular values down to 1e-9

#: The coordinates in which the network with modules is looked at.
BASES = ("bus", "PCA", "IB")


@dataclass(frozen=True)
class Config:
    """Reader scale: a few CPU-seconds. Every number of the experiment is here."""

    seed: int = 0
    sizes: tuple[int, ...] = (6, 8, 7, 3)  # widths of the planted networks
    examples: int = 300  # n, inputs of the planted networks
    synchronised: int = 3  # neurons that always fire in the synchronised network
    step: float = 1e-2  # length of a finite step in parameter space
    spread: float = 1.0  # a random invertible map scales its directions by exp(-spread) to exp(spread)
    bus: int = 4  # width of each module between its blocks
    hidden: int = 12  # ReLUs of each module in a block
    blocks: int = 3  # blocks, one after the other
    grid: int = 16  # different inputs of each module; the data are all pairs
    edge_tolerance: float = 1e-6  # epsilon of an interaction, relative to the strongest of its layer
    widths: tuple[int, ...] = (4, 8, 16, 32, 64)  # of the students' hidden layer, rising
    student_inputs: int = 4
    student_outputs: int = 2
    teacher: int = 3  # ReLUs of the teacher
    student_examples: int = 300
    penalty: float = 1e-3  # factor on the squared weights, biases left out
    lr: float = 1e-2  # of Adam, at the start of a cosine that ends at 0
    steps: int = 3000
    epsilon: float = 1e-2  # tolerance of the effective parameter count, an eigenvalue of the behavioural Hessian

    def __post_init__(self) -> None:
        checks.integer(0, seed=self.seed)
        checks.integer(1, examples=self.examples, synchronised=self.synchronised, bus=self.bus, hidden=self.hidden)
        checks.integer(1, blocks=self.blocks, student_inputs=self.student_inputs, teacher=self.teacher)
        checks.integer(1, student_outputs=self.student_outputs, student_examples=self.student_examples)
        checks.integer(1, steps=self.steps)
        checks.integer(2, grid=self.grid)
        checks.positive(step=self.step, edge_tolerance=self.edge_tolerance, lr=self.lr, epsilon=self.epsilon)
        checks.non_negative(spread=self.spread, penalty=self.penalty)
        for size in self.sizes:
            checks.integer(1, sizes=size)
        if len(self.sizes) < 3 or self.sizes[0] < 2:
            raise ValueError(f"sizes must name at least two inputs, a hidden layer and an output, got {self.sizes}")
        if self.synchronised > self.sizes[1]:
            raise ValueError(f"synchronised must be at most the {self.sizes[1]} neurons, got {self.synchronised}")
        for width in self.widths:
            checks.integer(1, widths=width)
        checks.increasing(least=2, widths=self.widths)


FULL = Config(
    sizes=(20, 40, 40, 5),
    examples=5000,
    widths=(4, 8, 16, 32, 64, 128, 256),
    steps=30_000,
)


@dataclass(frozen=True)
class Planted:
    """One planted network, held against its behavioural Hessian.

    ``nullity`` is N - rank J. ``curvature`` is the largest norm of H v over the predicted directions v, relative to
    the largest eigenvalue; ``valley`` the largest change of behaviour after a step along one of them, relative to the
    mean over as many random directions.
    """

    kind: str
    degeneracy: Degeneracy
    nullity: int
    spectrum: Float[Tensor, " N"]
    curvature: float
    valley: float


@dataclass(frozen=True)
class Modular:
    """The network with two modules in one set of coordinates.

    ``cross`` is the share of the edge strength that runs across modules and ``impurity`` the largest share of any
    direction's effect on the outputs that it has on those of the other module. ``adjacency`` holds the logarithmic
    weights, nodes by module and then by layer, ``module`` the module of each of them. ``Q`` is the modularity of the
    communities that Louvain finds and ``mixed`` the pairs of nodes that share a community but not a module.
    """

    basis: str
    cross: float
    impurity: float
    adjacency: Float[Tensor, "nodes nodes"]
    module: Int[Tensor, " nodes"]
    Q: float
    mixed: int


@dataclass(frozen=True)
class Students:
    """Trained and untrained students by width, and the teacher.

    ``parameters`` is N, ``trained`` and ``untrained`` are effective parameters, ``mse`` is the mean squared error
    after training.
    """

    parameters: tuple[int, ...]
    trained: tuple[int, ...]
    untrained: tuple[int, ...]
    teacher: int
    mse: Float[Tensor, " widths"]


@dataclass(frozen=True)
class Result:
    """What :func:`run` measured.

    ``ib_change`` and ``pca_change`` are the largest changes of any coordinate's modulus under a random invertible map
    of a hidden layer of the generic network, relative to the largest coordinate; infinite if the number of
    coordinates changes.
    """

    config: Config
    planted: tuple[Planted, ...]
    ib_change: float
    pca_change: float
    modular: tuple[Modular, ...]
    students: Students


def run(config: Config = Config(), *, device: Device = None, progress: bool = True) -> Result:
    """Count free directions, compare bases, and train students, in float64.

    Parameters
    ----------
    config
        The experiment.
    device
        None picks the best device that has float64.
    progress
        Show bars.
    """
    where = compute.device(device, dtype=DTYPE)
    seeds = compute.seeds(config.seed, len(KINDS) + 3)
    networks = []
    for kind, seed in track(list(zip(KINDS, seeds, strict=False)), progress, "planted networks"):
        networks.append(_planted(kind, config, compute.generator(seed), where))
    ib_change, pca_change = _invariance(config, compute.generator(seeds[0]), compute.generator(seeds[-3]), where)
    return Result(
        config=config,
        planted=tuple(networks),
        ib_change=ib_change,
        pca_change=pca_change,
        modular=_modular(config, compute.generator(seeds[-2]), where),
        students=_students(config, compute.generator(seeds[-1]), where, progress),
    )


# --- Planted degeneracies ---------------------------------------------------------------------------------------


def _planted(kind: str, config: Config, generator: torch.Generator, device: torch.device) -> Planted:
    weights, X = _to(planted(kind, config.sizes, config.examples, generator, config.synchronised), device)
    degeneracy = degenerate_directions(weights, X)
    hessian = behavioral_hessian(weights, X)
    spectrum = torch.linalg.eigvalsh(hessian)
    along = degeneracy.directions
    random = torch.randn(*along.shape, generator=generator, dtype=DTYPE).to(device)
    changes = behaviour_changes(weights, X, config.step * along)
    noticed = behaviour_changes(weights, X, config.step * random / random.norm(dim=0))
    return Planted(
        kind=kind,
        degeneracy=replace(degeneracy, directions=along.cpu()),
        nullity=degeneracy.parameters - rank(parameter_jacobian(weights, X)),
        spectrum=spectrum.cpu(),
        curvature=float((hessian @ along).norm(dim=0).max() / spectrum[-1]),
        valley=float(changes.max() / noticed.mean()),
    )


def behaviour_changes(
    weights: Sequence[Float[Tensor, "_ _"]], X: Float[Tensor, "n d"], steps: Float[Tensor, "N s"]
) -> Float[Tensor, " s"]:
    r"""The behavioural loss :math:`B(\theta^* + v)` after each finite step v, one a column."""
    sizes = [W.numel() for W in weights]

    def moved(step: Tensor) -> Tensor:
        parts = [part.view_as(W) for part, W in zip(step.split(sizes), weights, strict=True)]
        return forward([W + part for W, part in zip(weights, parts, strict=True)], X)

    before = forward(weights, X)
    return torch.stack([(moved(step) - before).square().sum(1).mean() / 2 for step in steps.mT])


def _to(network: tuple[list[Tensor], Tensor], device: torch.device) -> tuple[list[Tensor], Tensor]:
    weights, X = network
    return [W.to(device) for W in weights], X.to(device)


# --- Bases ------------------------------------------------------------------------------------------------------


def _invariance(
    config: Config, generator: torch.Generator, maps: torch.Generator, device: torch.device
) -> tuple[float, float]:
    weights, X = _to(planted("generic", config.sizes, config.examples, generator), device)
    seen = trace(weights, X)
    ib, pca = [], []
    for layer in range(1, len(weights)):
        f, J = hidden_layer(weights, seen, layer)
        T = random_invertible(f.shape[1], maps, config.spread).to(device)
        moved, J_moved = f @ T.mT, J @ torch.linalg.inv(T)
        ib.append(_change(f, interaction_basis(f, J), moved, interaction_basis(moved, J_moved)))
        pca.append(_change(f, pca_basis(f), moved, pca_basis(moved)))
    return max(ib), max(pca)


def hidden_layer(
    weights: Sequence[Float[Tensor, "_ _"]], seen: Trace, layer: int
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n k d"]]:
    """Activations of a layer without the constant, and the output's Jacobian in them."""
    return seen.acts[layer][:, :-1], seen.jacobians[layer] @ weights[layer][:, :-1]


def coordinates(basis: Basis, acts: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
    r"""Activations in a basis, :math:`\hat f = C (f - \mu)`."""
    return (acts - basis.mean) @ basis.C.mT


def _change(f: Tensor, basis: Basis, moved: Tensor, moved_basis: Basis) -> float:
    one, other = (coordinates(b, acts).abs() for b, acts in ((basis, f), (moved_basis, moved)))
    if one.shape != other.shape:
        return math.inf
    return float((one - other).abs().max() / one.max()) if one.numel() else math.nan


@dataclass(frozen=True)
class Buses:
    """A network seen at its linear buses: activations, Jacobians from each to the next, and from each to the output."""

    acts: list[Float[Tensor, "n _"]]
    local: list[Float[Tensor, "n _ _"]]
    to_output: list[Float[Tensor, "n k _"]]


def scrambled_modules(config: Config, generator: torch.Generator) -> Buses:
    r"""Two modules that share no weight, run on all pairs of their inputs, behind random invertible maps.

    A module is a chain of blocks :math:`z \to B \operatorname{relu}(A z + b)`. Side by side the two make one
    block-diagonal network; every bus but the output then becomes :math:`f = T z` with one T for both modules.
    """
    inputs = [torch.randn(config.grid, config.bus, generator=generator, dtype=DTYPE) for _ in range(2)]
    z = torch.cat([inputs[0].repeat_interleave(config.grid, 0), inputs[1].repeat(config.grid, 1)], 1)
    acts, local = [z], []
    for _ in range(config.blocks):
        A, b, B = _block(config, generator)
        p = acts[-1] @ A.mT + b
        acts.append(p.relu() @ B.mT)
        local.append(B * (p > 0)[:, None, :] @ A)
    maps = [random_invertible(z.shape[1], generator, config.spread) for _ in local]
    maps.append(torch.eye(z.shape[1], dtype=DTYPE))
    local = [after @ J @ torch.linalg.inv(T) for J, (T, after) in zip(local, pairwise(maps), strict=True)]
    to_output = [maps[-1].expand(len(z), -1, -1)]
    for J in reversed(local):
        to_output.insert(0, to_output[0] @ J)
    return Buses([f @ T.mT for f, T in zip(acts, maps, strict=True)], local, to_output)


def _block(config: Config, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    draw = partial(torch.randn, generator=generator, dtype=DTYPE)
    A = torch.block_diag(*(draw(config.hidden, config.bus) * math.sqrt(2 / config.bus) for _ in range(2)))
    B = torch.block_diag(*(draw(config.bus, config.hidden) / math.sqrt(config.hidden) for _ in range(2)))
    return A, draw(2 * config.hidden), B


def _modular(config: Config, generator: torch.Generator, device: torch.device) -> tuple[Modular, ...]:
    buses = scrambled_modules(config, generator)
    buses = Buses(*([part.to(device) for part in parts] for parts in (buses.acts, buses.local, buses.to_output)))
    return tuple(measure_modules(buses, name, config) for name in BASES)


def measure_modules(buses: Buses, name: str, config: Config, *, center: bool = True) -> Modular:
    """The interactions between the buses in one of the ``BASES``, and what they tell of the modules.

    Raises
    ------
    ValueError
        If the basis is unknown.
    """
    checks.one_of(BASES, name=name)
    layers = list(zip(buses.acts[:-1], buses.to_output[:-1], strict=True))
    if name == "bus":
        bases = [_as_it_is(f) for f, _ in layers]
    elif name == "PCA":
        bases = [pca_basis(f, center=center) for f, _ in layers]
    else:
        bases = [interaction_basis(f, J, center=center) for f, J in layers]
    bases.append(_as_it_is(buses.acts[-1]))
    sides = [_sides(basis, J) for basis, J in zip(bases, buses.to_output, strict=True)]
    modules = [side.argmax(0) for side in sides]
    edges = [edge_strengths(after, J, basis) for J, (basis, after) in zip(buses.local, pairwise(bases), strict=True)]
    across = [E[after[:, None] != before] for E, (before, after) in zip(edges, pairwise(modules), strict=True)]
    weights = [_above_tolerance(E, config.edge_tolerance) for E in edges]
    labels, Q = find_modules(weights, seed=0)
    return Modular(
        basis=name,
        cross=float(sum(E.sum() for E in across) / sum(E.sum() for E in edges)),
        impurity=float(torch.cat([side.min(0).values for side in sides]).max()),
        adjacency=_adjacency(weights, torch.cat(modules)).cpu(),
        module=torch.cat(modules).sort(stable=True).values.cpu(),
        Q=Q,
        mixed=_mixed_pairs(labels, torch.cat(modules).cpu().numpy()),
    )


def _above_tolerance(E: Tensor, tolerance: float) -> Tensor:
    """Logarithmic weights, with the tolerance relative to the layer's strongest edge, if it has one."""
    return log_weights(E, tolerance * float(E.max())) if E.any() else torch.zeros_like(E)


def _as_it_is(f: Tensor) -> Basis:
    identity = torch.eye(f.shape[1], dtype=f.dtype, device=f.device)
    return Basis(identity, identity, f.square().mean(0), torch.zeros_like(f[0]))


def _sides(basis: Basis, to_output: Tensor) -> Tensor:
    """The shares of each direction's squared effect that the two halves of the outputs get, (2, m)."""
    effect = (to_output @ basis.C_pinv).square().mean(0)
    halves = torch.stack([half.sum(0) for half in effect.chunk(2)])
    return halves / halves.sum(0)


def _adjacency(weights: list[Tensor], module: Tensor) -> Tensor:
    starts = [0, *accumulate([weights[0].shape[1], *(w.shape[0] for w in weights)])]
    lower = weights[0].new_zeros(starts[-1], starts[-1])
    for w, low, mid, high in zip(weights, starts, starts[1:], starts[2:], strict=False):
        lower[mid:high, low:mid] = w
    order = module.argsort(stable=True)
    return (lower + lower.mT)[order][:, order]


def _mixed_pairs(labels: np.ndarray, module: np.ndarray) -> int:
    together = labels[:, None] == labels
    apart = module[:, None] != module
    return int((together & apart).sum()) // 2


# --- Students ---------------------------------------------------------------------------------------------------


def _students(config: Config, generator: torch.Generator, device: torch.device, progress: bool) -> Students:
    ends = config.student_inputs, config.student_outputs
    X = torch.randn(config.student_examples, ends[0], generator=generator, dtype=DTYPE)
    teacher = balance_biases(random_mlp((ends[0], config.teacher, ends[1]), generator), X)
    start = [random_mlp((ends[0], width, ends[1]), generator) for width in config.widths]
    X = X.to(device)
    teacher, *start = ([W.to(device) for W in network] for network in (teacher, *start))
    Y = forward(teacher, X)
    trained = train_students(start, X, Y, config, progress)
    count = partial(_effective, X=X, epsilon=config.epsilon)
    errors = [(forward(weights, X) - Y).square().mean() for weights in trained]
    return Students(
        parameters=tuple(sum(W.numel() for W in weights) for weights in start),
        trained=tuple(count(weights) for weights in trained),
        untrained=tuple(count(weights) for weights in start),
        teacher=count(teacher),
        mse=torch.stack(errors).cpu(),
    )


def _effective(weights: list[Tensor], X: Tensor, epsilon: float) -> int:
    return effective_parameters(behavioral_hessian(weights, X), epsilon)


def train_students(
    start: list[list[Float[Tensor, "_ _"]]],
    X: Float[Tensor, "n d"],
    Y: Float[Tensor, "n k"],
    config: Config,
    progress: bool = False,
) -> list[list[Float[Tensor, "_ _"]]]:
    """Fit students with one hidden layer each, all widths as one batch.

    Narrow students are padded with neurons that neither read nor are read. Such a neuron has no gradient, stays at
    zero, and so changes nothing.
    """
    parameters = _padded(start)

    def loss(_: Tensor) -> Tensor:
        error = (mlp_ensemble_forward(parameters, X) - Y).square().mean((1, 2))
        return error + config.penalty * sum(W.square().sum((1, 2)) for W in parameters[::2])

    train_ensemble(
        parameters,
        loss,
        _whole(len(start), len(X), config.steps, progress),
        optimizer=partial(torch.optim.Adam, lr=config.lr),
        schedule=lambda taken: (1 + math.cos(math.pi * taken / config.steps)) / 2,
    )
    W1, b1, W2, b2 = parameters
    return [
        [
            torch.cat([W1[i, :, :width].mT, b1[i, :, :width].mT], 1),
            torch.cat([W2[i, :width].mT, b2[i].mT], 1),
        ]
        for i, width in enumerate(len(first) for first, _ in start)
    ]


def _padded(networks: list[list[Tensor]]) -> list[Tensor]:
    """W1, b1, W2, b2 of all networks, as the core's ensembles have them."""
    widest = max(len(first) for first, _ in networks)
    before = torch.stack([torch.nn.functional.pad(first.mT, (0, widest - len(first))) for first, _ in networks])
    after = torch.stack(
        [torch.nn.functional.pad(second[:, :-1].mT, (0, 0, 0, widest - len(first))) for first, second in networks]
    )
    bias = torch.stack([second[None, :, -1] for _, second in networks])
    return [Z.contiguous() for Z in (before[:, :-1], before[:, -1:], after, bias)]


def _whole(replicas: int, n: int, steps: int, progress: bool) -> Iterator[Tensor]:
    """All examples for every replica, once a step."""
    everything = torch.arange(n).expand(replicas, -1)
    return (everything for _ in track(range(steps), progress, "students"))


# --- What it claims ---------------------------------------------------------------------------------------------


def claims(result: Result) -> list[Claim]:
    """The chapter's six claims, decided on one result."""
    networks = result.planted
    gap = max(abs(network.degeneracy.free - network.nullity) for network in networks)
    curvature = max(network.curvature for network in networks)
    valley = max(network.valley for network in networks)
    bus, pca, ib = result.modular
    gain = ib.Q - bus.Q
    students = result.students
    growth = students.trained[-1] / students.trained[1] if students.trained[1] else math.nan
    saved = students.trained[-1] < students.untrained[-1] / 2
    return [
        Claim(
            "three_kinds_explain_nullity",
            "The three kinds of direction span the null space of the behavioural Hessian",
            measured=gap,
            holds=gap == 0 and curvature < 1e-9,
            limits=(0.0, 0.0),
            bound="free directions - nullity == 0 in all networks, |H v| < 1e-9 of the largest eigenvalue",
            source="Section 3, three sources of degeneracy",
        ),
        Claim(
            "flat_valley",
            "A finite step along them changes behaviour far less than a random step of the same length",
            measured=valley,
            holds=valley < 1e-2,
            limits=(-math.inf, 1e-2),
            bound="largest change over mean random change < 1e-2",
            source="Section 3, free directions",
        ),
        Claim(
            "ib_invariant",
            "The Interaction Basis is unchanged by an invertible map of the layer, principal components are not",
            measured=result.ib_change,
            holds=result.ib_change < 1e-6 and result.pca_change > 0.05,
            limits=(-math.inf, 1e-6),
            bound="relative change < 1e-6, of principal components > 0.05",
            source="Section 6, invariance of the Interaction Basis",
        ),
        Claim(
            "ib_finds_modules",
            "Hidden modules decouple in the Interaction Basis, and not in bus coordinates or principal components",
            measured=ib.cross,
            holds=ib.cross < 1e-12 and ib.impurity < 1e-12 and min(bus.impurity, pca.impurity) > 0.1,
            limits=(-math.inf, 1e-12),
            bound="edge strength across modules and impurity < 1e-12, impurity of the others > 0.1",
            source="Sections 4 and 6, sparse interactions",
        ),
        Claim(
            "modularity_metric",
            "Logarithmic modularity is far higher in the Interaction Basis, and its communities are the modules",
            measured=gain,
            holds=gain > 0.15 and ib.mixed == 0,
            limits=(0.15, math.inf),
            bound="Q(IB) - Q(bus) > 0.15, no pair of modules mixed",
            source="Section 5, modularity metric",
        ),
        Claim(
            "effective_parameters_saturate",
            "Trained students keep their effective parameter count as width grows",
            measured=growth,
            holds=growth < 1.6 and saved,
            limits=(-math.inf, 1.6),
            bound="widest over second width < 1.6, widest below half of its untrained count",
            source="Section 2, effective parameter count",
        ),
    ]
