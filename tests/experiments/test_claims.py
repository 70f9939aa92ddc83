"""Rules and their words, and questions to a table."""

import numpy as np
import pytest

from experiments.claims import (
    Claim,
    all_or_some,
    all_together,
    at_last_step,
    best_of,
    first_reached,
    mean_between,
    means_of,
    median_at_least,
    medians_at_least,
    ratio,
    rows_where,
    seeds_in_words,
    spread,
)

TABLE = {
    "norm": np.array(["none"] * 4 + ["batch"] * 4),
    "seed": np.array([0.0, 0, 1, 1, 0, 0, 1, 1]),
    "step": np.array([10.0, 20] * 4),
    "accuracy": np.array([0.1, 0.9, 0.2, 0.3, 0.95, 0.8, 0.9, 0.91]),
}


@pytest.mark.parametrize(
    ("median", "verdict"),
    [
        (5.0, "reproduced"),
        (4.99, "partly"),
        (2.0, "partly"),
        (1.99, "not at this size"),
    ],
)
def test_a_median_is_judged_by_two_thresholds(median, verdict):
    judged = median_at_least(np.array([0.0, median, 100.0]), 5, 2)
    assert judged.verdict == verdict
    assert "5 is reproduced" in judged.rule
    assert "at least 2 partly" in judged.rule


def test_several_medians_are_judged_by_one_threshold():
    high, low = np.array([1.0, 2.0, 9.0]), np.array([1.0, 1.9, 9.0])
    for values, verdict in (
        ({"80 %": high, "90 %": high}, "reproduced"),
        ({"80 %": high, "90 %": low}, "partly"),
        ({"80 %": low, "90 %": low}, "not at this size"),
    ):
        judged = medians_at_least(values, 2, "the ratio")
        assert judged.verdict == verdict
        assert "the median of the ratio is at least 2 at 80 %, 90 %" in judged.rule


def test_facts_are_judged_together():
    facts = {"a gains more than 1": True, "b loses less than 2": False}
    assert all_or_some(facts).verdict == "partly"
    assert all_together(facts).verdict == "not at this size"
    assert all_or_some(dict.fromkeys(facts, True)).verdict == "reproduced"
    assert all_together(dict.fromkeys(facts, True)).verdict == "reproduced"
    assert all_or_some(dict.fromkeys(facts, False)).verdict == "not at this size"
    for rule in (all_or_some(facts).rule, all_together(facts).rule):
        assert all(fact in rule for fact in facts)


def test_a_spread_is_median_and_range():
    assert spread(np.array([3.0, 1.0, 2000.0])) == "3 (1 to 2,000)"
    assert spread(np.array([1.25, 1.0, np.inf]), 1) == "1.2 (1.0 to never)"


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        ((0, 1, 2, 3), "seeds 0 to 3"),
        ((100, 101), "seeds 100, 101"),
        ((3, 1, 9), "seeds 3, 1, 9"),
    ],
)
def test_seeds_in_words(seeds, words):
    assert seeds_in_words(seeds) == words


def test_a_claim_says_what_kind_of_sentence_it_is():
    judged = median_at_least(np.array([1.0]), 5, 2)
    claim = Claim("c", "s", "here", "1", judged, "ch-x", (0, 1, 2))
    assert claim.kind == "measured here, seeds 0 to 2"
    assert (claim.verdict, claim.rule) == judged


def test_rows_are_chosen_by_values():
    own = rows_where(TABLE, norm="batch", seed=1)
    assert own["accuracy"].tolist() == [0.9, 0.91]


def test_the_first_step_at_a_threshold():
    assert first_reached(TABLE, 0.9, norm="none").tolist() == [20, np.inf]
    assert first_reached(TABLE, 0.9, norm="batch").tolist() == [10, 10]


def test_the_last_value_of_each_seed():
    assert at_last_step(TABLE, "accuracy", norm="none").tolist() == [0.9, 0.3]


def test_a_mean_over_steps_knows_that_they_are_uneven():
    curve = {"seed": np.zeros(4), "step": np.array([0.0, 10, 100, 200])}
    curve["accuracy"] = np.array([0.0, 1.0, 1.0, 9.0])
    assert mean_between(curve, 0, 100).tolist() == [0.95]
    assert mean_between(curve, 10, 100).tolist() == [1.0]


def test_a_ratio_of_steps_knows_what_never_means():
    slow, fast = np.array([20, np.inf, 20, np.inf]), np.array([10, 10, np.inf, np.inf])
    assert ratio(slow, fast).tolist() == [2, np.inf, 0, 1]


def test_the_best_setting_has_the_best_mean_and_ties_go_to_the_smaller():
    tuning = {
        "arm": np.array(["a", "a", "a", "a", "b", "b"]),
        "lr": np.array([1.0, 0.1, 0.1, 1.0, 0.1, 1.0]),
        "dose": np.array([0, 0, 2, 2, 0, 2]),
        "accuracy": np.array([0.5, 0.25, 0.75, 0.5, 0.25, 0.75]),
    }
    assert means_of(tuning, "lr", arm="a") == {0.1: 0.5, 1.0: 0.5}
    assert best_of(tuning, "lr", arm="a") == 0.1
    assert best_of(tuning, "lr", arm="b") == 1.0
    assert best_of(tuning, "lr", "dose", arm="a") == (0.1, 2)
    assert best_of(tuning, "lr", column="dose", arm="b") == 1.0
