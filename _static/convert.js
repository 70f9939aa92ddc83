/* The converter of the conventions page: bnlib.conventions.convert for one channel.
   Its table, its sentences and its reasons come with the page, from that module;
   tests/frameworks/test_form.py holds the two against each other, refusals included. */
(function () {
  "use strict";

  const PARAMETERS = { weight: 1, bias: 0 };  // 1 and 0: what a layer without them has
  const SETTLED = 1e-3;

  // --- numbers, as Python reads and writes them ---------------------------------------

  function parse(text) {
    const given = String(text).trim().toLowerCase();
    if (/^[+-]?inf(inity)?$/.test(given)) return given[0] === "-" ? -Infinity : Infinity;
    return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/.test(given) ? Number(given) : NaN;
  }

  // Six digits, like Python's format "g"; words that are no number stay as they are.
  function shown(value) {
    const x = typeof value === "number" ? value : parse(value);
    if (Number.isNaN(x)) return String(value).trim() || "nothing";
    if (!Number.isFinite(x)) return x > 0 ? "inf" : "-inf";
    const [digits, power] = x.toExponential(5).split("e");
    if (x === 0 || (power >= -4 && power < 6)) return String(Number(x.toPrecision(6)));
    const size = String(Math.abs(power)).padStart(2, "0");
    return `${Number(digits)}e${power < 0 ? "-" : "+"}${size}`;
  }

  // --- a conversion; the order of the questions is that of bnlib ----------------------

  class Refusal extends Error {}

  // Weight of a new batch in the long run, and the setting that gives it.
  function weightOfNew(c, momentum, samples) {
    if (c.weighs === "new") return momentum;
    if (c.weighs === "old") return 1 - momentum;
    return momentum === 0 ? 1 : -Math.expm1(-samples / momentum);
  }

  function setting(c, weight, samples) {
    if (c.weighs === "new") return weight;
    if (c.weighs === "old") return 1 - weight;
    if (weight === 0 || weight === 1) return weight === 0 ? Infinity : 0;
    return -samples / Math.log1p(-weight);
  }

  function averagesAll(c, momentum) {
    if (c.cumulative === "None" || momentum === "None") return c.cumulative === momentum;
    return c.cumulative < 0 ? momentum < 0 : momentum === c.cumulative;
  }

  function mayLack(c, missing) {
    return !missing.length || c.lacks.includes(missing.length === 2 ? "both" : missing[0]);
  }

  // given: texts momentum, eps, samples, positions, count, factor, variance, each of
  // which may be empty, and truths gamma, beta, keep, fused.
  function translate(data, source, target, given) {
    const [src, dst] = [data.conventions[source], data.conventions[target]];
    const notes = [];

    function say(key, values) {
      const all = { source: src.title, target: dst.title, ...values };
      return data.sentences[key].replace(/\{(\w+)\}/g, (_, name) => all[name]);
    }
    function refuse(key, values) { throw new Refusal(say(key, values)); }
    function need(what, why) { refuse(what, { why: data.reasons[why] }); }
    function note(key, values) { notes.push(say(key, values)); }

    function number(text, name) {
      const got = text.trim();
      if (/^[+-]?\d*,\d+(e[+-]?\d+)?$/i.test(got))
        refuse("decimal point", { name, got, point: got.replace(",", ".") });
      const x = parse(text);
      if (Number.isNaN(x)) refuse("number", { name, got: shown(text) });
      return x;
    }
    function notNegative(text, name) {
      const x = number(text, name);
      if (!(x >= 0 && x < Infinity)) refuse("not negative", { name, got: shown(text) });
      return x;
    }
    function whole(text, name, least) {
      const x = parse(text);
      if (!(Number.isInteger(x) && x >= least))
        refuse("whole", { name, least, got: shown(text) });
      return x;
    }
    const known = (text) => text.trim() !== "";

    // What was given must be possible.
    const none = src.cumulative === "None" && given.momentum.trim() === "None";
    const momentum = none ? "None" : number(given.momentum, src.momentum_name);
    if (!none && src.weighs !== "time constant" && !(momentum >= 0 && momentum <= 1))
      refuse("share", { name: src.momentum_name, got: shown(given.momentum) });
    const eps = notNegative(given.eps, src.eps_name);
    const missing = Object.keys(PARAMETERS).filter(
      (role) => !given[role === "weight" ? "gamma" : "beta"]);
    if (!mayLack(src, missing))
      refuse("not without", { name: missing.map((role) => src.names[role]).join(" and ") });
    const cumulative = averagesAll(src, momentum);
    const counts = "count" in src.names;
    let count = null;
    if (known(given.count)) count = whole(given.count, src.names.count || "updates", 0);
    let factor = null;
    if ("factor" in src.names) {
      factor = notNegative(given.factor, src.names.factor);
      if (cumulative) whole(given.factor, src.names.factor, 0);
    }
    let variance = notNegative(given.variance, src.names.running_var);
    if (eps < dst.min_eps)
      refuse("least eps", { name: dst.eps_name, least: dst.eps_range, got: shown(eps) });
    let [samples, m] = [0, 0];
    if (known(given.samples) && known(given.positions)) {
      samples = whole(given.samples, "examples in a batch", 1);
      m = samples * whole(given.positions, "positions of a map", 1);
      if (m < 2) refuse("two values", { got: m });
    }

    // How many batches the layer has seen, and whether its next weights are special.
    let updates = count;
    if (counts && src.count_unit === "samples" && count) {
      updates = samples ? Math.ceil(count / samples) : null;
      if (!samples && !given.keep) need("batch", "samples");
    }
    if (factor !== null && (cumulative || factor === 0)) updates = factor;
    const sameFirst = src.first_replaces === dst.first_replaces &&
      ("factor" in src.names) === ("factor" in dst.names);
    if (updates === 0 && !cumulative && !sameFirst) refuse("nothing seen");
    if (factor !== null && !given.keep && !cumulative && !sameFirst) {
      const limit = 1 / weightOfNew(src, momentum, samples);
      if (Math.abs(factor / limit - 1) > SETTLED)
        refuse("not settled", { got: shown(factor), limit: shown(limit) });
    }

    // The running variance: what is left of the initial value keeps its size.
    if (factor !== null) variance = factor ? variance / factor : 0;
    const stores = (c) => (given.fused && c.stored_fused) || c.stored;
    let [ratio, left] = [1, 0];
    if (!given.keep && updates !== 0 && stores(src) !== stores(dst)) {
      if (!m) need("batch", "variance");
      if (!src.first_replaces && !cumulative) {
        if (updates === null) note("forgotten");
        else left = src.initial_var * (1 - weightOfNew(src, momentum, samples)) ** updates;
      }
      if (variance < left * (1 - SETTLED))
        refuse("too small", { name: src.names.running_var, got: shown(variance),
                              least: shown(left), updates });
      ratio = stores(dst) === "unbiased" ? m / (m - 1) : (m - 1) / m;
    }

    const filled = mayLack(dst, missing) ? [] : missing;
    for (const role of filled)
      note("filled", { name: dst.names[role], value: PARAMETERS[role] });

    function translatedMomentum() {
      if (cumulative) {
        if (dst.cumulative === null)
          refuse("no average of all", { name: src.momentum_name, got: shown(momentum) });
        return dst.cumulative;
      }
      let result = momentum;
      if (src.weighs !== dst.weighs) {
        const byTime = [src.weighs, dst.weighs].includes("time constant");
        if (byTime && !samples) need("batch", "constant");
        result = setting(dst, weightOfNew(src, momentum, samples), samples);
      }
      if (averagesAll(dst, result)) refuse("standing still", { name: dst.momentum_name });
      return result;
    }
    let newMomentum = dst.momentum;
    try {
      newMomentum = translatedMomentum();
    } catch (error) {
      if (!given.keep || !(error instanceof Refusal)) throw error;
      note("default", { name: dst.momentum_name, got: shown(dst.momentum) });
    }
    if (newMomentum === Infinity) note("frozen", { name: dst.momentum_name, got: "inf" });

    function newCount() {
      const unit = dst.count_unit === "samples" ? samples : 1;
      if (updates === 0 || (updates && unit)) return updates * unit;
      if (!given.keep && updates === null) need("updates", "counter");
      if (!given.keep) need("batch", "samples");
      note("counted", { name: dst.names.count, got: 1 });
      return 1;
    }
    function newFactor() {
      if (factor !== null) return factor;
      if (given.keep) return 1;
      if (cumulative && updates === null) need("updates", "counter");
      return cumulative ? updates : 1 / weightOfNew(dst, newMomentum, samples);
    }
    const result = { momentum: newMomentum, eps, notes, missing, filled };
    if ("count" in dst.names) result.count = newCount();
    if ("factor" in dst.names) result.factor = newFactor();
    const scale = "factor" in dst.names ? result.factor : 1;
    // The new variance of v is slope * v + offset, with v as the source stores it.
    result.variance = scale * (left + (variance - left) * ratio);
    result.slope = factor === 0 ? 0 : scale * ratio / (factor === null ? 1 : factor);
    result.offset = scale * left * (1 - ratio);
    result.mean = factor === 0 ? 0 : scale / (factor === null ? 1 : factor);
    const fits = dst.axes === null || dst.axes.includes(src.axis);
    result.axis = fits ? src.axis : dst.axes[0];
    result.moveaxis = fits ? null : [src.axis, dst.axes[0]];
    return result;
  }

  // Translate, or give the sentence that says why not.
  function convert(data, source, target, given) {
    try {
      return translate(data, source, target, given);
    } catch (error) {
      if (error instanceof Refusal) return { problem: error.message };
      throw error;
    }
  }

  globalThis.bnConvert = convert;
  if (typeof document === "undefined") return;  // the tests run it without a page

  // --- the form -----------------------------------------------------------------------

  const TEXTS = ["momentum", "eps", "samples", "positions", "count", "factor", "variance"];
  const TRUTHS = ["gamma", "beta", "fused"];

  function element(tag, ...children) {
    const made = document.createElement(tag);
    made.append(...children);
    return made;
  }

  function times(mean) {
    return mean === 1 ? "" : `: multiply by ${shown(mean)}`;
  }

  // One row for each thing that has a name on either side.
  function rows(src, dst, given, r) {
    const found = [
      [src.title, dst.title],
      [`${src.momentum_name} = ${shown(given.momentum)}`,
       `${dst.momentum_name} = ${shown(r.momentum)}`],
      [`${src.eps_name} = ${shown(given.eps)}`, `${dst.eps_name} = ${shown(r.eps)}`],
    ];
    for (const role of Object.keys(PARAMETERS)) {
      const left = r.missing.includes(role);
      const value = r.filled.includes(role) ? ` = ${PARAMETERS[role]}` : "";
      found.push([left ? "left out" : src.names[role],
                  left && !value ? "left out" : dst.names[role] + value]);
    }
    found.push([src.names.running_mean, dst.names.running_mean + times(r.mean)]);
    const offset = r.offset === 0 ? "" :
      ` and ${r.offset > 0 ? "add" : "subtract"} ${shown(Math.abs(r.offset))}`;
    const name = dst.names.running_var;
    const same = r.slope === 1 && r.offset === 0;
    found.push([`${src.names.running_var} = ${shown(given.variance)}`,
                `${name} = ${shown(r.variance)}` +
                  (same ? "" : `${times(r.slope)}${offset}`)]);
    for (const role of ["count", "factor"])
      if (role in src.names || role in dst.names)
        found.push([role in src.names ? `${src.names[role]} = ${shown(given[role])}` : "",
                    role in dst.names ? `${dst.names[role]} = ${shown(r[role])}` : ""]);
    found.push([`axis ${src.axis}`, `axis ${r.axis}` +
      (r.moveaxis ? `: give it np.moveaxis(x, ${r.moveaxis.join(", ")})` : "")]);
    found.push([`measured: ${src.versions}`, `measured: ${dst.versions}`]);
    return found;
  }

  function start(form) {
    const data = JSON.parse(form.querySelector("script").textContent);
    const field = (name) => form.elements[name];
    const output = form.querySelector("output");
    for (const name of ["source", "target"]) {
      for (const [key, c] of Object.entries(data.conventions))
        field(name).append(new Option(c.title, key));
      field(name).value = form.dataset[name];
    }

    function defaults() {
      const c = data.conventions[field("source").value];
      field("momentum").value = c.momentum;
      field("eps").value = shown(c.eps);
      field("count").value = "";
      const factor = "factor" in c.names ? shown(1 / (1 - c.momentum)) : "";
      field("factor").value = factor;
      field("variance").value = factor || "1";
      const names = { momentum: c.momentum_name, eps: c.eps_name,
                      count: c.names.count || "updates so far", factor: c.names.factor,
                      variance: c.names.running_var };
      for (const [name, text] of Object.entries(names))
        form.querySelector(`[data-name=${name}]`).textContent = text;
    }

    function show() {
      const [src, dst] = ["source", "target"].map(
        (name) => data.conventions[field(name).value]);
      field("factor").closest("label").hidden = !("factor" in src.names);
      field("fused").closest("label").hidden = !(src.stored_fused || dst.stored_fused);
      const given = { keep: field("purpose").value === "keep" };
      for (const name of TEXTS) given[name] = field(name).value;
      for (const name of TRUTHS) given[name] = field(name).checked;
      const r = convert(data, field("source").value, field("target").value, given);
      if (r.problem) {
        output.textContent = r.problem;
        return;
      }
      const [head, ...body] = rows(src, dst, given, r);
      const line = (cells, tag) => element("tr", ...cells.map((text) => element(tag, text)));
      output.replaceChildren(
        element("table", line(head, "th"), ...body.map((cells) => line(cells, "td"))),
        ...r.notes.map((text) => element("p", text)));
    }

    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", (event) => {
      if (event.target === field("source")) defaults();
      show();
    });
    defaults();
    show();
  }

  document.addEventListener("DOMContentLoaded", () =>
    document.querySelectorAll("form.bn-convert").forEach(start));
})();
