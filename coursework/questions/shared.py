"""What the questions of several sets share: draws, edits, plans, sentences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bncheck.calls import Handle
from bncheck.form import Check, Proof
from bncheck.says import read
from bncheck.spec import Mistake, Right
from bncheck.spec import mistake as M

Array = NDArray[np.float64]
Rng = np.random.Generator
LARGE_MEAN = 1e8
BASIC = 1e-4  # forgives an eps in the wrong place; the eps check does not
LOOSE = 1e-5  # what rounding at a mean of 1e8, or in float32, leaves
TOLERANCE = {"eps": 1e-6, "gradients": 1e-6, "large mean": 10 * LOOSE}


def sentences(set_name: str, question: str) -> dict[str, Any]:
    """Read a question's sentences; its own win over those of the tables it is like."""
    own = read("coursework.questions", f"says/{set_name}.toml")
    tables = {**read("coursework.questions", "says/shared.toml"), **own}
    chosen = [*(tables[name] for name in own[question].get("like", ())), own[question]]
    merged: dict[str, dict[str, str]] = {"when": {}, "mistakes": {}}
    for table in chosen:
        for part, told in merged.items():
            told |= table.get(part, {})
    return {**own[question], **merged}


# --- draws ----------------------------------------------------------------------------


def batch(rng: Rng, n: int, d: int, spread: float = 2.0, offset: float = 1.0) -> Array:
    """Draw n rows of d features that differ in mean and spread; none is constant."""
    scale = spread * rng.uniform(0.5, 1.5, d)
    x = rng.normal(size=(n, d))
    x = (x - x.mean(0)) / x.std(0)
    return x * scale + offset * rng.uniform(1, 3, d) * rng.choice([-1, 1], d)


def parameters(rng: Rng, d: int) -> tuple[Array, Array]:
    """Draw gamma far from 1 and beta far from 0, all different."""
    gamma = rng.uniform(1.5, 3.5, d) * rng.choice([-1, 1], d)
    return gamma, rng.uniform(1, 3, d) * rng.choice([-1, 1], d)


def floor_between(x: Array) -> float:
    """Return a floor that holds for some features and not for others."""
    var = np.sort(x.var(0))
    middle = (len(var) + 1) // 2
    return float(np.sqrt(var[middle - 1] * var[middle]))


def ghost_size(rng: Rng, x: Array) -> int:
    """Draw how many rows a ghost batch of x has."""
    return int(rng.choice([3, 4])) if len(x) == 12 else 2


def row_weights(rng: Rng, x: Array) -> Array:
    """Draw a weight for each row of x; the first is 0."""
    return np.concatenate([[0.0], rng.uniform(0.2, 3, len(x))[1:]])


def large_eps(rng: Rng) -> float:
    """Draw an eps at which each mistake with it shows."""
    return rng.uniform(0.2, 0.6)


# --- edits that all normalizations share ----------------------------------------------


def spread_mistakes(var: str = "var", away: str = "away / std") -> list[Mistake]:
    """Return mistakes where a right function has np.sqrt(var + eps) and away / std."""
    root, centred = f"np.sqrt({var} + eps)", away.partition(" / ")[0]
    fixed = [
        M(f"eps-fixed-{n}", root, f"np.sqrt({var} + 1e-{n})", of="eps-fixed")
        for n in (8, 7, 6, 3)
    ]
    return [
        M("eps-outside-root", root, f"np.sqrt({var}) + eps"),
        M("no-eps", root, f"np.sqrt({var})"),
        M("eps-fixed", root, f"np.sqrt({var} + 1e-5)"),
        *fixed,
        M("eps-subtracted", root, f"np.sqrt({var} - eps)"),
        M("eps-squared", root, f"np.sqrt({var} + eps**2)"),
        M("eps-on-output", away, f"{centred} / np.sqrt({var}) + eps"),
        M("eps-root-outside", root, f"np.sqrt({var}) + np.sqrt(eps)"),
        M("eps-twice", root, f"np.sqrt({var} + eps) + eps"),
        M("variance-not-root", root, f"{var} + eps"),
        M("not-centred", away, away.replace(centred, "x")),
    ]


