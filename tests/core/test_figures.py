"""The palette by the formulas of WCAG and CSS, and figures that leave the user's settings and their bytes alone."""

from __future__ import annotations

import itertools
import re

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex, to_rgb

from overparam.core import figures
from tests.conftest import ROOT

WHITE = np.ones(3)


def linear(color):
    """Linear light from sRGB (IEC 61966-2-1)."""
    color = np.asarray(color)
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """Contrast ratio of WCAG 2.1."""
    light, dark = sorted((float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def dark_mode(color):
    """What the book's stylesheet makes of a colour: the filter functions of CSS, in sRGB and clamped one by one."""
    css = (ROOT / "book" / "_static" / "book.css").read_text()
    amount, degrees = map(float, re.search(r"filter: invert\(([\d.]+)\) hue-rotate\((\d+)deg\)", css).groups())
    inverted = np.clip(amount - np.asarray(color) * (2 * amount - 1), 0, 1)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    weights = np.array([0.213, 0.715, 0.072])
    rotation = (
        np.tile(weights, (3, 1))
        + c * (np.eye(3) - weights)
        + s * np.array([[-0.213, -0.715, 0.928], [0.143, 0.140, -0.283], [-0.787, 0.715, 0.072]])
    )
    return np.clip(rotation @ inverted, 0, 1)


def test_the_formulas_give_the_known_values():
    assert contrast(WHITE, (0, 0, 0)) == pytest.approx(21)
    assert contrast(WHITE, to_rgb("#767676")) == pytest.approx(4.54, abs=0.005)  # the usual example
    assert to_hex(dark_mode(WHITE)) == "#141414"
    assert to_hex(dark_mode((0, 0, 0))) == "#ebebeb"


@pytest.mark.parametrize("color", figures.PALETTE)
def test_every_colour_stands_out_on_white_and_in_dark_mode(color):
    assert contrast(to_rgb(color), WHITE) >= 3
    assert contrast(dark_mode(to_rgb(color)), dark_mode(WHITE)) >= 3


# Severe protanopia, deuteranopia and tritanopia, on linear light (Machado, Oliveira & Fernandes 2009, table 1).
VISIONS = {
    "full colour": np.eye(3),
    "no red cones": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green cones": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue cones": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def lab(light):
    """CIELAB, D65, from linear sRGB."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ light
    f = xyz / [0.9505, 1.0, 1.089]
    f = np.where(f > (6 / 29) ** 3, np.cbrt(f), f / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISIONS)
def test_readers_with_any_colour_vision_tell_the_colours_apart(vision):
    seen = [lab(np.clip(VISIONS[vision] @ linear(to_rgb(color)), 0, 1)) for color in figures.PALETTE]
    closest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
    assert closest > 10  # about 2.3 is just noticeable


def test_no_figure_relies_on_colour_alone():
    assert len(set(figures.MARKERS)) == len(figures.MARKERS) == len(set(figures.PALETTE)) == len(figures.PALETTE)


# --- The style --------------------------------------------------------------------------------------------------


@pytest.fixture
def users_own_style():
    with matplotlib.rc_context({"font.size": 23.0, "axes.grid": False, "savefig.dpi": 33}):
        yield


@figures.styled
def wavy(points=20, fail=False):
    """A drawing."""
    figure, axes = figures.new(height=2)
    if fail:
        raise RuntimeError("no ink")
    x = np.linspace(0, 1, points)
    axes.plot(x, np.sin(x))
    figures.band(axes, x, x - 0.1, x + 0.1, figures.PALETTE[1])
    figures.label_line(axes, 0.5, 0.5, "sine", figures.PALETTE[0], ha="right")
    axes.set_xlabel("time [s]")
    return figure


@pytest.mark.parametrize("fail", [False, True])
def test_a_styled_drawing_has_the_books_style_and_leaves_the_users_alone(users_own_style, fail):
    before = dict(matplotlib.rcParams)
    if fail:
        with pytest.raises(RuntimeError, match="no ink"):
            wavy(fail=True)
    else:
        axes = wavy().axes[0]
        assert axes.xaxis.label.get_size() == figures.STYLE["axes.labelsize"]
        assert axes.lines[0].get_color() == figures.PALETTE[0]
        assert not axes.spines["top"].get_visible()
    assert dict(matplotlib.rcParams) == before
    assert (wavy.__name__, wavy.__doc__) == ("wavy", "A drawing.")


def test_a_figure_has_the_texts_width_and_its_axes_and_pyplot_does_not_know_it():
    figure, axes = figures.new(3, 2, height=4, sharex=True)
    assert tuple(figure.get_size_inches()) == (figures.WIDTH, 4)
    assert axes.shape == (2, 3)
    assert axes[0, 0].get_shared_x_axes().joined(axes[0, 0], axes[1, 2])
    assert plt.get_fignums() == []


def test_a_line_is_labelled_in_its_colour_beside_its_point_and_a_band_spans_low_to_high():
    axes = wavy().axes[0]
    (label,) = axes.texts
    assert (label.get_text(), label.get_color(), label.xy) == ("sine", figures.PALETTE[0], (0.5, 0.5))
    assert label.get_ha() == "right"
    (spread,) = axes.collections
    vertices = spread.get_paths()[0].vertices
    assert {-0.1, 0.1} <= set(vertices[vertices[:, 0] == 0, 1])
    assert to_hex(spread.get_facecolor()[0]) == figures.PALETTE[1]


def test_a_figure_saved_twice_has_the_same_bytes_whatever_the_users_settings(tmp_path, users_own_style):
    paths = figures.save(wavy(), tmp_path / "new" / "folder", "plot")
    assert [path.name for path in paths] == ["plot.png", "plot.svg"]
    png, svg = (path.read_bytes() for path in paths)
    with matplotlib.rc_context({"svg.hashsalt": "other", "savefig.dpi": 50}):
        again = figures.save(wavy(), tmp_path / "again", "plot")
    assert [path.read_bytes() for path in again] == [png, svg]
    assert png.startswith(b"\x89PNG")
    assert int.from_bytes(png[16:20], "big") == round(figures.WIDTH * figures.STYLE["savefig.dpi"])
    assert b"<svg" in svg
    assert b"dc:date" not in svg
