"""The form of the conventions page says what bnlib.conventions.convert says.

The shipped script runs without a browser, in QuickJS, on the texts that a reader would
type; `convert` gets the same. Where there is a browser, the form itself is tried.
"""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import quickjs
from browsing import require_browser

from bnlib.conventions import CONVENTIONS, SENTENCES, convert
from frameworks import pages

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = (ROOT / "_static" / "convert.js").read_text("utf-8")
PAIRS = list(itertools.product(CONVENTIONS, CONVENTIONS))
MOMENTUM = {"new": "0.2", "old": "0.8", "time constant": "50"}
# What the form cannot be told: it always knows `fused`, and reads no list of settings.
ONLY_IN_PYTHON = {"fused", "center and scale", "renorm"}


def texts(source, **change):
    """Return what stands in the form: a layer that was trained, in its own words."""
    c = CONVENTIONS[source]
    usual = {
        "momentum": MOMENTUM[c.weighs],
        "eps": "0.01",
        "samples": "12",
        "positions": "5",
        "count": "48" if c.count_unit == "samples" else "4",
        "factor": "5",  # of an average that has settled, with 0.8
        "variance": "1.7",
    }
    truths = {"gamma": True, "beta": True, "keep": False, "fused": False}
    return {**usual, **truths, **change}


# Each is tried for every pair: what is written, and what is known.
GIVEN = {
    "usual": {},
    "keep": {"keep": True},
    "fused kernel": {"fused": True},
    "no batch": {"samples": ""},
    "no batch, keep": {"samples": "", "positions": "", "keep": True},
    "no count": {"count": ""},
    "no count, keep": {"count": "", "keep": True},
    "nothing known, keep": {"count": "", "samples": "", "keep": True},
    "nothing seen": {"count": "0", "factor": "0"},
    "nothing seen, keep": {"count": "0", "factor": "0", "keep": True},
    "vectors": {"positions": "1"},
    "one value": {"samples": "1", "positions": "1"},
    "none in a batch": {"samples": "0"},
    "half an example": {"samples": "1.5"},
    "half a position": {"positions": "2.5"},
    "negative count": {"count": "-1"},
    "half a count": {"count": "2.5"},
    "count nan": {"count": "nan"},
    "many": {"count": "1000000"},
    "infinite variance": {"variance": "inf"},
    "variance nan": {"variance": "nan"},
    "no variance": {"variance": ""},
    "negative variance": {"variance": "-0.5"},
    "variance of nothing": {"variance": "0"},
    "variance with a comma": {"variance": "1,5"},
    "small variance": {"variance": "1e-7"},
    "young factor": {"factor": "2.44"},
    "whole factor": {"factor": "3"},
    "negative factor": {"factor": "-3"},
    "factor nan": {"factor": "nan"},
    "no factor": {"factor": ""},
    "eps 0": {"eps": "0"},
    "small eps": {"eps": "1e-6"},
    "negative eps": {"eps": "-0.01"},
    "infinite eps": {"eps": "inf"},
    "eps with a comma": {"eps": "0,01"},
    "no momentum": {"momentum": ""},
    "momentum None": {"momentum": "None"},
    "momentum with a comma": {"momentum": "0,1"},
    "momentum in words": {"momentum": "a tenth"},
    "momentum nan": {"momentum": "nan"},
    "momentum 0": {"momentum": "0"},
    "momentum 1": {"momentum": "1"},
    "momentum 1, keep": {"momentum": "1", "keep": True},
    "momentum 0, keep": {"momentum": "0", "keep": True},
    "average of all": {"momentum": "1", "factor": "3.5"},
    "average of all, no count": {"momentum": "None", "count": ""},
    "negative momentum": {"momentum": "-1"},
    "large momentum": {"momentum": "5"},
    "infinite momentum": {"momentum": "inf"},
    "no gamma": {"gamma": False},
    "no beta": {"beta": False},
    "neither": {"gamma": False, "beta": False},
}


def number(text):
    """Return a number where there is one: Python's users do not write texts."""
    try:
        return float(text)
    except ValueError:
        return text


