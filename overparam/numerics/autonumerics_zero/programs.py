"""Straight-line programs over x and constants: their values, derivatives, canonical form and text."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from overparam.core import checks

Instruction = tuple[str, int, int]

OPS = ("add", "sub", "mul", "div")
SYMBOL = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
APPLY = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}
#: A longer key of an expression is replaced by its hash, or repeated squaring would double it every time.
KEY_LENGTH = 64


@dataclass(frozen=True)
class Program:
    """Straight-line code whose last instruction is the output.

    Instruction k, counted from 1, is (op, a, b). Operand 0 is x, a positive operand j < k the result of instruction j,
    and -j the constant in slot j.

    Raises
    ------
    ValueError
        If there is no instruction, an operation is unknown, an operand refers to a result that is not there yet, or
        the constant slots in use are not 1 to C.
    """

    code: tuple[Instruction, ...]

    def __post_init__(self) -> None:
        if not self.code:
            raise ValueError(f"code must hold at least one instruction, got {self.code!r}")
        for k, (op, *operands) in enumerate(self.code, start=1):
            checks.one_of(OPS, op=op)
            for operand in operands:
                if operand >= k:
                    raise ValueError(f"operands of instruction {k} must refer to earlier ones, got {operand}")
        slots = sorted({-operand for operand in self._operands() if operand < 0})
        if slots != list(range(1, len(slots) + 1)):
            raise ValueError(f"constant slots must be 1 to C, got {slots}")

    def _operands(self) -> list[int]:
        return [operand for _, a, b in self.code for operand in (a, b)]

    @property
    def ops(self) -> int:
        """Its cost: the number of instructions."""
        return len(self.code)

    @cached_property
    def constants(self) -> int:
        """The number C of its constants."""
        return max(0, -min(self._operands()))


# --- Values and derivatives -------------------------------------------------------------------------------------


def evaluate(p: Program, x: Float[np.ndarray, "*batch n"], constants: ArrayLike) -> Float[np.ndarray, "*shape n"]:
    """The program's output, every operation in the precision of ``x``.

    Division by zero is legal inside: c/x at x = 0 is an infinity that a later operation may make finite.

    Parameters
    ----------
    p
        The program.
    x
        Arguments, shape (..., n).
    constants
        Shape (..., C); their leading axes broadcast against those of ``x``.

    Raises
    ------
    ValueError
        If the number of constants is not the program's.
    """
    x = np.asarray(x)
    c = np.asarray(constants, dtype=x.dtype)
    if c.ndim == 0 or c.shape[-1] != p.constants:
        raise ValueError(f"constants must number {p.constants} along the last axis, got shape {c.shape}")
    results = [x]
    with np.errstate(all="ignore"):
        for op, a, b in p.code:
            u, v = (results[j] if j >= 0 else c[..., -j - 1, None] for j in (a, b))
            results.append(APPLY[op](u, v))
    return np.broadcast_to(results[-1], np.broadcast_shapes(x.shape, (*c.shape[:-1], 1))).copy()


def evaluate_jac(
    p: Program, x: Float[np.ndarray, " n"], c: Float[np.ndarray, "r C"]
) -> tuple[Float[np.ndarray, "r n"], Float[np.ndarray, "r n C"]]:
    """Outputs for several vectors of constants, and their derivatives by the constants.

    Parameters
    ----------
    p
        The program.
    x
        Arguments.
    c
        One vector of constants a row.

    Raises
    ------
    ValueError
        If ``c`` is not a matrix with the program's number of columns.
    """
    if np.ndim(c) != 2 or np.shape(c)[1] != p.constants:
        raise ValueError(f"c must have {p.constants} columns, got shape {np.shape(c)}")
    with np.errstate(all="ignore"):
        values, slopes = dual(p, np.asarray(x, dtype=float), np.asarray(c, dtype=float))
    shape = len(c), p.constants, len(x)
    return np.broadcast_to(values, shape[::2]).copy(), np.broadcast_to(slopes, shape).swapaxes(1, 2).copy()


def dual(p: Program, x: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Forward mode: values and derivatives by the constants, of shapes that broadcast to (R, n) and (R, C, n).

    Each result carries both, with None for derivatives that are zero.
    """
    unit = np.eye(p.constants)[:, :, None]
    values, slopes = [x[None]], [None]
    for op, a, b in p.code:
        u, du = (values[a], slopes[a]) if a >= 0 else (c[:, -a - 1, None], unit[-a - 1])
        v, dv = (values[b], slopes[b]) if b >= 0 else (c[:, -b - 1, None], unit[-b - 1])
        value = APPLY[op](u, v)
        values.append(value)
        slopes.append(_slope(op, u[:, None], v[:, None], du, dv, value[:, None]))
    return values[-1], np.zeros((1, p.constants, 1)) if slopes[-1] is None else slopes[-1]


def _slope(op, u, v, du, dv, value):
    if op == "mul":
        du, dv = (None if du is None else du * v), (None if dv is None else u * dv)
    elif op == "div":
        du, dv = (None if du is None else du / v), (None if dv is None else value / v * dv)
    if dv is None:
        return du
    if op in ("add", "mul"):
        return dv if du is None else du + dv
    return -dv if du is None else du - dv


# --- Families with a name ---------------------------------------------------------------------------------------


def horner(degree: int) -> Program:
    """A polynomial in Horner's form, 2 operations a degree; its constants are the coefficients, highest first.

    Raises
    ------
    ValueError
        If the degree is below 1.
    """
    checks.integer(1, degree=degree)
    return Program(tuple(_horner(range(1, degree + 2), 0)))


