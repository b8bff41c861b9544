"""The experiment: train on mixtures of what was shown, predict and choose what to buy, buy it, and hold the claims."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from overparam.core import compute
from overparam.core.claims import Claim
from overparam.core.compute import Device
from overparam.core.fits import rank_correlation
from overparam.core.progress import track
from overparam.imperfect_data.projektor.projection import FORMS, PerformanceModel, extrapolate, select_mixture
from overparam.imperfect_data.projektor.sources import (
    SOURCES,
    Config,
    log_error,
    market,
    measure,
    mixtures,
    pilot_costs,
    stream,
)
from overparam.imperfect_data.projektor.transport import mixture_ot, ot_gradient

DTYPE = torch.float64  # of accuracies; networks are float32, and all else is numpy's float64
#: Where the gradient is compared with differences, and their step.
PROBE, STEP = (0.37, 0.21, 0.42), 1e-4
HELD_OUT = SOURCES.index("B")


@dataclass(frozen=True)
class Result:
    """What :func:`run` measured. Axes: k mixtures, m sources, s the sizes n0, n1, n, f :data:`FORMS`.

    ``mixtures`` are the grid, ``ot`` and ``ot_features`` their distances with and without the label cost; ``errors``
    the mean validation errors and ``log_errors`` their logarithms. ``predicted`` are stage 1's log errors at n0 and
    n1, by form, without and with OT, fitted on the mixtures outside the mask ``unseen``; ``projected`` are the log
    errors at n from the linear form fitted on all mixtures, and ``path``, ``values``, ``selected`` the selection on
    it, with the log errors that it predicts. ``selected_errors`` and ``uniform_errors`` hold each training at n.
    ``gradient`` and ``differences`` are the derivative of OT at :data:`PROBE` from the potentials and from central
    differences.
    """

    config: Config
    sizes: Int[np.ndarray, " s"]
    mixtures: Float[np.ndarray, "k m"]
    ot: Float[np.ndarray, " k"]
    ot_features: Float[np.ndarray, " k"]
    errors: Float[np.ndarray, "s k"]
    log_errors: Float[np.ndarray, "s k"]
    unseen: np.ndarray
    predicted: Float[np.ndarray, "2 f 2 k"]
    projected: Float[np.ndarray, " k"]
    path: Float[np.ndarray, "t m"]
    values: Float[np.ndarray, " t"]
    selected: Float[np.ndarray, " m"]
    selected_errors: Float[np.ndarray, " r"]
    uniform_errors: Float[np.ndarray, " r"]
    gradient: Float[np.ndarray, " m"]
    differences: Float[np.ndarray, " m"]


def run(config: Config = Config(), *, device: Device = None, progress: bool = True) -> Result:
    """Measure every mixture, fit, project, select, and buy.

    Parameters
    ----------
    config
        The experiment.
    device
        Where networks train; None picks the best one that has float64. Transport and regressions are numpy's.
    progress
        Show bars over the sizes and, at full scale, over the trainings.
    """
    goods = market(config, device=compute.device(device, dtype=DTYPE))
    costs, feature_costs = pilot_costs(goods, config)
    p = mixtures(config.grid)
    ot, ot_features = (np.array([mixture_ot(each, row)[0] for row in p]) for each in (costs, feature_costs))

    streams = {"draws": stream(config, "draws"), "starts": stream(config, "starts"), "progress": progress}
    plan = [
        (config.n0, config.repeats, True),
        (config.n1, config.repeats, True),
        (config.n, config.repeats_full, False),
    ]
    measured = [
        measure(goods, config, p, n, repeats, pilots=pilots, **streams)
        for n, repeats, pilots in track(plan, progress, "sizes")
    ]
    log_errors = np.stack([log_error(errors, config.n_val) for errors in measured])

    unseen = p[:, HELD_OUT] >= config.holdout_share - 1e-9
    model0, model1 = (PerformanceModel("linear").fit(p, ot, perf) for perf in log_errors[:2])
    sizes = (config.n0, config.n1, config.n)
    selected, path, values = select_mixture(costs, model0, model1, *sizes)
    final = np.stack([selected, np.full(3, 1 / 3)])
    bought = measure(goods, config, final, config.n, config.repeats_selected, pilots=False, **streams)
    _, potentials = mixture_ot(costs, PROBE)
    return Result(
        config=config,
        sizes=np.array(sizes),
        mixtures=p,
        ot=ot,
        ot_features=ot_features,
        errors=np.stack([errors.mean(1) for errors in measured]),
        log_errors=log_errors,
        unseen=unseen,
        predicted=np.stack([predict_unseen(p, ot, perf, unseen) for perf in log_errors[:2]]),
        projected=extrapolate(model0.predict(p, ot), model1.predict(p, ot), *sizes),
        path=path,
        values=values,
        selected=selected,
        selected_errors=bought[0],
        uniform_errors=bought[1],
        gradient=ot_gradient(potentials, PROBE),
        differences=central_differences(costs, PROBE, STEP),
    )


def predict_unseen(
    p: Float[np.ndarray, "k m"], ot: Float[np.ndarray, " k"], perf: Float[np.ndarray, " k"], unseen: np.ndarray
) -> Float[np.ndarray, "f 2 k"]:
    """Predictions for all mixtures by every form, without and with OT, fitted where ``unseen`` is False."""
    seen = ~unseen
    if not seen.any():
        return np.full((len(FORMS), 2, len(p)), math.nan)
    fits = [[PerformanceModel(form, use).fit(p[seen], ot[seen], perf[seen]) for use in (False, True)] for form in FORMS]
    return np.array([[model.predict(p, ot) for model in row] for row in fits])


def central_differences(costs: list[np.ndarray], p: tuple[float, ...], step: float) -> Float[np.ndarray, " m"]:
    """The derivative of OT along each :math:`(e_i - p) / (1 - p_i)`, from two values each."""
    base = np.array(p)
    directions = (np.eye(len(base)) - base) / (1 - base)[:, None]
    ends = [[mixture_ot(costs, base + sign * step * along)[0] for sign in (1, -1)] for along in directions]
    return np.array([(ahead - behind) / (2 * step) for ahead, behind in ends])


def unseen_errors(result: Result) -> Float[np.ndarray, "f 2"]:
    """Mean absolute errors of stage 1 on the unseen mixtures, averaged over n0 and n1, without and with OT."""
    gaps = np.abs(result.predicted - result.log_errors[:2, None, None])[..., result.unseen]
    return gaps.mean((0, -1)) if result.unseen.any() else np.full(gaps.shape[1:3], math.nan)


# --- What it claims ---------------------------------------------------------------------------------------------


def claims(result: Result) -> list[Claim]:
    """The chapter's five claims, decided on one result."""
    tracking = rank_correlation(result.ot, result.log_errors[0])
    gain = tracking - rank_correlation(result.ot_features, result.log_errors[0])
    unseen = unseen_errors(result)
    simple = [unseen[FORMS.index(form)] for form in ("constant", "linear")]
    ratio = max(_ratio(with_ot, without) for without, with_ot in simple)
    truth = result.errors[2]
    scale = _ratio(np.abs(np.exp(result.projected) - truth).mean(), np.abs(result.errors[1] - truth).mean())
    gap = _ratio(np.abs(result.gradient - result.differences).max(), np.abs(result.differences).max())
    advantage = float(result.uniform_errors.mean() - result.selected_errors.mean())
    return [
        Claim(
            "ot_tracks_error",
            "The OT distance with the label cost orders the mixtures by their error; features alone do not",
            measured=tracking,
            holds=tracking >= 0.75 and gain >= 0.1,
            limits=(0.75, math.inf),
            bound="rank correlation at least 0.75, and at least 0.1 above that without labels",
            source="performance is a nearly linear function of the OT distance",
        ),
        Claim(
            "ot_predicts_unseen_mixtures",
            "Adding OT to the regression lowers the error on mixtures outside the fitted range",
            measured=ratio,
            holds=ratio <= 0.85,
            limits=(-math.inf, 0.85),
            bound="error with OT at most 0.85 times that without, constant and linear form",
            source="extrapolation to unseen mixtures, against regressions without OT",
        ),
        Claim(
            "two_scales_extrapolate",
            "Two small sizes project the error at the size to buy",
            measured=scale,
            holds=scale <= 0.6,
            limits=(-math.inf, 0.6),
            bound="error of the projection at most 0.6 times that of taking the error at n1",
            source="projection through log N from two sizes",
        ),
        Claim(
            "dual_is_the_gradient",
            "The calibrated dual potentials are the derivative of OT in the mixture",
            measured=gap,
            holds=gap <= 1e-3,
            limits=(-math.inf, 1e-3),
            bound="largest difference to central differences at most 1e-3 of the largest derivative",
            source="gradient from the dual solution",
        ),
        Claim(
            "selection_beats_uniform",
            "The purchase that the gradient selects is better than the uniform one",
            measured=advantage,
            holds=advantage >= 0.005,
            limits=(0.005, math.inf),
            bound="error lower by at least 0.005",
            source="data source selection by gradient",
        ),
    ]


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below > 0 else math.nan
