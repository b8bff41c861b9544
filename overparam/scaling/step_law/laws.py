"""From a size and an amount of data to a learning rate and a batch: published laws, and how one is fitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from overparam.core import checks

# --- Laws -------------------------------------------------------------------------------------------------------

#: What numpy makes an array of (checked at run time, ArrayLike alone leaves tuples out).
Numbers = ArrayLike | Sequence[float]

#: From N and D to a learning rate and a batch in tokens.
Law = Callable[[Numbers, Numbers], tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]]


@dataclass(frozen=True)
class HyperLaw:
    r"""The best learning rate and batch as power laws, in the unit of the batch in which they were fitted.

    .. math:: \eta^\ast = c_\eta N^{a_N} D^{a_D}, \qquad B^\ast = c_B N^{b_N} D^{b_D}
    """

    c_lr: float
    lr_N: float  # noqa: N815
    lr_D: float  # noqa: N815
    c_b: float
    b_D: float  # noqa: N815
    b_N: float = 0.0  # noqa: N815

    def __call__(self, N: Numbers, D: Numbers) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
        """The learning rate and the batch for N parameters and D tokens, which broadcast.

        Raises
        ------
        ValueError
            If a number is not positive and finite.
        """
        N, D = positive_array("N", N), positive_array("D", D)
        lr = self.c_lr * N**self.lr_N * D**self.lr_D
        batch = self.c_b * N**self.b_N * D**self.b_D
        return np.asarray(lr), np.asarray(batch)


#: The published law. N are the parameters *without* embeddings, D the training tokens, the batch is in tokens and the
#: learning rate is the peak of AdamW, which decays along a cosine to 1e-5. It was fitted to dense
#: models of 0.2 to 1.07 billion parameters on 4 to 100 billion tokens; beyond that it extrapolates.
STEP_LAW = HyperLaw(c_lr=1.79, lr_N=-0.713, lr_D=0.307, c_b=0.58, b_D=0.571)


def deepseek_law(N: Numbers, D: Numbers) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    r"""The law before: :math:`\eta = 0.3118\, C^{-0.125}` and :math:`B = 0.2920\, C^{0.3271}` with :math:`C = 6ND`.

    It knows the compute C alone, so that a large model on few tokens and a small one on many get the same.

    Returns
    -------
    Learning rate, and batch in tokens.

    Raises
    ------
    ValueError
        If a number is not positive and finite.

    References
    ----------
    DeepSeek-AI, DeepSeek LLM: Scaling Open-Source Language Models with Longtermism, 2024, arXiv 2401.02954. Its C
    counts attention exactly; 6ND is the usual approximation.
    """
    C = 6 * positive_array("N", N) * positive_array("D", D)
    return np.asarray(0.3118 * C**-0.125), np.asarray(0.2920 * C**0.3271)


# --- The fit ----------------------------------------------------------------------------------------------------


def near_optimal(N: Numbers, D: Numbers, loss: Numbers, threshold: float = 0.0025) -> Bool[np.ndarray, " runs"]:
    r"""Which runs are close to the best of *their own* setting: :math:`L \le (1 + \tau) \min_{(N, D)} L`.

    A threshold of 0 keeps the best run of each setting.

    Parameters
    ----------
    N, D, loss
        Parameters, tokens and final loss of each run.
    threshold
        :math:`\tau`, relative.

    Raises
    ------
    ValueError
        If a number is not positive and finite (a diverged run, say), the lengths differ or the threshold is negative.
    """
    checks.non_negative(threshold=threshold)
    columns = run_table(N=N, D=D, loss=loss)
    _, setting = np.unique(columns[:2], axis=1, return_inverse=True)
    setting = setting.reshape(-1)
    best = np.full(setting.max() + 1, np.inf)
    np.minimum.at(best, setting, columns[2])
    return columns[2] <= (1 + threshold) * best[setting]


def fit_hyper_law(
    N: Numbers,
    D: Numbers,
    lr: Numbers,
    batch: Numbers,
    loss: Numbers,
    *,
    threshold: float = 0.0025,
    batch_uses_N: bool = False,
) -> HyperLaw:
    r"""Least squares on logarithms through every run near the best of its setting.

    .. math:: \log\eta = c_0 + c_1 \log N + c_2 \log D, \qquad \log B = d_0 + d_1 \log D \; (+\, d_2 \log N)

    Parameters
    ----------
    N, D, lr, batch, loss
        One entry a run. Another unit of the batch changes ``c_b`` alone.
    threshold
        As for :func:`near_optimal`; the authors' is 0.25 %.
    batch_uses_N
        Let the batch depend on N too, to see that it need not.

    Raises
    ------
    ValueError
        As :func:`near_optimal`; or if the runs that are kept do not vary log N and log D independently.

    References
    ----------
    The authors' ``code/fit_tool.py``, which averages such fits over resampled runs (:func:`bootstrap_hyper_law`).
    """
    logs = _kept_logs(N, D, lr, batch, loss, threshold)
    return HyperLaw(*_exponents(logs, batch_uses_N).tolist())


def bootstrap_hyper_law(
    N: Numbers,
    D: Numbers,
    lr: Numbers,
    batch: Numbers,
    loss: Numbers,
    *,
    threshold: float = 0.0025,
    batch_uses_N: bool = False,
    refits: int = 1000,
    generator: torch.Generator | None = None,
) -> Float[np.ndarray, "{refits} 6"]:
    """Refit to resampled runs, all refits in one batch; their means are the authors' constants, their spread the error.

    What is resampled, as there, are the runs that were kept. The best run of a setting stays what it was, so that the
    spread is too small: it leaves out what another random seed would do to it.

    Parameters
    ----------
    N, D, lr, batch, loss, threshold, batch_uses_N
        As for :func:`fit_hyper_law`.
    refits
        Samples with replacement.

    Returns
    -------
    One row a refit, in the order of the fields of :class:`HyperLaw`.

    Raises
    ------
    ValueError
        As :func:`fit_hyper_law`, or if there are no refits.
    """
    checks.integer(1, refits=refits)
    logs = _kept_logs(N, D, lr, batch, loss, threshold)
    draws = torch.randint(logs.shape[1], (refits, logs.shape[1]), generator=generator)
    return _exponents(logs[:, draws.numpy()], batch_uses_N)


def _kept_logs(
    N: Numbers, D: Numbers, lr: Numbers, batch: Numbers, loss: Numbers, threshold: float
) -> Float[np.ndarray, "4 n"]:
    """Logarithms of N, D, learning rate and batch of the runs that are kept, one a row."""
    columns = run_table(N=N, D=D, lr=lr, batch=batch, loss=loss)
    kept = near_optimal(columns[0], columns[1], columns[4], threshold)
    logs = np.log(columns[:4, kept])
    spread = np.linalg.svd(logs[:2] - logs[:2].mean(1, keepdims=True), compute_uv=False)
    if len(spread) < 2 or spread[1] <= 1e-8 * spread[0]:
        raise ValueError(
            f"log N and log D must vary independently, got {kept.sum()} runs with N {columns[0, kept].min():g}"
            f"..{columns[0, kept].max():g} and D {columns[1, kept].min():g}..{columns[1, kept].max():g}"
        )
    return logs


def _exponents(logs: Float[np.ndarray, "4 *refits n"], batch_uses_N: bool) -> Float[np.ndarray, "*refits 6"]:
    """The six constants of a law from the logarithms of N, D, learning rate and batch."""
    log_N, log_D, log_lr, log_batch = logs
    both = np.stack([np.ones_like(log_N), log_N, log_D], -1)
    c = _least_squares(both, log_lr)
    d = _least_squares(both if batch_uses_N else both[..., [0, 2]], log_batch)
    b_N = d[..., 1] if batch_uses_N else np.zeros_like(d[..., 0])
    return np.stack([np.exp(c[..., 0]), c[..., 1], c[..., 2], np.exp(d[..., 0]), d[..., -1], b_N], -1)


def _least_squares(X: Float[np.ndarray, "*b n p"], y: Float[np.ndarray, "*b n"]) -> Float[np.ndarray, "*b p"]:
    # The pseudoinverse, unlike lstsq, takes a batch.
    return (np.linalg.pinv(X) @ y[..., None])[..., 0]


def positive_array(name: str, values: Numbers) -> Float[np.ndarray, "..."]:
    """The values in double precision; ValueError names the first that is not positive and finite."""
    array = np.asarray(values, dtype=np.float64)
    if (bad := array[~(np.isfinite(array) & (array > 0))]).size:
        raise ValueError(f"{name} must be positive and finite, got {bad[0]:g}")
    return array


def run_table(**columns: Numbers) -> Float[np.ndarray, "columns runs"]:
    """The columns of a table of runs, checked, one a row."""
    arrays = [positive_array(name, values) for name, values in columns.items()]
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1 or arrays[0].ndim != 1 or not arrays[0].size:
        raise ValueError(f"{', '.join(columns)} must be vectors of one length, got shapes {[a.shape for a in arrays]}")
    return np.stack(arrays)