def rational(n: int, m: int) -> Program:
    """A polynomial of degree n over a monic one of degree m, both in Horner's form: 2n + 2m operations.

    Its constants are the n + 1 coefficients of the numerator and the m of the denominator, each highest first.

    Raises
    ------
    ValueError
        If n is below 0 or m below 1.
    """
    checks.integer(0, n=n)
    checks.integer(1, m=m)
    top = _horner(range(1, n + 2), 0)
    below = [("add", 0, -(n + 2)), *_horner(range(n + 2, n + m + 2), len(top), start=len(top) + 1)]
    return Program((*top, *below, ("div", len(top) or -1, len(top) + len(below))))


def _horner(slots: range, before: int, start: int | None = None) -> list[Instruction]:
    """Multiply by x and add the next constant, for the slots after the first; ``start`` is the first one's result."""
    code: list[Instruction] = []
    last = -slots[0] if start is None else start
    offset = before + (start is not None)
    for slot in slots[1:]:
        code += [("mul", last, 0), ("add", offset + len(code) + 1, -slot)]
        last = offset + len(code)
    return code


# --- Canonical form ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Node:
    """An expression in which all constants look alike; ``key`` identifies it."""

    key: str
    op: str = ""
    children: tuple[_Node, ...] = ()


_X, _CONSTANT = _Node("x"), _Node("c")


def canonical(p: Program) -> Program | None:
    """The one program that stands for all that differ from ``p`` by algebra only; None if the output ignores x.

    Dead code is dropped and constants are merged wherever one can do the work of two. Expressions of the same form
    become one, be their constants different or not: a deliberate restriction of the search space.
    """
    nodes = [_X]
    for op, a, b in p.code:
        u, v = (nodes[j] if j >= 0 else _CONSTANT for j in (a, b))
        nodes.append(_simplified(op, u, v))
    return None if nodes[-1] is _CONSTANT else Program(_emit(nodes[-1]))


def signature(p: Program) -> str:
    """A text that two programs share exactly if they have the same canonical form."""
    form = canonical(p)
    return "constant" if form is None else "; ".join(f"{op} {a} {b}" for op, a, b in form.code)


def _simplified(op: str, a: _Node, b: _Node) -> _Node:
    if (a is _CONSTANT and b is _CONSTANT) or (op in ("sub", "div") and a.key == b.key):
        return _CONSTANT
    if b is _CONSTANT:  # r - c is r + c with another c, and r / c is r * c
        op = {"sub": "add", "div": "mul"}.get(op, op)
    if op in ("add", "mul"):
        a, b = sorted((a, b), key=lambda node: (node is not _CONSTANT, node.key))
        # c + (c + r), c + (c - r), c * (c * r), c * (c / r): the inner constant takes the outer one in.
        inverse = {"add": "sub", "mul": "div"}[op]
        if a is _CONSTANT and b.op in (op, inverse) and b.children[0] is _CONSTANT:
            return b
    key = f"({a.key}{SYMBOL[op]}{b.key})"
    if len(key) > KEY_LENGTH:
        key = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
    return _Node(key, op, (a, b))


def _emit(output: _Node) -> tuple[Instruction, ...]:
    """Instructions for every distinct node, operands first, each constant in a slot of its own."""
    code: list[Instruction] = []
    place = {_X.key: 0}
    slots = 0

    def visit(node: _Node) -> None:
        nonlocal slots
        if node.key in place or node is _CONSTANT:
            return
        for child in node.children:
            visit(child)
        operands = []
        for child in node.children:
            slots += child is _CONSTANT
            operands.append(-slots if child is _CONSTANT else place[child.key])
        code.append((node.op, operands[0], operands[1]))
        place[node.key] = len(code)

    visit(output)
    return tuple(code)


# --- Text -------------------------------------------------------------------------------------------------------


def to_string(p: Program, constants: Sequence[float] | Float[np.ndarray, " C"] | None = None) -> str:
    """The program as a formula in x, with ``^2`` for a result times itself.

    Parameters
    ----------
    p
        The program.
    constants
        Their values, written with six digits; by default their names c1, c2 and so on.

    Raises
    ------
    ValueError
        If their number is not the program's.
    """
    if constants is not None and len(constants) != p.constants:
        raise ValueError(f"constants must number {p.constants}, got {len(constants)}")
    names = [f"c{k}" if constants is None else f"{constants[k - 1]:.6g}" for k in range(1, p.constants + 1)]
    atoms = [f"({name})" if name.startswith("-") else name for name in names]
    texts = [("x", 3.0)]  # and how tightly the outermost operation binds
    for op, a, b in p.code:
        left, right = (texts[j] if j >= 0 else (atoms[-j - 1], 3.0) for j in (a, b))
        if op == "mul" and a == b:
            texts.append((f"{_bracketed(left, 3)}^2", 2.5))
            continue
        level = 1 if op in ("add", "sub") else 2
        stricter = level + (0.1 if op in ("sub", "div") else 0)
        sign = f" {SYMBOL[op]} " if level == 1 else SYMBOL[op]
        texts.append((f"{_bracketed(left, level)}{sign}{_bracketed(right, stricter)}", level))
    return texts[-1][0]


def _bracketed(text: tuple[str, float], level: float) -> str:
    return text[0] if text[1] >= level else f"({text[0]})"
