"""The bowl over (log learning rate, log batch): fitted to runs, and as published for 17 language-model settings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from overparam.core import checks
from overparam.scaling.step_law.laws import Law, Numbers, positive_array, run_table


@dataclass(frozen=True)
class Landscape:
    r"""A quadratic in (log learning rate, log batch): where it is stationary, the loss there, and its curvature.

    ``hessian`` is in natural logarithms, in the order (learning rate, batch), in units of the loss, and ``r2`` the
    share of the variance that the quadratic explained.
    """

    lr: float
    batch: float
    loss: float
    hessian: Float[np.ndarray, "2 2"]
    r2: float

    @property
    def convex(self) -> bool:
        """Whether it is a bowl: both eigenvalues of the Hessian are positive."""
        return bool(np.isfinite(self.hessian).all() and np.linalg.eigvalsh(self.hessian)[0] > 0)

    def regret(self, lr: Numbers, batch: Numbers) -> Float[np.ndarray, "..."]:
        r"""What a choice costs, :math:`\frac12 \delta^\top H \delta / L_{\min}`: 0.001 is a loss 0.1 % too high.

        :math:`\delta` are the logarithms of the ratios to the optimum. The arguments broadcast.

        Raises
        ------
        ValueError
            If a number is not positive and finite.
        """
        x = np.log(positive_array("lr", lr) / self.lr)
        y = np.log(positive_array("batch", batch) / self.batch)
        (xx, xy), (_, yy) = self.hessian
        return np.asarray((xx * x**2 + 2 * xy * x * y + yy * y**2) / (2 * self.loss))


def fit_landscape(lr: Numbers, batch: Numbers, loss: Numbers, *, within: float = 0.02) -> Landscape:
    """The least-squares quadratic through the runs of one setting that are not too far from its best.

    Parameters
    ----------
    lr, batch, loss
        One entry a run.
    within
        Largest relative excess over the best loss of the runs that count.

    Raises
    ------
    ValueError
        If a number is not positive and finite, the lengths differ, fewer than 6 runs lie within, or those that do
        decide no unique optimum: runs on two batches, say, or losses that depend on one of the two alone.
    """
    checks.non_negative(within=within)
    columns = run_table(lr=lr, batch=batch, loss=loss)
    near = columns[:, columns[2] <= (1 + within) * columns[2].min()]
    if (count := near.shape[1]) < 6:
        raise ValueError(f"a quadratic needs 6 runs within {within:g} of the best loss, got {count}")
    logs, losses = np.log(near[:2]), near[2]
    centre = logs.mean(1)
    x, y = logs - centre[:, None]
    design = np.stack([np.ones(count), x, y, x**2 / 2, x * y, y**2 / 2], 1)
    c, _, rank, _ = np.linalg.lstsq(design, losses, rcond=1e-10)
    gradient, hessian = c[1:3], c[[[3, 4], [4, 5]]]
    if rank < 6 or losses.min() == losses.max() or np.linalg.cond(hessian) > 1e10:
        raise ValueError(
            f"the {count} runs within {within:g} of the best loss decide no quadratic with one optimum (rank {rank} "
            "of 6): it takes three learning rates, three batches, and losses that depend on both"
        )
    step = -np.linalg.solve(hessian, gradient)
    lr_0, batch_0 = np.exp(centre + step).tolist()
    r2 = 1 - (losses - design @ c).var() / losses.var()
    return Landscape(lr_0, batch_0, float(c[0] + gradient @ step / 2), hessian, float(r2))


#: Our quadratic fits to the dense settings of the sweeps that the authors released (about 1,900 runs, those within 2 %
#: of the best; sequences of 2,048 tokens): N; then, for each D, the optimum (learning rate, batch in tokens, loss) and
#: the Hessian (learning rate, mixed, batch).
_PUBLISHED = {
    214_663_680: (
        (4e9, (1.832e-3, 1.773e5, 2.6246), (0.0421, -0.0165, 0.0370)),
        (11.4e9, (2.116e-3, 3.088e5, 2.4907), (0.0389, -0.0171, 0.0336)),
        (20e9, (2.510e-3, 4.725e5, 2.4471), (0.0294, -0.0141, 0.0310)),
        (100e9, (3.286e-3, 1.229e6, 2.3447), (0.0210, -0.0136, 0.0207)),
    ),
    268_304_384: (
        (5e9, (1.582e-3, 1.902e5, 2.5610), (0.0467, -0.0167, 0.0357)),
        (14.2e9, (1.956e-3, 3.159e5, 2.4355), (0.0356, -0.0163, 0.0324)),
        (25e9, (2.405e-3, 5.158e5, 2.3902), (0.0301, -0.0150, 0.0301)),
        (80e9, (2.630e-3, 9.434e5, 2.3075), (0.0225, -0.0136, 0.0252)),
    ),
    429_260_800: (
        (8e9, (1.016e-3, 2.038e5, 2.4408), (0.0416, -0.0080, 0.0260)),
        (22.7e9, (1.469e-3, 4.262e5, 2.3253), (0.0274, -0.0078, 0.0306)),
        (40e9, (1.704e-3, 6.120e5, 2.2748), (0.0292, -0.0100, 0.0318)),
        (50e9, (1.654e-3, 6.161e5, 2.2600), (0.0229, -0.0109, 0.0262)),
    ),
    536_872_960: (
        (10e9, (1.042e-3, 2.584e5, 2.3845), (0.0415, -0.0078, 0.0276)),
        (28.4e9, (1.355e-3, 4.181e5, 2.2664), (0.0301, -0.0087, 0.0279)),
        (50e9, (1.522e-3, 6.115e5, 2.2198), (0.0269, -0.0112, 0.0251)),
    ),
    1_073_741_824: (
        (20e9, (8.277e-4, 3.423e5, 2.2275), (0.0313, -0.0065, 0.0230)),
        (56.9e9, (1.066e-3, 6.081e5, 2.1220), (0.0234, -0.0067, 0.0216)),
    ),
}


def published_landscapes() -> list[tuple[float, float, Landscape]]:
    """The bowls of 17 of the authors' settings, as (N, D, landscape); their ``r2`` is not known and NaN."""
    return [
        (float(N), D, Landscape(*optimum, hessian=np.array([[xx, xy], [xy, yy]]), r2=math.nan))
        for N, rows in _PUBLISHED.items()
        for D, optimum, (xx, xy, yy) in rows
    ]


def published_regrets(law: Law) -> Float[np.ndarray, " settings"]:
    """What following ``law`` would have cost in each of the 17 published settings, relative to the optimum."""
    return np.array([float(bowl.regret(*law(N, D))) for N, D, bowl in published_landscapes()])
