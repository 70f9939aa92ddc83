/* One of five points is dragged, and every normalized value moves. */
(() => {
  "use strict";
  const { define, show, scale, moments } = window.Explorables;
  const POINTS = [-2, -1, 0.5, 1.5, 3.5];
  // Three more features of the same five examples; they stay.
  const MATES = [[1.2, -0.4, 0.3], [-0.8, 1.6, -1.1], [0.4, 0.2, 2.0], [-1.5, -0.9, 0.6],
    [0.9, 1.1, -0.7]];
  const RUNNING = { mean: 0, variance: 4 };
  const NORMS = ["batch", "layer", "group", "instance"];
  const SAME = 1e-9;

  function statistics(values) {
    const [mean, variance] = moments(values);
    return { mean, variance };
  }
  function apply(x, { mean: mu, variance }, { gamma, beta, eps }) {
    return (gamma * (x - mu)) / Math.sqrt(variance + eps) + beta;
  }

  /** The sets of feature numbers that share a mean within one example. */
  const SETS = { layer: [[0, 1, 2, 3]], group: [[0, 1], [2, 3]],
    instance: [[0], [1], [2], [3]] };

  function compute(state) {
    const table = state.points.map((x, i) => [x, ...MATES[i]]);
    const own = statistics(state.points);
    const used = state.evaluate ? RUNNING : own;
    const columns = [0, 1, 2, 3].map((j) =>
      state.evaluate ? RUNNING : statistics(table.map((row) => row[j])));
    const result = {
      mean: own.mean,
      variance: own.variance,
      y: state.points.map((x) => apply(x, used, state)),
      batch: table.map((row) => row.map((x, j) => apply(x, columns[j], state))),
    };
    for (const [norm, sets] of Object.entries(SETS)) {
      result[norm] = table.map((row) => {
        const stats = row.map((_, j) =>
          statistics(sets.find((set) => set.includes(j)).map((k) => row[k])));
        return row.map((x, j) => apply(x, stats[j], state));
      });
    }
    return result;
  }

  /** Which entries differ from what they were before any point was dragged. */
  function moved(state, result) {
    const before = compute({ ...state, points: POINTS });
    return Object.fromEntries(NORMS.map((norm) => [norm, result[norm].map((row, i) =>
      row.map((y, j) => Math.abs(y - before[norm][i][j]) > SAME))]));
  }
  const count = (grid) => grid.flat().filter(Boolean).length;

  function draw(stage, state, result, change) {
    const { width } = stage;
    const x = scale([-6, 6], [22, width - 22]);
    const clip = (value) => Math.min(6, Math.max(-6, Number.isNaN(value) ? 0 : value));
    const [top, bottom] = [74, 196];
    const used = state.evaluate ? RUNNING : result;
    const sd = Math.sqrt(used.variance);
    const [from, to] = [clip(used.mean - sd), clip(used.mean + sd)];
    stage.rect(x(from), top - 26, Math.max(x(to) - x(from), 1), 26, { fill: "pale" });
    stage.line(x(clip(used.mean)), top - 30, x(clip(used.mean)), top, { stroke: "ink" });
    const whose = state.evaluate ? "running mean" : "batch mean";
    stage.text(Math.min(Math.max(x(clip(used.mean)), 66), width - 66), top - 36,
      `${whose} ${show(used.mean)}, σ ${show(sd)}`, { anchor: "middle", size: 12 });
    stage.text(8, 18, "x: drag a point", { bold: true });
    stage.axis(x, [-6, -4, -2, 0, 2, 4, 6], { at: top });
    stage.text(8, bottom + 40, "y: after the layer", { bold: true });
    stage.axis(x, [-6, -4, -2, 0, 2, 4, 6], { at: bottom });
    state.points.forEach((point, i) => {
      const y = result.y[i];
      stage.line(x(point), top + 8, x(clip(y)), bottom - 8, { stroke: "grey", width: 1 });
      stage.circle(x(clip(y)), bottom, 7, { fill: "orange", stroke: "ground" });
      const put = (value) => {
        const points = [...state.points];
        points[i] = Math.round(Math.min(6, Math.max(-6, value)) * 20) / 20;
        change({ points });
      };
      stage.handle(`p${i}`, x(point), top, {
        label: `Point ${i + 1} of 5`,
        text: `x ${show(point)}, y ${show(y)}`,
        now: point, min: -6, max: 6,
        move: (px) => put(x.back(px)),
        step: (dx, dy) => put(point + 0.25 * (dx || dy)),
      });
    });
    const cell = Math.min(18, (width - 76) / 16);
    const grids = moved(state, result);
    const gap = (width - 16 - 16 * cell) / 3;
    stage.text(8, 266, "Which of the 20 values have moved?",
      { bold: true });
    NORMS.forEach((norm, k) => {
      const left = 8 + k * (4 * cell + gap);
      stage.text(left, 290, norm, { size: 12 });
      grids[norm].forEach((row, i) => row.forEach((yes, j) =>
        stage.rect(left + j * cell, 298 + i * cell, cell - 2, cell - 2,
          yes ? { fill: "blue" } : { stroke: "grey", width: 1 })));
      stage.text(left, 316 + 5 * cell, `${count(grids[norm])} moved`, { size: 12 });
    });
  }

  function say(state, result) {
    const grids = moved(state, result);
    const counts = NORMS.map((norm) => `${norm} norm ${count(grids[norm])}`).join(", ");
    const mode = state.evaluate ? "Evaluation mode, running statistics." :
      "Training mode, the batch's own statistics.";
    return `${mode} x = ${state.points.map((v) => show(v)).join(", ")} gives ` +
      `y = ${result.y.map((v) => show(v)).join(", ")}. ` +
      `Of 20 values moved: ${counts}.`;
  }

  define("dragged_point", {
    controls: [
      { name: "gamma", kind: "slider", label: "γ", min: 0.2, max: 2, step: 0.1, digits: 1 },
      { name: "beta", kind: "slider", label: "β", min: -2, max: 2, step: 0.1, digits: 1 },
      { name: "eps", kind: "choice", label: "ε",
        options: [[1e-5, "0.00001"], [0, "0"], [0.1, "0.1"], [1, "1"]] },
      { name: "evaluate", kind: "switch", label: "evaluation mode" },
    ],
    start: { points: POINTS, gamma: 1, beta: 0, eps: 1e-5, evaluate: false },
    compute,
    height: () => 412,
    draw,
    say,
  });
})();
