/* One example, normalized in two hundred batches with other mates each time. */
(() => {
  "use strict";
  const { define, show, scale, moments } = window.Explorables;
  const [DRAWS, EPS] = [200, 1e-5];
  const SIZES = [2, 4, 8, 16, 32];
  const POPULATION = [...Array(60).keys()].map((k) =>
    2 * Math.sin(1.7 * k) + Math.cos((0.9 * k * k) % 6.2831));

  const normalized = (x, [mu, variance]) => (x - mu) / Math.sqrt(variance + EPS);

  function compute({ x, size, seed }) {
    let state = seed; // Park and Miller's generator
    const outputs = [...Array(DRAWS)].map(() => {
      const batch = [x];
      while (batch.length < SIZES[size]) {
        state = (state * 16807) % 2147483647;
        batch.push(POPULATION[state % 60]);
      }
      return normalized(x, moments(batch));
    });
    const [middle, variance] = moments(outputs);
    return { outputs, mean: middle, spread: Math.sqrt(variance),
      alone: normalized(x, moments(POPULATION)), law: 1 / Math.sqrt(SIZES[size]) };
  }

  function draw(stage, state, result, change) {
    const { width } = stage;
    const x = scale([-5, 5], [24, width - 24]);
    stage.text(8, 16, "x: drag the example; ticks are the population", { bold: true });
    stage.axis(x, [-4, -2, 0, 2, 4], { at: 62 });
    for (const value of POPULATION) {
      stage.line(x(value), 40, x(value), 52, { stroke: "grey", width: 1 });
    }
    stage.text(8, 112, "y: in 200 batches of " + SIZES[state.size], { bold: true });
    const bins = new Map();
    result.outputs.forEach((y) => {
      const bin = Math.round(y / 0.2);
      bins.set(bin, (bins.get(bin) || 0) + 1);
    });
    const base = 258;
    const high = Math.max(...bins.values());
    for (const [bin, count] of bins) {
      const left = x(bin * 0.2 - 0.1);
      const tall = (count / high) * 120;
      stage.rect(left, base - tall, Math.max(1, x(bin * 0.2 + 0.1) - left - 1), tall,
        { fill: "blue" });
    }
    stage.axis(x, [-4, -2, 0, 2, 4], { at: base });
    stage.line(x(result.alone), 126, x(result.alone), base, { stroke: "ink", dash: "5 4" });
    const put = (value) => change({ x: Math.round(10 * Math.min(5, Math.max(-5, value))) / 10 });
    stage.handle("x", x(state.x), 62, {
      label: "The example", text: show(state.x, 1), now: state.x, min: -5, max: 5,
      colour: "orange",
      move: (px) => put(x.back(px)),
      step: (dx, dy) => put(state.x + 0.1 * (dx || dy)),
    });
  }

  function say(state, result) {
    return `The example ${show(state.x, 1)} becomes ${show(result.mean)} on average over 200 ` +
      `batches of ${SIZES[state.size]}, with a standard deviation of ${show(result.spread)}. ` +
      `The law for a batch mean, 1/√m, says ${show(result.law)}. By the statistics of the population (dashed) it is ` +
      `${show(result.alone)}.`;
  }

  define("batch_mates", {
    controls: [
      { name: "size", kind: "slider", label: "batch size m", min: 0, max: 4, step: 1,
        text: (k) => String(SIZES[k]) },
      { kind: "button", label: "Other mates", press: ({ seed }) => ({ seed: (seed % 999) + 1 }) },
    ],
    start: { x: 1, size: 1, seed: 7 },
    compute,
    height: () => 286,
    draw,
    say,
  });
})();