def by_python(source, target, given):
    """Convert a layer of two channels, and return what the script returns."""
    src, dst = CONVENTIONS[source], CONVENTIONS[target]
    value, names = number(given["variance"]), src.names
    state = {names["running_mean"]: np.ones(2), names["running_var"]: [value] * 2}
    for role, has in (("weight", given["gamma"]), ("bias", given["beta"])):
        if has:
            state[names[role]] = np.ones(2)
    if "factor" in names:
        state[names["factor"]] = [number(given["factor"])]
    known = {
        "fused": given["fused"],
        "variance": "keep" if given["keep"] else "translate",
    }
    if given["count"] and "count" in names:
        state[names["count"]] = number(given["count"])
    elif given["count"]:
        known["updates"] = number(given["count"])
    if given["samples"] and given["positions"]:
        shape = [number(given["samples"]), number(given["positions"])]
        shape.insert(1 if src.axis == 1 else 2, 2)
        known["batch_shape"] = shape
    momentum = None if given["momentum"] == "None" else number(given["momentum"])
    settings = {src.momentum_name: momentum, src.eps_name: number(given["eps"])}
    try:
        new = convert(state, settings, source, target, **known)
    except ValueError as why:
        return {"problem": str(why)}
    found = {
        "momentum": new.settings[dst.momentum_name],
        "eps": new.settings[dst.eps_name],
        "axis": new.settings["axis"],
        "moveaxis": list(new.moveaxis) if new.moveaxis else None,
        "mean": new.state[dst.names["running_mean"]][1],
        "variance": new.state[dst.names["running_var"]][1],
        "parameters": [dst.names[r] in new.state for r in ("weight", "bias")],
        "notes": list(new.notes),
    }
    for role in ("count", "factor"):
        if role in dst.names:
            found[role] = new.state[dst.names[role]].item()
    return found


@pytest.fixture(scope="module")
def script():
    """Return a function that runs the script of the page on the data of the page."""
    context = quickjs.Context()
    context.eval(SCRIPT)
    context.eval(f"const data = {json.dumps(pages.form_data())}")
    context.eval(
        """function run(source, target, given) {
            const r = bnConvert(data, source, target, JSON.parse(given));
            const numbers = (_, x) => (x === Infinity ? "inf" : x);
            return JSON.stringify(r, numbers);
        }"""
    )
    run = context.get("run")

    def by_script(source, target, given):
        r = json.loads(run(source, target, json.dumps(given)))
        if "problem" in r:
            return r
        has = {"weight": given["gamma"], "bias": given["beta"]}
        r["parameters"] = [has[role] or role in r["filled"] for role in has]
        # What the page says of other variances must be true as well.
        line = r.pop("slope") * float(given["variance"]) + r.pop("offset")
        assert line == pytest.approx(r["variance"], rel=1e-12, abs=1e-15)
        r["momentum"] = {"None": None, "inf": np.inf}.get(r["momentum"], r["momentum"])
        return {key: r[key] for key in r if key not in ("missing", "filled")}

    return by_script


def assert_agree(ours, theirs):
    """Compare numbers to rounding, and everything else exactly."""
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        if isinstance(value, float):
            assert theirs[key] == pytest.approx(value, rel=1e-9, abs=1e-15), key
        else:
            assert theirs[key] == value, key


@pytest.mark.parametrize("name", GIVEN)
def test_script_and_convert_agree(script, name):
    for source, target in PAIRS:
        given = texts(source, **GIVEN[name])
        ours = by_python(source, target, given)
        assert_agree(ours, script(source, target, given))


