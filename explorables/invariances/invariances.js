/* A change of weights or inputs in front of five norms: how far do outputs move? */
(() => {
  "use strict";
  const { define, show, scale, mean } = window.Explorables;
  const EPS = 1e-12;
  const NORMS = [["none", "no norm"], ["batch", "batch norm"], ["layer", "layer norm"],
    ["group", "group norm"], ["rms", "RMS norm"]];
  const table = (rows, columns, f) => [...Array(rows).keys()].map((i) =>
    [...Array(columns).keys()].map((k) => f(i, k)));
  const X = table(6, 3, (i, k) => Math.sin(1.3 * i + 2.1 * k + 0.7 * i * k) + 0.2 * k);
  const W = table(4, 3, (i, k) => Math.cos(1.9 * i - 0.8 * k + 0.5 * i * k));
  const BIAS = [1, 2, -1, 0.5];

  function preActivations({ change, size }) {
    const shift = size - 1;
    const x = X.map((row, i) => row.map((v) => {
      if ((change === "example" && i === 0) || (change === "mate" && i === 5)) return v * size;
      return change === "example shift" && i === 0 ? v + shift : v;
    }));
    const a = x.map((row) => W.map((w) => w.reduce((sum, v, k) => sum + v * row[k], 0)));
    if (change === "weights") return a.map((row) => row.map((v) => v * size));
    if (change === "unit") return a.map(([v, ...rest]) => [v * size, ...rest]);
    if (change === "bias") return a.map((row) => row.map((v, k) => v + shift * BIAS[k]));
    if (change === "rotate") {
      const [c, s] = [Math.cos(shift), Math.sin(shift)];
      return a.map(([u, v, ...rest]) => [c * u - s * v, s * u + c * v, ...rest]);
    }
    return a;
  }

  function standard(v, centre = true) {
    const mu = centre ? mean(v) : 0;
    const root = Math.sqrt(mean(v.map((b) => (b - mu) ** 2)) + EPS);
    return v.map((b) => (b - mu) / root);
  }
  function batch(a) {
    const columns = [0, 1, 2, 3].map((k) => standard(a.map((row) => row[k])));
    return a.map((row, i) => row.map((_, k) => columns[k][i]));
  }
  const LAYERS = {
    none: (a) => a,
    batch,
    layer: (a) => a.map((row) => standard(row)),
    group: (a) => a.map((row) => [...standard(row.slice(0, 2)), ...standard(row.slice(2))]),
    rms: (a) => a.map((row) => standard(row, false)),
  };

  function compute(state) {
    const before = preActivations({ change: "weights", size: 1 });
    const after = preActivations(state);
    const made = { first: {}, all: {} };
    for (const [norm] of NORMS) {
      const [was, is] = [before, after].map(LAYERS[norm]);
      const gaps = is.map((row, i) => Math.max(...row.map((v, k) => Math.abs(v - was[i][k]))));
      made.first[norm] = gaps[0];
      made.all[norm] = Math.max(...gaps);
    }
    return made;
  }

  function draw(stage, state, result) {
    const left = 92;
    const x = scale([0, 4], [left, stage.width - 16]);
    NORMS.forEach(([norm, name], k) => {
      const y = 22 + 36 * k;
      stage.text(left - 8, y + 4, name, { anchor: "end", size: 12 });
      const kinds = [["all", -10, "orange"], ["first", 1, "blue"]];
      for (const [kind, down, colour] of kinds) {
        const far = Math.min(4, result[kind][norm]);
        if (far > 1e-6) {
          stage.rect(left, y + down, Math.max(2, x(far) - left), 9, { fill: colour });
        } else stage.line(left + 3, y + down + 1, left + 3, y + down + 8, { stroke: colour });
      }
    });
    stage.axis(x, [0, 1, 2, 3, 4], { at: 204, label: "largest change of an output" });
    stage.text(8, 256, "upper bar: all six examples · lower bar: example 1",
      { size: 12 });
  }

  function say(state, result) {
    const word = (gap) => (gap < 1e-6 ? "not at all" : `by ${show(gap)}`);
    const [times, more] = [show(state.size), show(state.size - 1)];
    const what = { weights: `All weights times ${times}`, unit: `The weights of unit 1 times ${times}`,
      bias: `A bias of ${more} times (1, 2, −1, 0.5) is added`, example: `Example 1 times ${times}`,
      "example shift": `All features of example 1 plus ${more}`, mate: `Example 6 times ${times}`,
      rotate: `Units 1 and 2 are rotated by ${more} radians` }[state.change];
    return `${what}. Outputs move: ${NORMS.map(([norm, name]) =>
      `${name} ${word(result.all[norm])}`).join(", ")}.`;
  }

  define("invariances", {
    controls: [
      { name: "change", kind: "choice", label: "change", options: [
        ["weights", "all weights times"], ["unit", "weights of unit 1 times"],
        ["bias", "a bias is added"], ["example", "example 1 times"],
        ["example shift", "example 1 is shifted"], ["mate", "example 6 times"],
        ["rotate", "two units are rotated"]] },
      { name: "size", kind: "slider", label: "size", min: 0, max: 3, step: 0.05 },
    ],
    start: { change: "weights", size: 2 },
    compute,
    height: () => 264,
    draw,
    say,
  });
})();
