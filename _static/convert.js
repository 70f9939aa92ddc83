/* The converter of the conventions page. The rules are those of bnlib.conventions;
   tests/test_form.py holds the two against each other. */
(function () {
  "use strict";

  // Weight of a new batch in the running average, from a setting, and back.
  function weightOfNew(c, momentum, samples) {
    if (c.weighs === "new") return momentum;
    if (c.weighs === "old") return 1 - momentum;
    return momentum === 0 ? 1 : 1 - Math.exp(-samples / momentum);
  }

  function setting(c, weight, samples) {
    if (c.weighs === "new") return weight;
    if (c.weighs === "old") return 1 - weight;
    if (weight === 1) return 0;
    return -samples / Math.log(1 - weight);
  }

  function convert(source, target, momentum, eps, samples, positions) {
    const m = samples * positions;
    const factor = (c) => (c.stored === "unbiased" ? m / (m - 1) : 1);
    return {
      momentum: setting(target, weightOfNew(source, momentum, samples), samples),
      eps: eps,
      varianceFactor: factor(target) / factor(source),
      names: Object.keys(source.names)
        .filter((role) => role in target.names)
        .map((role) => [source.names[role], target.names[role]]),
    };
  }

  function problem(source, v) {
    if (!(v.momentum >= 0) || (source.weighs !== "time constant" && v.momentum > 1))
      return `${source.momentum_name} must be a number from 0` +
        (source.weighs === "time constant" ? " on." : " to 1.");
    if (!(v.eps >= 0)) return `${source.eps_name} must be a number from 0 on.`;
    if (!(Number.isInteger(v.samples) && v.samples > 0 &&
          Number.isInteger(v.positions) && v.positions > 0))
      return "Examples and positions must be whole numbers from 1 on.";
    if (v.samples * v.positions < 2) return "A variance needs two values at least.";
    return "";
  }

  const number = (x) => String(Number(x.toPrecision(6)));

  function row(cells, tag) {
    const tr = document.createElement("tr");
    for (const text of cells) {
      const cell = document.createElement(tag);
      cell.textContent = text;
      tr.append(cell);
    }
    return tr;
  }

  function start(form) {
    const table = JSON.parse(form.querySelector("script").textContent);
    const field = (name) => form.elements[name];
    const output = form.querySelector("output");
    for (const name of ["source", "target"]) {
      for (const [key, c] of Object.entries(table))
        field(name).append(new Option(c.title, key));
      field(name).value = form.dataset[name];
    }

    function defaults() {
      const c = table[field("source").value];
      field("momentum").value = c.momentum === null ? 0.9 : c.momentum;
      field("eps").value = c.eps;
      form.querySelector("[data-name=momentum]").textContent = c.momentum_name;
      form.querySelector("[data-name=eps]").textContent = c.eps_name;
    }

    function show() {
      const [source, target] = [table[field("source").value], table[field("target").value]];
      const v = {};
      for (const name of ["momentum", "eps", "samples", "positions"])
        v[name] = field(name).value.trim() === "" ? NaN : Number(field(name).value);
      const wrong = problem(source, v);
      if (wrong) {
        output.textContent = wrong;
        return;
      }
      const r = convert(source, target, v.momentum, v.eps, v.samples, v.positions);
      const result = document.createElement("table");
      result.append(row([source.title, target.title], "th"));
      result.append(row(
        [`${source.momentum_name} = ${number(v.momentum)}`,
         `${target.momentum_name} = ${number(r.momentum)}`], "td"));
      result.append(row(
        [`${source.eps_name} = ${number(v.eps)}`,
         `${target.eps_name} = ${number(r.eps)}`], "td"));
      const variance = source.names.running_var;
      for (const [from, to] of r.names)
        result.append(row(
          [from, from === variance && r.varianceFactor !== 1
            ? `${to}: multiply by ${number(r.varianceFactor)}` : to], "td"));
      result.append(row([`axis ${source.axis}`, `axis ${target.axis}`], "td"));
      output.replaceChildren(result);
    }

    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", (event) => {
      if (event.target === field("source")) defaults();
      show();
    });
    defaults();
    show();
  }

  window.bnConvert = convert;
  document.addEventListener("DOMContentLoaded", () =>
    document.querySelectorAll("form.bn-convert").forEach(start));
})();