def test_every_sentence_is_said_by_both(script):
    """One table: no sentence of it is dead, and nothing else is said."""
    patterns = {
        key: re.sub(r"\\\{\w+\\\}", ".+", re.escape(text))
        for key, text in SENTENCES.items()
    }
    said = set()
    for (source, target), change in itertools.product(PAIRS, GIVEN.values()):
        r = script(source, target, texts(source, **change))
        sentences = [r["problem"]] if "problem" in r else r["notes"]
        for sentence in sentences:
            keys = {k for k, p in patterns.items() if re.fullmatch(p, sentence)}
            assert len(keys) == 1, (sentence, keys)
            said |= keys
    assert said == set(SENTENCES) - ONLY_IN_PYTHON


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-5, "1e-05"), (0.0001, "0.0001"), (5000.0, "5000"), (569.4749, "569.475"),
     (999999.0, "999999"), (1e6, "1e+06"), (123456.7, "123457"), (0.1 + 0.2, "0.3"),
     (2.5e-11, "2.5e-11"), (1e-100, "1e-100")],
)  # fmt: skip
def test_numbers_are_written_as_python_writes_them(script, value, text):
    assert f"{value:.6g}" == text
    r = script("pytorch", "keras", texts("pytorch", eps=repr(-value)))
    assert r["problem"] == f"eps must be a number from 0 on, got -{text}."


def test_data_is_json_of_every_convention():
    text = pages.form()
    found = json.loads(text.split('json">')[1].split("</script>")[0])
    assert found["conventions"].keys() == CONVENTIONS.keys()
    assert found["sentences"] == dict(SENTENCES)
    assert "http" not in text


# --- the form in a browser ------------------------------------------------------------


@pytest.fixture(scope="module")
def page():
    """Return a page with the form and its script, in a headless browser."""
    path = require_browser()
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.set_content(f"<script>{SCRIPT}</script>{pages.form()}")
        yield page
        browser.close()


def fill(page, source, target, **fields):
    """Choose two conventions, fill in fields, and return what the form says."""
    page.select_option("select[name=source]", source)
    page.select_option("select[name=target]", target)
    page.select_option("select[name=purpose]", fields.pop("purpose", "translate"))
    for name, value in {"samples": "60", "positions": "1", **fields}.items():
        page.fill(f"input[name={name}]", value)
    return page.inner_text("output")


def test_form_shows_the_translation(page):
    shown = fill(page, "keras", "pytorch", count="5000")
    assert "momentum = 0.01" in shown
    assert "moving_variance" in shown
    assert "multiply by 1.01695" in shown  # 60 / 59
    assert "num_batches_tracked = 5000" in shown
    assert "measured: 3.15.1" in shown
    assert "measured: 2.13.0" in shown
    kept = fill(page, "keras", "pytorch", count="5000", purpose="keep")
    assert "multiply" not in kept


def test_form_counts_in_the_units_of_each(page):
    shown = fill(page, "pytorch", "cntk", count="400")
    assert "num_batches_tracked = 400" in shown
    assert "aggregate_count = 24000" in shown


def test_form_translates_the_variance_of_a_young_layer(page):
    shown = fill(page, "mlx_before", "pytorch", count="1", variance="3.4", samples="4")
    assert "running_var = 4.23333" in shown
    assert "multiply by 1.33333 and subtract 0.3" in shown


def test_form_shows_a_field_where_it_has_a_meaning(page):
    for pair, factor, fused in (
        (("keras", "pytorch"), False, False),
        (("caffe", "pytorch"), True, False),
        (("pytorch", "caffe"), False, False),
        (("tf1", "pytorch"), False, True),
        (("pytorch", "tf1"), False, True),
    ):
        fill(page, *pair)
        assert page.is_visible("input[name=factor]") == factor
        assert page.is_visible("input[name=fused]") == fused
    assert "bn[2] = 1000" in fill(page, "keras", "caffe", momentum="0.999")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"momentum": "2"}, "momentum must be a number from 0 to 1, got 2."),
        ({"momentum": "0,1"}, "decimal point, 0.1 instead of 0,1."),
        ({"eps": "x"}, "epsilon must be a number, got x."),
        ({"samples": "1.5"}, "examples in a batch must be a whole number from 1 on"),
        ({"samples": "1"}, "A variance needs two values per channel"),
        ({"count": ""}, "needs the number of updates (updates), for its counter."),
    ],
)
def test_form_says_what_is_wrong(page, fields, words):
    page.select_option("select[name=source]", "flax")  # the defaults come back
    assert words in fill(page, "keras", "pytorch", **{"count": "9", **fields})