def affine_mistakes(x_hat: str = "x_hat") -> list[Mistake]:
    """Return mistakes where a right function has gamma * x_hat + beta."""
    right = f"gamma * {x_hat} + beta"
    return [
        M("no-gamma", right, f"{x_hat} + beta"),
        M("no-beta", right, f"gamma * {x_hat}"),
        M("no-affine", right, x_hat),
        M("shift-before-scale", right, f"gamma * ({x_hat} + beta)"),
        M("gamma-beta-swapped", right, f"beta * {x_hat} + gamma"),
    ]


def overwritten(*parameters: str) -> list[Mistake]:
    """Return mistakes that overwrite x, or parameters."""
    name = "input-overwritten"
    return [M(name), *(M(f"{name}-{k}", of=name) for k in parameters)]


def one_norm(*own: Mistake) -> list[Mistake]:
    """Return a question's own mistakes, and those of all normalizations."""
    named = {m.name for m in own}
    shared = [*spread_mistakes(), *affine_mistakes()]
    shared += [M("one-pass-variance"), *overwritten()]
    return [*own, *(m for m in shared if m.name not in named)]


# --- edits that all gradients share ---------------------------------------------------

DX, G = "(g - along_mean - along_var) / std", "gamma * dout"
DGAMMA, DBETA = "(dout * x_hat).sum(0)", "dout.sum(0)"


