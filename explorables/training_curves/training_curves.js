/* Stored training curves with and without batch norm: when is a threshold reached? */
(() => {
  "use strict";
  const { define, show, scale, data } = window.Explorables;
  const CURVES = data.training_curves;
  const ARMS = [["batch", "batch norm", "blue", ""], ["none", "no norm", "orange", "7 4"]];

  function compute({ setting, activation, share }) {
    const curves = CURVES[`${setting}, ${activation}`];
    const made = {};
    for (const [norm] of ARMS) {
      const { rate, steps, accuracy } = curves[norm];
      const first = accuracy.findIndex((value) => value >= 1000 * share - 1e-9);
      made[norm] = { rate, reached: first < 0 ? Infinity : steps[first],
        end: accuracy[accuracy.length - 1] / 1000 };
    }
    made.ratio = Number.isFinite(made.batch.reached) ?
      made.none.reached / made.batch.reached : NaN;
    return made;
  }

  function draw(stage, state, result, change) {
    const { width } = stage;
    const log = scale([0, Math.log10(50000)], [46, width - 16]);
    const x = (step) => log(Math.log10(step));
    const y = scale([0, 1], [252, 24]);
    stage.axis((t) => log(t), [0, 1, 2, 3, 4],
      { at: 252, labels: ["1", "10", "100", "1,000", "10,000"], label: "updates (log scale)" });
    stage.axis(y, [0, 0.25, 0.5, 0.75, 1], { at: 46, up: true,
      labels: ["0 %", "25 %", "50 %", "75 %", "100 %"] });
    const curves = CURVES[`${state.setting}, ${state.activation}`];
    stage.line(46, y(state.share), width - 16, y(state.share), { stroke: "ink", dash: "2 3" });
    ARMS.forEach(([norm, name, colour, dash], k) => {
      const { steps, accuracy } = curves[norm];
      stage.path(steps.map((step, i) => [x(step), y(accuracy[i] / 1000)]),
        { stroke: colour, width: 2.5, dash });
      const { reached } = result[norm];
      if (Number.isFinite(reached)) {
        stage.line(x(reached), y(state.share), x(reached), 252, { stroke: colour, dash });
      }
      stage.line(60, 64 + 18 * k, 88, 64 + 18 * k, { stroke: colour, width: 2.5, dash });
      stage.text(94, 68 + 18 * k, name, { size: 12 });
    });
    const put = (share) =>
      change({ share: Math.round(100 * Math.min(1, Math.max(0.2, share))) / 100 });
    stage.handle("share", width - 16, y(state.share), {
      label: "Threshold of accuracy", text: `${show(100 * state.share, 0)} %`,
      now: state.share, min: 0.2, max: 1,
      move: (px, py) => put(y.back(py)),
      step: (dx, dy) => put(state.share + 0.01 * (dx || dy)),
    });
  }

  function say(state, result) {
    const arms = ARMS.map(([norm, name]) => {
      const { rate, reached, end } = result[norm];
      const when = Number.isFinite(reached) ? `after ${reached} updates` : "never";
      return `${name} (rate ${rate}) ${when}, and ends at ${show(100 * end, 1)} %`;
    });
    const ratio = Number.isFinite(result.ratio) ?
      ` Ratio of updates: ${show(result.ratio, 1)}.` : "";
    return `${show(100 * state.share, 0)} % is reached by ${arms.join("; by ")}.${ratio} ` +
      "Medians of five seeds.";
  }

  define("training_curves", {
    controls: [
      { name: "setting", kind: "choice", label: "setting", options: [
        ["small, low", "weak start, rate 0.01"], ["good, low", "good start, rate 0.01"],
        ["good, end", "good start, best rate for the end"],
        ["good, speed", "good start, best rate for speed"],
        ["small, end", "weak start, best rate for the end"]] },
      { name: "activation", kind: "choice", label: "activation",
        options: [["relu", "ReLU"], ["sigmoid", "sigmoid"]] },
    ],
    start: { setting: "small, low", activation: "relu", share: 0.9 },
    compute,
    height: () => 292,
    draw,
    say,
  });
})();
