"""All open intervals of a round at once, against one call of the function and one decision a midpoint."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline

from overparam.numerics import autoknots as ak

TOL = 4e-8


def test_a_thousand_knots(compare):
    def ours():
        return ak.autoknots(ak.sigma_nfw, 1e-2, 1e2, rel_tol=TOL, variable="log").x

    def peer():
        return midpoint_by_midpoint(ak.sigma_nfw, 1e-2, 1e2)

    np.testing.assert_allclose(ours(), peer(), rtol=1e-12)
    assert 700 < len(ours()) < 1500
    compare(ours, peer, target=20)


def midpoint_by_midpoint(f, a, b):
    knots = np.geomspace(a, b, 6).tolist()
    values = [float(f(x)) for x in knots]
    settled = [False] * 5
    while not all(settled):
        spline = CubicSpline(knots, values)
        x, y, done = knots[:1], values[:1], []
        for i in range(len(settled)):
            passed = settled[i]
            if not passed:
                x0, x1, y0, y1 = knots[i], knots[i + 1], values[i], values[i + 1]
                xm = float(np.sqrt(x0 * x1))
                ym = float(f(xm))
                h = x1 - x0
                d = (xm - (x0 + x1) / 2) / (h / 2)
                integral = h / 6 * (y1 * (3 - 2 / (1 - d)) + y0 * (3 - 2 / (1 + d)) + 4 * ym / (1 - d * d))
                c = spline.c[:, i]
                predicted = sum(c[k] * h ** (4 - k) / (4 - k) for k in range(4))
                passed = abs(ym - spline(xm)) <= TOL * abs(ym) and abs(integral - predicted) <= TOL * abs(integral)
                x.append(xm)
                y.append(ym)
                done.append(passed)
            x.append(knots[i + 1])
            y.append(values[i + 1])
            done.append(passed)
        knots, values, settled = x, y, done
    return np.array(knots)
