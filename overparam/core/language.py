r"""A language of known entropy and a student with one knob, for experiments on how loss scales with size and data.

The language draws two context tokens independently from Zipf's law and the next token from a fixed table. All its
probabilities are known, so the test loss of a student is a sum over every context, without sampling noise, and the
loss that no student can beat, the entropy, is a number. The student is a network with one hidden layer whose
width sets its parameter count N. Training it on D tokens costs :math:`C = 6ND` operations, counted as usual with
one-hot inputs and dense products.

The students of :func:`train_students` differ in their learning rate alone, and they are trained as one: all their
parameters lie in one flat buffer, on which AdamW acts, and each layer is one product for all of them. The first
product, with one-hot inputs, is a sum of three rows of a table that holds all students side by side: the lookup
gives what the dense product gives, in much the same time for narrow students and small minibatches, else in less.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from overparam.core import checks, compute
from overparam.core.compute import Device

BETAS = (0.9, 0.95)  # AdamW's decay rates of the two moments
EPS = 1e-8  # AdamW's
WARMUP = 0.05  # share of the steps over which the learning rate rises
CHUNK = 65_536  # training tokens held at a time


# --- The language -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ZipfLanguage:
    """Next-token probabilities after every context of two tokens, in float64 on the CPU.

    The context (a, b) has number ``a * vocab + b``; ``weight`` are the probabilities of the contexts, ``log_prob``
    the log-probabilities of the next token after each, and ``entropy`` the mean loss of the language itself, in nats.
    """

    weight: Float[Tensor, " contexts"]
    log_prob: Float[Tensor, "contexts vocab"]
    entropy: float
    vocab: int

    @cached_property
    @torch.inference_mode(False)  # else a table first read in inference mode would be of no use to autograd
    def joint(self) -> Float[Tensor, "contexts vocab"]:
        """Probabilities of a context together with its next token; their sum over contexts is the unigram."""
        return self.weight[:, None] * self.log_prob.exp()

    @cached_property
    @torch.inference_mode(False)
    def cumulative(self) -> Float[Tensor, " outcomes"]:
        """Running sum of :attr:`joint`, row after row, scaled to end at exactly 1."""
        running = self.joint.flatten().cumsum(0)
        return running / running[-1]


class Tokens(NamedTuple):
    """Numbers of contexts and the tokens that follow them."""

    contexts: Int[Tensor, " n"]
    targets: Int[Tensor, " n"]


def zipf_language(
    vocab: int = 64,
    *,
    zipf: float = 1.0,
    features: int = 512,
    decay: float = 0.8,
    beta: float = 2.0,
    seed: int = 0,
) -> ZipfLanguage:
    r"""A random language with few strong and many weak rules.

    Both context tokens have :math:`p(i) \propto (i+1)^{-z}`. With :math:`A, B` of shape (vocab, features) and
    :math:`G` of shape (features, vocab) standard normal, the logits of the next token are, up to a factor,

    .. math:: T_{ab} = \bigl(\operatorname{relu}(A_a + B_b) - \text{mean over all pairs}\bigr)\, W,
              \qquad W_k = k^{-d}\, G_k .

    Parameters
    ----------
    vocab
        Tokens V, at least 2.
    zipf
        Exponent z of the context tokens' law; 0 is uniform.
    features
        Rules the language is made of.
    decay
        Exponent d with which the rules weaken; it sets how slowly the loss falls with size and data.
    beta
        Standard deviation of the logits over all V x V x V entries; 0 makes every next token equally likely.
    seed
        Decides A, B and G, drawn in this order.

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    checks.integer(2, vocab=vocab)
    checks.integer(1, features=features)
    checks.integer(0, seed=seed)
    checks.non_negative(zipf=zipf, decay=decay, beta=beta)
    generator = compute.generator(seed)
    shapes = (vocab, features), (vocab, features), (features, vocab)
    A, B, G = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    W = G * _powers(features, decay)[:, None]
    hidden = (A[:, None] + B).relu().flatten(0, 1)
    T = (hidden - hidden.mean(0)) @ W
    log_prob = (beta / T.std(correction=0) * T).log_softmax(-1)
    p = _powers(vocab, zipf) / _powers(vocab, zipf).sum()
    weight = torch.outer(p, p).flatten()
    entropy = -(weight[:, None] * log_prob.exp() * log_prob).sum()
    return ZipfLanguage(weight, log_prob, float(entropy), vocab)