def gradient_mistakes(total: str = "{}.sum(0)") -> list[Mistake]:
    """Return mistakes in a backward function with standard names.

    ``total`` is how it sums over the m values of a statistic. It has x, mu, var, eps,
    m, share (``1 / m``), std, x_hat, and then

        g = gamma * dout
        along_mean = share * g.sum(0)
        along_var = share * x_hat * (g * x_hat).sum(0)
        dx = (g - along_mean - along_var) / std
        dgamma = (dout * x_hat).sum(0)
        dbeta = dout.sum(0)
    """
    mean, var = total.format("g"), f"x_hat * {total.format('(g * x_hat)')}"

    def std_mistakes(name: str, std: str) -> list[Mistake]:
        """Return another std in dx alone, in its x_hat too, in that of dgamma, too."""
        alone = f"(g - along_mean - along_var) / ({std})"
        inner = f"(g - along_mean - along_var * std**2 / ({std}) ** 2) / ({std})"
        start = f"std = {std}\nx_hat = (x - mu) / std\n"
        return [
            M(name, DX, alone),
            M(f"{name}-dx", DX, inner, of=name),
            M(f"{name}-all", f"g = {G}", f"{start}g = {G}", of=name),
        ]

    return [
        M("mean-path-missing", DX, "(g - along_var) / std", part=True),
        M("variance-path-missing", DX, "(g - along_mean) / std", part=True),
        M("statistics-constant", DX, "g / std", grave=True),
        M("no-gamma-in-dx", G, "dout"),
        M("gamma-squared-in-dx", G, "gamma**2 * dout"),
        M("direct-divided", DX, "(g / m - along_mean - along_var) / std"),
        M("mean-sum-not-divided", f"share * {mean}", mean),
        M("variance-sum-not-divided", f"share * {var}", var),
        M("rows-only", f"share * {mean}", "share * g",
          f"share * {var}", "share * x_hat * g * x_hat"),
        M("variance-half", DX, "(g - along_mean - along_var / 2) / std"),
        M("variance-twice", DX, "(g - along_mean - along_var * 2) / std"),
        M("sign-of-mean-path", DX, "(g + along_mean - along_var) / std"),
        M("sign-of-variance-path", DX, "(g - along_mean + along_var) / std"),
        M("minus-half-lost", DX, "(g - along_mean + along_var * 2) / std"),
        M("minus-half-turned", DX, "(g - along_mean + along_var / 2) / std",
          of="minus-half-lost"),
        *std_mistakes("no-eps-in-dx", "np.sqrt(var)"),
        *std_mistakes("eps-fixed-in-dx", "np.sqrt(var + 1e-5)"),
        *std_mistakes("eps-outside-in-dx", "np.sqrt(var) + eps"),
        M("variance-path-without-eps", DX,
          "(g - along_mean - along_var * (var + eps) / var) / std"),
        M("eps-missing-in-one-term", DX,
          "g / np.sqrt(var) - (along_mean + along_var) / std"),
        M("eps-missing-in-centred", DX,
          "(g - along_mean) / np.sqrt(var) - along_var / std",
          of="eps-missing-in-one-term"),
        M("eps-missing-in-mean-path", DX,
          "(g - along_var) / std - along_mean / np.sqrt(var)",
          of="eps-missing-in-one-term"),
        M("eps-missing-in-one-root", DX,
          "(g - along_mean - along_var * std / np.sqrt(var)) / std",
          of="eps-missing-in-one-term"),
        M("variance-path-power", DX, "(g - along_mean - along_var * std) / std"),
        M("variance-path-power-up", DX, "(g - along_mean - along_var / std) / std",
          of="variance-path-power"),
        *std_mistakes("sample-variance-in-dx", "np.sqrt(var * m / (m - 1) + eps)"),
        M("sample-variance-in-dx-no-eps", DX,
          "(g - along_mean - along_var) / np.sqrt(var * m / (m - 1))",
          of="sample-variance-in-dx"),
        M("std-lost-in-dx", DX, "g - along_mean - along_var"),
        M("divided-by-variance", DX, "(g - along_mean - along_var) / std**2"),
        M("dx-divided-by-N", DX, "(g - along_mean - along_var) / std / m"),
        M("dout-missing-in-dx", G, "gamma * np.ones_like(dout)", grave=True),
        M("dgamma-uses-x", DGAMMA, "(dout * x).sum(0)"),
        M("dgamma-uses-centred", DGAMMA, "(dout * (x - mu)).sum(0)"),
        M("dgamma-without-eps", DGAMMA, "(dout * (x - mu) / np.sqrt(var)).sum(0)"),
        M("dgamma-uses-out-scaled", DGAMMA, "(dout * gamma * x_hat).sum(0)",
          of="dgamma-uses-out"),
        M("dgamma-mean", DGAMMA, "(dout * x_hat).mean(0)"),
        M("dgamma-no-dout", DGAMMA, "x_hat.sum(0)", grave=True),
        M("dgamma-no-sum", DGAMMA, "dout * x_hat"),
        M("dbeta-mean", DBETA, "dout.mean(0)"),
        M("dbeta-no-sum", DBETA, "1 * dout"),
        M("dgamma-over-features", DGAMMA, "(dout * x_hat).sum(1)"),
        M("dbeta-over-features", DBETA, "dout.sum(1)"),
        M("dgamma-over-all", DGAMMA, "(dout * x_hat).sum()"),
        M("dbeta-over-all", DBETA, "dout.sum()"),
        M("dgamma-dbeta-swapped", "return dx, dgamma, dbeta",
          "return dx, dbeta, dgamma"),
        M("dout-overwritten"),
    ]  # fmt: skip


GRADIENT_SHARES = {"dx": 2 / 3, "dgamma": 1 / 6, "dbeta": 1 / 6}

# --- plans ----------------------------------------------------------------------------


def one_pass(
    right: Right, call: tuple, place: int, expect: dict[str, int]
) -> tuple[Proof, ...]:
    """Return what proves a variance in one pass, of a call with a large mean.

    Its error grows with the square of the mean: there is none at a mean of 10,000, and
    some at 1,000,000. A wrong eps is wrong at both, float32 at the first.
    """

    def at(mean: float, tol: float) -> Check:
        given, by = call[place], mean - LARGE_MEAN
        x = [part + by for part in given] if isinstance(given, list) else given + by
        moved = (*call[:place], x, *call[place + 1 :])
        return right.check("proof", 0.0, [moved], expect, tol)

    name = "one-pass-variance"
    return Proof(name, at(1e4, LOOSE), True), Proof(name, at(1e6, 1e-8), False)


