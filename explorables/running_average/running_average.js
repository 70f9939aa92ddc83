/* A running average chases the mean of the population, at a momentum of one's choice. */
(() => {
  "use strict";
  const { define, show, scale } = window.Explorables;
  const STEPS = 150;

  const updates = [...Array(STEPS).keys()].map((k) => k + 1);
  const noise = updates.map((k) =>
    0.6 * Math.sin(12.9898 * k) * Math.cos((4.1414 * k * k) % 6.2831));
  const truth = (moving) => updates.map((k) => (moving ? 5 - 3 * Math.exp(-k / 40) : 5));
  const means = (moving) => truth(moving).map((value, k) => value + noise[k]);

  function compute({ exponent, steps, moving, cumulative }) {
    const rho = 10 ** exponent;
    let average = 0;
    const running = means(moving).slice(0, steps).map((mean, k) => {
      const weight = cumulative ? 1 / (k + 1) : rho;
      average = (1 - weight) * average + weight * mean;
      return average;
    });
    return { running, gap: average - truth(moving)[steps - 1], keras: 1 - rho,
      start: cumulative ? 0 : (1 - rho) ** steps };
  }

  function draw(stage, state, result, change) {
    const { width } = stage;
    const x = scale([0, STEPS], [34, width - 18]);
    const y = scale([0, 6], [232, 20]);
    stage.axis(x, [0, 50, 100, 150], { at: 232, label: "updates" });
    stage.axis(y, [0, 1, 2, 3, 4, 5, 6], { at: 34, up: true });
    const seen = means(state.moving).slice(0, state.steps);
    seen.forEach((mean, k) => stage.circle(x(k + 1), y(mean), 2, { fill: "grey" }));
    const line = (values, look) =>
      stage.path(values.map((value, k) => [x(k + 1), y(value)]), look);
    line(truth(state.moving), { stroke: "ink", width: 2, dash: "6 4" });
    stage.path([[x(0), y(0)], ...result.running.map((v, k) => [x(k + 1), y(v)])],
      { stroke: "blue", width: 2.5 });
    const low = { anchor: "end", size: 12 };
    stage.text(width - 18, 188, "dashed: mean of the population", low);
    stage.text(width - 18, 204, "dots: batch means", low);
    stage.text(width - 18, 220, "solid: running mean; drag its end", low);
    const put = (steps) =>
      change({ steps: Math.min(STEPS, Math.max(1, Math.round(steps))) });
    const last = result.running[state.steps - 1];
    stage.handle("steps", x(state.steps), y(last), {
      label: "Updates", text: `${state.steps} updates, running mean ${show(last)}`,
      now: state.steps, min: 1, max: STEPS,
      move: (px) => put(x.back(px)),
      step: (dx, dy) => put(state.steps + (dx || dy)),
    });
  }

  function say(state, result) {
    const rho = 10 ** state.exponent;
    const same = `PyTorch's momentum ${show(rho, 3)} is Keras's momentum ` +
      `${show(result.keras, 3)}`;
    const rule = state.cumulative ? "Cumulative average (momentum=None in PyTorch)" : same;
    return `${rule}. After ${state.steps} updates the start still weighs ` +
      `${show(100 * result.start, 1)} %, and the running mean is ` +
      `${show(Math.abs(result.gap))} ${result.gap < 0 ? "below" : "above"} the population's.`;
  }

  define("running_average", {
    controls: [
      { name: "exponent", kind: "slider", label: "ρ, weight of the new value",
        min: -3, max: 0, step: 0.05, text: (value) => show(10 ** value, 3) },
      { name: "moving", kind: "switch", label: "the population moves" },
      { name: "cumulative", kind: "switch", label: "cumulative average" },
    ],
    start: { exponent: -1, steps: 60, moving: true, cumulative: false },
    compute,
    height: () => 272,
    draw,
    say,
  });
})();
