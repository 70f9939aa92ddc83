"""What every experiment shares: claims, verdict rules, spreads, questions to a table.

A verdict is never typed: a rule makes it from numbers, and says in words what it asks,
with its thresholds, so that a page can print both side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

REPRODUCED, PARTLY, NOT_HERE = "reproduced", "partly", "not at this size"
VERDICTS = (REPRODUCED, PARTLY, NOT_HERE)
Table = dict[str, np.ndarray]


class Verdict(NamedTuple):
    """What a rule makes of numbers, and what it asks of them, in words."""

    verdict: str
    rule: str


class Claim(NamedTuple):
    """A row of the claims ledger.

    Attributes
    ----------
    claim : str
        One sentence.
    source : str
        Citation keys, or words, separated by semicolons.
    setting : str
        What was run.
    effect : str
        The numbers: median and range over the seeds.
    judged : Verdict
        Verdict and rule.
    chapter : str
        Label of the chapter that shows it.
    seeds : tuple of int
        The seeds behind the numbers.
    """

    claim: str
    source: str
    setting: str
    effect: str
    judged: Verdict
    chapter: str
    seeds: tuple[int, ...]

    @property
    def verdict(self) -> str:
        """The verdict alone."""
        return self.judged.verdict

    @property
    def rule(self) -> str:
        """What the verdict's rule asks."""
        return self.judged.rule

    @property
    def kind(self) -> str:
        """What kind of sentence the claim has become."""
        return f"measured here, {seeds_in_words(self.seeds)}"


# --- rules ----------------------------------------------------------------------------


def median_at_least(
    values: np.ndarray, full: float, part: float, of: str = "the ratio"
) -> Verdict:
    """Judge a median over the seeds by two thresholds."""
    median = float(np.median(values))
    verdict = REPRODUCED if median >= full else PARTLY if median >= part else NOT_HERE
    rule = f"the median of {of}: at least {full:g} is {REPRODUCED}, at least {part:g} "
    return Verdict(verdict, f"{rule}{PARTLY}, less {NOT_HERE}")


def medians_at_least(
    values: Mapping[str, np.ndarray], least: float, of: str, at: str = "at"
) -> Verdict:
    """Judge several medians over the seeds by one threshold; their names say where."""
    reached = [float(np.median(v)) >= least for v in values.values()]
    verdict = REPRODUCED if all(reached) else PARTLY if any(reached) else NOT_HERE
    where = ", ".join(values)
    rule = f"the median of {of} is at least {least:g} {at} {where}: all of them is "
    return Verdict(verdict, f"{rule}{REPRODUCED}, some {PARTLY}, none {NOT_HERE}")


def all_or_some(facts: Mapping[str, bool], where: str = "in every seed ") -> Verdict:
    """Judge by facts that hold in every seed or not; their names say what is asked."""
    verdict = NOT_HERE
    if any(facts.values()):
        verdict = REPRODUCED if all(facts.values()) else PARTLY
    asked = "; ".join(facts)
    more = f" (some of them: {PARTLY})" if len(facts) > 1 else ""
    return Verdict(verdict, f"{REPRODUCED} if {where}{asked}{more}")


def all_together(facts: Mapping[str, bool]) -> Verdict:
    """Judge by facts that must all hold: some of them are not enough."""
    rule = f"{REPRODUCED} if in every seed {' and '.join(facts)}; else {NOT_HERE}"
    return Verdict(REPRODUCED if all(facts.values()) else NOT_HERE, rule)


# --- words ----------------------------------------------------------------------------


def spread(values: np.ndarray, digits: int = 0) -> str:
    """Write the median and the range over the seeds; what is infinite is 'never'."""
    numbers = (np.median(values), np.min(values), np.max(values))
    words = [f"{v:,.{digits}f}" if np.isfinite(v) else "never" for v in numbers]
    return "{} ({} to {})".format(*words)


def seeds_in_words(seeds: Sequence[int]) -> str:
    """Write 'seeds 0 to 4', or their list."""
    first, last = min(seeds), max(seeds)
    if len(seeds) > 2 and sorted(seeds) == list(range(first, last + 1)):
        return f"seeds {first} to {last}"
    return f"seeds {', '.join(map(str, seeds))}"


# --- questions to a table -------------------------------------------------------------


def rows_where(table: Table, **wanted: object) -> Table:
    """Return the rows in which columns have the wanted values."""
    own = np.ones(len(next(iter(table.values()))), bool)
    for column, value in wanted.items():
        own &= table[column] == value
    return {name: values[own] for name, values in table.items()}


def means_of(
    table: Table, *names: str, column: str = "accuracy", **wanted: object
) -> dict[Any, float]:
    """Return the mean of a column for each setting, the settings in rising order.

    Parameters
    ----------
    table : dict of str to ndarray
        A table of tuning runs.
    *names : str
        The columns that make a setting: with one, a key is its value; with more, a
        tuple of values.
    column : str
        Which column is averaged.
    **wanted
        Values of other columns, as in `rows_where`.
    """
    own = rows_where(table, **wanted)
    rows = [*zip(*(own[name].tolist() for name in names), strict=True)]
    settings = sorted(set(rows))
    picked = {s: [row == s for row in rows] for s in settings}
    return {
        s if len(names) > 1 else s[0]: float(own[column][picked[s]].mean())
        for s in settings
    }


def best_of(
    table: Table, *names: str, column: str = "accuracy", **wanted: object
) -> Any:
    """Return the setting with the best mean of a column; ties: the smaller one.

    The arguments are those of `means_of`.
    """
    means = means_of(table, *names, column=column, **wanted)
    return max(means, key=means.__getitem__)


def first_reached(
    table: Table, share: float, column: str = "accuracy", **wanted: object
) -> np.ndarray:
    """Return for each seed the first stored step at which a column reaches a share.

    Parameters
    ----------
    table : dict of str to ndarray
        With the columns ``seed``, ``step`` and the one that is asked for.
    share : float
        The threshold, in the column's unit.
    column : str
        Which column.
    **wanted
        Values of other columns, as in `rows_where`.

    Returns
    -------
    steps : ndarray of shape (seeds,)
        inf where it was not reached; seeds in increasing order.
    """
    own = rows_where(table, **wanted)
    reached = own[column] >= share
    return np.array(
        [
            min(own["step"][reached & (own["seed"] == seed)], default=np.inf)
            for seed in np.unique(own["seed"])
        ]
    )


def at_last_step(table: Table, column: str, **wanted: object) -> np.ndarray:
    """Return for each seed the value of a column at the last stored step."""
    own = rows_where(table, **wanted)
    return own[column][own["step"] == table["step"].max()]


def mean_between(
    table: Table, first: float, last: float, column: str = "accuracy"
) -> np.ndarray:
    """Return for each seed the mean of a column over steps, by the trapezoid rule.

    Steps may be unevenly spaced: a straight line joins neighbours. ``first`` and
    ``last`` are included.
    """
    inside = (table["step"] >= first) & (table["step"] <= last)
    own = {name: values[inside] for name, values in table.items()}
    means = []
    for seed in np.unique(own["seed"]):
        one = rows_where(own, seed=seed)
        step = one["step"]
        means.append(np.trapezoid(one[column], step) / (step[-1] - step[0]))
    return np.array(means)


def ratio(slow: np.ndarray, fast: np.ndarray) -> np.ndarray:
    """Divide steps by steps; never (inf) against never is 1."""
    both = np.isinf(slow) & np.isinf(fast)
    return np.where(both, 1.0, slow / np.where(both, 1.0, fast))