DEFAULT = "default-eps"


def with_eps(right: Right, call: tuple, tol: float) -> tuple[Proof, ...]:
    """Return what proves another default of eps: with eps given all is right."""
    given = (*call[:-1], {**call[-1], "eps": 1e-5})
    check = right.check("proof", 0.0, [given], {"out": 0}, tol)
    return (Proof(DEFAULT, check, True),)


@dataclass(frozen=True)
class Norm:
    """A normalization, and the checks that all of them have.

    Attributes
    ----------
    right : Right
        Its functions; the first is the forward one.
    arguments : callable
        Makes the forward function's arguments of rng, x, gamma, beta and eps.
    draw : callable
        Draws x of a shape.
    """

    right: Right
    arguments: Callable[[Rng, Array, Array, Array, float | None], tuple]
    draw: Callable[..., Array] = batch

    def output(
        self,
        rng: Rng,
        category: str,
        points: float,
        shape: tuple[int, ...],
        eps: float | None = 1e-5,
        change: Callable[[Array], Any] | None = None,
    ) -> Check:
        """Look at the output; ``change`` spoils x in place."""
        call = self._forward(rng, category, shape, eps, change)
        tol = TOLERANCE.get(category, BASIC)
        proofs: tuple[Proof, ...] = ()
        if category == "large mean":
            proofs = one_pass(self.right, call, 1, {"out": 0})
        if eps is None and any(m.name == DEFAULT for m in self.right.mistakes):
            proofs += with_eps(self.right, call, tol)
        return self.right.check(
            category, points, [call], {"out": 0}, tol,
            whatever=tuple(dict.fromkeys(proof.name for proof in proofs)),
            proofs=proofs,
        )  # fmt: skip

    def kept(
        self, rng: Rng, points: float, shape: tuple[int, ...], eps: float | None,
        names: tuple[str, ...] = ("x",), category: str = "no mutation",
    ) -> Check:  # fmt: skip
        """Look at whether the forward function leaves its first arguments alone."""
        call = self._forward(rng, category, shape, eps)
        places = {name: f"arg{i}" for i, name in enumerate(names)}
        weak = {name: (f"input-overwritten-{name}",) for name in names}
        weak["x"] = ("input-overwritten",)
        return self.right.check(category, points, [call], places, 0.0, whatever=weak)

    def gradients(
        self,
        rng: Rng,
        category: str,
        points: float,
        shape: tuple[int, ...],
        eps: float | None = 1e-5,
        change: Callable[[Array], Any] | None = None,
        h: float = 1e-5,
    ) -> Check:
        """Look at what the second function makes of the first one's cache."""
        call = self._forward(rng, category, shape, eps, change)
        dout = rng.normal(size=shape) + 0.3
        calls = [call, (list(self.right.trees)[1], dout, Handle(0, 1))]
        single = category == "float32"
        weak = ("one-pass-variance",) if category == "large mean" else ()
        tol = 5 * BASIC if single else TOLERANCE.get(category, BASIC)
        return self.right.check(
            category, points, calls, {"dx": 0, "dgamma": 1, "dbeta": 2}, tol,
            forward=(0, h, LOOSE if single else 1e-7),
            shares=GRADIENT_SHARES,
            floor=1e-3 * float(np.abs(dout).max()),
            whatever={"out": weak},
        )  # fmt: skip

    def _forward(
        self,
        rng: Rng,
        category: str,
        shape: tuple[int, ...],
        eps: float | None,
        change: Callable[[Array], Any] | None = None,
    ) -> tuple:
        """Draw a call of the forward function."""
        x, (gamma, beta) = self.draw(rng, *shape), parameters(rng, shape[1])
        if category == "large mean":
            x = x + LARGE_MEAN
        if change:
            change(x)
        if category == "float32":
            single: list[Any] = [a.astype(np.float32) for a in (x, gamma, beta)]
            x, gamma, beta = single
        name = next(iter(self.right.trees))
        return (name, *self.arguments(rng, x, gamma, beta, eps))
