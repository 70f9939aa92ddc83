/* A unit after a shift at test time: which statistics bring its classes back? */
(() => {
  "use strict";
  const { define, show, scale, mean, moments } = window.Explorables;
  const [EACH, EPS] = [30, 1e-5];
  const COUNT = [...Array(EACH).keys()];
  const LOW = COUNT.map((k) => -1.2 + 1.1 * Math.sin(2.3 * k) * Math.cos((0.7 * k * k) % 6.2831));
  const HIGH = COUNT.map((k) =>
    1.2 + 1.1 * Math.sin(1.1 * k + 1) * Math.cos((1.3 * k * k) % 6.2831));
  const BEFORE = [...LOW, ...HIGH];
  const NOISE = BEFORE.map((_, k) =>
    1.5 * Math.sin(3.1 * k + 2) * Math.cos((2.9 * k * k) % 6.2831));


  /** The examples that come: class 0 whole, of class 1 the first `share`. */
  function arriving({ factor, offset, noise, share }) {
    return BEFORE.map((v, k) => ({ label: Number(k >= EACH), kept: k - EACH < share,
      x: factor * v + offset + noise * NOISE[k] })).filter(({ kept }) => kept);
  }

  function compute(state) {
    const batch = arriving(state);
    const weight = { source: 0, batch: 1, mixed: 0.5 }[state.method];
    const [own, known] = [moments(batch.map(({ x }) => x)), moments(BEFORE)];
    const [mu, variance] = own.map((v, k) => weight * v + (1 - weight) * known[k]);
    const y = batch.map(({ x }) => (x - mu) / Math.sqrt(variance + EPS));
    const right = mean(batch.map(({ label }, i) => Number(y[i] > 0 === (label === 1))));
    return { mean: mu, variance, y, right };
  }

  const COLOURS = ["orange", "blue"];
  /** Dots in piles; a high pile stands closer, so that it stays below the title. */
  function strip(stage, values, at, place) {
    const bins = values.map(({ v }) => Math.round(Math.min(6, Math.max(-6, v)) * 5));
    const highest = Math.max(...bins.map((bin) => bins.filter((b) => b === bin).length));
    const step = Math.min(7, 68 / highest);
    values.forEach(({ label }, i) => {
      const pile = bins.slice(0, i).filter((bin) => bin === bins[i]).length;
      stage.circle(place(bins[i] / 5), at - 6 - step * pile, 3.4, { fill: COLOURS[label] });
    });
  }

  function draw(stage, state, result) {
    const { width } = stage;
    const place = scale([-6, 6], [22, width - 22]);
    const batch = arriving(state);
    [["before the shift", BEFORE.map((v, k) => ({ v, label: Number(k >= EACH) }))],
      ["x: after the shift", batch.map(({ x, label }) => ({ v: x, label }))],
      ["y: after the layer; the rule says blue to the right of 0",
        batch.map(({ label }, i) => ({ v: result.y[i], label }))]].forEach(([title, values], k) => {
      const at = 104 + 130 * k;
      stage.text(8, at - 84, title, { bold: true });
      stage.axis(place, [-6, -4, -2, 0, 2, 4, 6], { at });
      stage.line(place(0), at - 74, place(0), at, { stroke: "ink", dash: "4 4" });
      strip(stage, values, at, place);
    });
  }

  function say(state, result) {
    const whose = { source: "the source's", batch: "the arriving batch's own",
      mixed: "half the source's, half the batch's" }[state.method];
    return `Statistics: ${whose}; mean ${show(result.mean)}, variance ${show(result.variance)}. ` +
      `${show(100 * result.right, 0)} % of ${result.y.length} examples are on their side of 0.`;
  }

  const slider = (name, label, min, max) =>
    ({ name, label, kind: "slider", min, max, step: 0.1, digits: 1 });
  define("shift_repair", {
    controls: [
      slider("factor", "times", -2, 2), slider("offset", "plus", -3, 3),
      slider("noise", "noise", 0, 3),
      { name: "share", kind: "slider", label: "blue examples that come", min: 0, max: EACH,
        step: 1, digits: 0 },
      { name: "method", kind: "choice", label: "statistics", options: [
        ["source", "of the source"], ["batch", "of the batch"], ["mixed", "half and half"]] },
    ],
    start: { factor: 0.6, offset: 1.5, noise: 0, share: EACH, method: "source" },
    compute,
    height: () => 392,
    draw,
    say,
  });
})();