def _powers(n: int, exponent: float) -> Tensor:
    return torch.arange(1, n + 1, dtype=torch.float64) ** -exponent


def sample(language: ZipfLanguage, n: int, generator: torch.Generator) -> Tokens:
    """Independent contexts and their next tokens, exactly from the language.

    Context and next token are one outcome among vocab cubed, found from one uniform number by bisection of the
    cumulative probabilities. Drawing ``n`` and then ``m`` tokens gives the same tokens as drawing ``n + m``.

    Raises
    ------
    ValueError
        If ``n`` is below 1.
    """
    checks.integer(1, n=n)
    uniform = torch.rand(n, generator=generator, dtype=torch.float64)
    outcome = torch.searchsorted(language.cumulative, uniform, right=True)
    return Tokens(outcome // language.vocab, outcome % language.vocab)


def token_stream(
    language: ZipfLanguage,
    n: int,
    generator: torch.Generator,
    *,
    dataset: int | None = None,
    chunk: int = CHUNK,
) -> Iterator[Tokens]:
    """The ``n`` tokens of a training run, in pieces of ``chunk`` tokens and a last one with the rest.

    Parameters
    ----------
    dataset
        None draws every token anew. A number draws so many once and goes through them again and again, in a new
        order each epoch.

    Raises
    ------
    ValueError
        If a number is below 1.
    """
    checks.integer(1, n=n, chunk=chunk, dataset=1 if dataset is None else dataset)
    if dataset is None:
        for start in range(0, n, chunk):
            yield sample(language, min(chunk, n - start), generator)
        return
    contexts, targets = sample(language, dataset, generator)
    epochs = [torch.randperm(dataset, generator=generator) for _ in range(math.ceil(n / dataset))]
    for piece in torch.cat(epochs)[:n].split(chunk):
        yield Tokens(contexts[piece], targets[piece])


# --- The student ------------------------------------------------------------------------------------------------


class Students(NamedTuple):
    """R networks of one width h, side by side: views of one flat buffer, which holds nothing else.

    ``first`` has a row for each input of the first layer: the V possible first tokens of a context, the V possible
    second ones, and a constant 1, whose row is the bias.
    """

    flat: Float[Tensor, " all"]
    first: Float[Tensor, "inputs r h"]
    second: Float[Tensor, "r h v"]
    bias: Float[Tensor, "r v"]

    def like(self, flat: Float[Tensor, " all"]) -> Students:
        """The same views of another buffer of this size."""
        parts = flat.split([part.numel() for part in self[1:]])
        return Students(flat, *(part.view(own.shape) for part, own in zip(parts, self[1:], strict=True)))

    def zeros(self) -> Students:
        """Students of the same shape, all zero."""
        return self.like(torch.zeros_like(self.flat))


def student_parameters(vocab: int, width: int) -> int:
    """Parameters of one student, N = 3Vh + h + V: two layers, with embeddings and biases.

    Raises
    ------
    ValueError
        If a size is below 1.
    """
    checks.integer(1, vocab=vocab, width=width)
    return 3 * vocab * width + width + vocab


def init_students(
    language: ZipfLanguage,
    width: int,
    replicas: int,
    *,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> Students:
    """``replicas`` copies of one random student, on the CPU.

    First-layer weights are N(0, 1/2), so that two of them add up to variance 1, second-layer weights N(0, 1/h),
    and the output bias is the log-probability of each token without context: a tiny student would otherwise
    spend its run on learning it.

    Raises
    ------
    ValueError
        If a size is below 1.
    """
    checks.integer(1, width=width, replicas=replicas)
    vocab = language.vocab
    table = torch.randn(2 * vocab, width, generator=generator, dtype=torch.float64) / math.sqrt(2)
    first = torch.cat([table, torch.zeros_like(table[:1])])[:, None].expand(-1, replicas, -1)
    second = torch.randn(width, vocab, generator=generator, dtype=torch.float64) / math.sqrt(width)
    bias = language.joint.sum(0).log()
    parts = first, second.expand(replicas, -1, -1), bias.expand(replicas, -1)
    flat = torch.cat([part.flatten() for part in parts]).to(dtype)
    return Students(flat, *parts).like(flat)


def input_rows(contexts: Int[Tensor, " n"], vocab: int) -> Int[Tensor, "n 3"]:
    """The three inputs of the first layer that are 1 for a context (a, b): a, V + b and the constant."""
    first, second = contexts // vocab, contexts % vocab
    return torch.stack([first, vocab + second, torch.full_like(first, 2 * vocab)], 1)


def hidden_layer(students: Students, rows: Int[Tensor, "b 3"]) -> Float[Tensor, "b r h"]:
    """relu(x P + bias) for one-hot inputs x: each product is a sum of three rows of the first layer."""
    inputs, replicas, width = students.first.shape
    table = students.first.view(inputs, replicas * width)
    return functional.embedding_bag(rows, table, mode="sum").relu_().view(-1, replicas, width)


def backpropagate(
    students: Students,
    gradient: Students,
    rows: Int[Tensor, "b 3"],
    targets: Int[Tensor, " b"],
    mask: Float[Tensor, "b 1 h"] | None = None,
) -> Float[Tensor, "r b"]:
    r"""One pass forward and backward on a minibatch, written out: on so small a network autograd costs more than it.

    With hidden layer H, softmax probabilities Q and one-hot targets Y the gradients of the mean loss are

    .. math:: E = (Q - Y)/b, \qquad \nabla W = H^\top E, \qquad \nabla c = 1^\top E, \qquad
              \nabla P = X^\top \bigl[(E W^\top) \odot \mathbf{1}_{H > 0}\bigr].

    Parameters
    ----------
    students
        The networks P, W, c.
    gradient
        Overwritten with the gradient of each student's mean loss.
    rows, targets
        Inputs from :func:`input_rows`, and next tokens, the same for all students.
    mask
        Inverted dropout: factors 0 or 1/(1 - rate) on the hidden layer.

    Returns
    -------
    The log-probability that each student gives each target (minus infinity where it underflows).
    """
    hidden = hidden_layer(students, rows)
    if mask is not None:
        hidden *= mask
    H = hidden.transpose(0, 1)
    Q = torch.baddbmm(students.bias[:, None], H, students.second).softmax(-1)
    at_target = targets[:, None].expand(*H.shape[:2], 1)
    q = Q.gather(2, at_target)
    E = Q.scatter_(2, at_target, q - 1).div_(len(targets))
    torch.bmm(H.mT, E, out=gradient.second)
    torch.sum(E, 1, out=gradient.bias)
    # H is no longer needed; its sign is the relu's slope.
    delta = hidden.sign_().mul_(torch.bmm(students.second, E.mT).permute(2, 0, 1))
    if mask is not None:
        delta *= mask
    gradient.first.zero_().index_add_(0, rows.flatten(), delta.repeat_interleave(rows.shape[1], 0))
    return q.squeeze(2).log_()


def exact_loss(students: Students, joint: Float[Tensor, "contexts v"]) -> Float[Tensor, " r"]:
    r"""The test loss of each student, in nats a token: :math:`-\sum_{a,b,y} p(a,b,y) \log q(y \mid a,b)`.

    Parameters
    ----------
    joint
        :attr:`ZipfLanguage.joint`, on the students' device and in their dtype.
    """
    vocab = joint.shape[1]
    losses = []
    for first, second, bias in zip(students.first.unbind(1), students.second, students.bias, strict=True):
        hidden = (first[:vocab, None] + first[vocab:-1] + first[-1]).relu_().flatten(0, 1)
        log_q = torch.addmm(bias, hidden, second).log_softmax(-1)
        losses.append(-(joint * log_q).sum())
    return torch.stack(losses)


# --- Training ---------------------------------------------------------------------------------------------------


def learning_rates(
    peaks: Sequence[float], steps: int, *, final: float | Sequence[float] | None = None
) -> Float[Tensor, "{steps} r"]:
    r"""Learning rates of every step: a linear warm-up times a half cosine from the peak to the final rate.

    .. math:: \eta_t = \min\bigl(1, \tfrac{t + 1}{w}\bigr)
              \bigl(\eta_\text{final} + \tfrac12 (\eta_\text{peak} - \eta_\text{final})(1 + \cos(\pi t / T))\bigr),
              \qquad t = 0, \dots, T - 1,

    with :math:`w` 5 % of the :math:`T` steps.

    Parameters
    ----------
    peaks
        One positive rate for each run.
    steps
        T.
    final
        The rate towards which the cosine falls, one for each run or one for all; None stays at the peak.

    Raises
    ------
    ValueError
        If there are no steps, a peak is not positive, or a final rate is negative or their number is wrong.
    """
    checks.integer(1, steps=steps)
    if not len(peaks):
        raise ValueError("lrs must name at least one learning rate, got none")
    final = peaks if final is None else final
    finals = final if isinstance(final, Sequence) else [final] * len(peaks)
    if len(finals) != len(peaks):
        raise ValueError(f"final_lr must be one rate or {len(peaks)}, one for each run, got {len(finals)}")
    for peak, end in zip(peaks, finals, strict=True):
        checks.positive(lr=peak)
        checks.non_negative(final_lr=end)
    top, end = (torch.tensor(rates, dtype=torch.float64) for rates in (peaks, finals))
    t = torch.arange(steps, dtype=torch.float64)[:, None]
    warm = ((t + 1) / max(1, round(WARMUP * steps))).clamp(max=1)
    return warm * (end + (top - end) * (1 + torch.cos(math.pi * t / steps)) / 2)


def adamw_step(
    students: Students,
    gradient: Students,
    mean: Float[Tensor, " all"],
    square: Float[Tensor, " all"],
    lrs: Float[Tensor, "r 1"],
    step: int,
) -> None:
    r"""One step of AdamW without weight decay, in place, with a learning rate for each student.

    With m and v the decaying means of the gradient and of its square, :math:`\hat m = m / (1 - \beta_1^t)` and
    :math:`\hat v = v / (1 - \beta_2^t)`, it moves by :math:`-\eta\, \hat m / (\sqrt{\hat v} + \epsilon)`. The factors
    :math:`1 - \beta^t` go into :math:`\eta` and :math:`\epsilon`, which saves passes over the parameters.

    Parameters
    ----------
    gradient
        Overwritten with the direction of the step.
    mean, square
        m and v, zero at the start.
    lrs
        :math:`\eta` of each student.
    step
        t, which counts from 1.

    References
    ----------
    Kingma & Ba (2015), algorithm 1 and the remark below it; Loshchilov & Hutter (2019).
    """
    unbias_m, unbias_v = (1 - beta**step for beta in BETAS)
    mean.lerp_(gradient.flat, 1 - BETAS[0])
    square.mul_(BETAS[1]).addcmul_(gradient.flat, gradient.flat, value=1 - BETAS[1])
    root = torch.sqrt(square, out=gradient.flat).add_(EPS * math.sqrt(unbias_v))
    torch.div(mean, root, out=gradient.flat)
    scale = -math.sqrt(unbias_v) / unbias_m
    students.first.addcmul_(gradient.first, lrs, value=scale)
    students.second.addcmul_(gradient.second, lrs[:, None], value=scale)
    students.bias.addcmul_(gradient.bias, lrs, value=scale)


@dataclass(frozen=True)
class StudentRuns:
    """Losses in nats a token of R runs after each of ``steps``, as float64 on the CPU.

    ``test`` is exact. ``train`` is the mean over the minibatches since the step before in ``steps``, each measured
    before its update and with its dropout; it is NaN at step 0, which has none.
    """

    steps: Int[Tensor, " e"]
    test: Float[Tensor, "r e"]
    train: Float[Tensor, "r e"]


def train_students(
    language: ZipfLanguage,
    width: int,
    steps: int,
    batch: int,
    lrs: Sequence[float],
    *,
    seed: int,
    eval_at: Sequence[int] | None = None,
    final_lr: float | Sequence[float] | None = None,
    dropout: float = 0.0,
    dataset: int | None = None,
    device: Device = None,
    dtype: torch.dtype = torch.float32,
) -> StudentRuns:
    """Train one student with several learning rates at once: one start, one stream of minibatches.

    Parameters
    ----------
    language, width
        What to learn, and the number of hidden units of who learns it.
    steps, batch
        Steps of AdamW and tokens in each.
    lrs
        Peak learning rates, one a run.
    seed
        Decides the start, the tokens and the dropout, each by a stream of its own: what one run changes in
        one of them leaves the others as they are.
    eval_at
        Increasing numbers of steps after which to measure the losses; None measures at the end.
    final_lr
        As ``final`` of :func:`learning_rates`: None is a constant rate after the warm-up, ``[lr / 10 for lr in lrs]``
        a cosine to 10 % of the peak, and a number a cosine to that rate.
    dropout
        Rate of inverted dropout on the hidden layer, in training alone; all runs share the masks.
    dataset
        None is one epoch: every token is new. A number is the size of a finite set of tokens, which the run goes
        through again and again, in a new order each time (:func:`token_stream`).
    device, dtype
        Where and in what to compute. Everything random is drawn on the CPU, so that devices agree.

    Raises
    ------
    ValueError
        If a number is out of range or ``eval_at`` does not increase.
    """
    checks.integer(1, width=width, steps=steps, batch=batch)
    checks.integer(0, seed=seed)
    checks.probability(below_one=True, dropout=dropout)
    times = _evaluation_times(eval_at, steps)
    rates = learning_rates(lrs, steps, final=final_lr)[..., None]
    place = compute.device(device, dtype=dtype)
    starts, tokens, dropouts = (compute.generator(stream) for stream in compute.seeds(seed, 3))
    test, train = [], []
    with torch.inference_mode():  # a step without autograd's bookkeeping takes 10 to 20 % less time
        students = init_students(language, width, len(lrs), generator=starts, dtype=dtype)
        students = students.like(students.flat.to(place))
        gradient, mean, square = students.zeros(), students.zeros().flat, students.zeros().flat
        rates, joint = rates.to(place, dtype), language.joint.to(place, dtype)
        minibatches = _minibatches(language, steps, batch, tokens, dataset, place)
        masks = _masks(dropout, (batch, 1, width), dropouts, students.flat)
        for start, stop in pairwise([0, *times]):
            log_prob = joint.new_zeros(len(lrs), batch)
            for step in range(start, stop):
                log_prob += backpropagate(students, gradient, *next(minibatches), next(masks))
                adamw_step(students, gradient, mean, square, rates[step], step + 1)
            test.append(exact_loss(students, joint))
            train.append(-log_prob.sum(1) / (batch * (stop - start)))
    return StudentRuns(torch.tensor(times), *(torch.stack(losses, 1).double().cpu() for losses in (test, train)))


def _evaluation_times(eval_at: Sequence[int] | None, steps: int) -> list[int]:
    times = [steps] if eval_at is None else list(eval_at)
    for time in times:
        checks.integer(0, eval_at=time)
    checks.increasing(eval_at=times)
    if times[-1] > steps:
        raise ValueError(f"eval_at must lie in 0..{steps}, got {times}")
    return times


def _minibatches(
    language: ZipfLanguage,
    steps: int,
    batch: int,
    generator: torch.Generator,
    dataset: int | None,
    device: torch.device,
) -> Iterator[tuple[Tensor, Tensor]]:
    chunk = batch * max(1, CHUNK // batch)
    for contexts, targets in token_stream(language, steps * batch, generator, dataset=dataset, chunk=chunk):
        rows = input_rows(contexts.to(device), language.vocab)
        yield from zip(rows.split(batch), targets.to(device).split(batch), strict=True)


def _masks(rate: float, shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Iterator[Tensor | None]:
    while True:
        yield (torch.rand(shape, generator=generator) >= rate).to(like) / (1 - rate) if rate else None
