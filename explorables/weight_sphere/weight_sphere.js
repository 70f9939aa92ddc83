/* One weight vector before batch norm: its length, its angle, and weight decay. */
(() => {
  "use strict";
  const { define, show, scale, mean } = window.Explorables;
  // Two batches of eight examples of two features, and a target for each example.
  const X = [
    [[1.2, 0.3], [-0.7, 0.9], [0.4, -1.1], [-1, -0.6], [0.8, 1.4], [-0.2, -0.5],
      [1.5, -0.8], [-1.6, 0.2]],
    [[0.9, -0.4], [-1.1, 0.6], [0.3, 1.2], [-0.5, -1.3], [1.4, 0.5], [-0.9, -0.2],
      [0.1, 0.8], [-0.6, -0.9]],
  ];
  const T = [[1.1, -0.2, -0.4, -1.3, 1.6, -0.3, 0.9, -1.4],
    [0.7, -0.8, 1, -1.2, 1.5, -1, 0.5, -0.7]];
  const [STEPS, EPS] = [200, 1e-5];

  const dot = (u, v) => u[0] * v[0] + u[1] * v[1];
  const length = (v) => Math.hypot(v[0], v[1]);

  /** Gradient by w of the mean squared distance of the normalized unit from t, halved. */
  function gradient(w, x, t) {
    const a = x.map((row) => dot(row, w));
    const mu = mean(a);
    const root = Math.sqrt(mean(a.map((v) => (v - mu) ** 2)) + EPS);
    const hat = a.map((v) => (v - mu) / root);
    const g = hat.map((v, i) => (v - t[i]) / t.length);
    const [first, second] = [mean(g), mean(g.map((v, i) => v * hat[i]))];
    const back = g.map((v, i) => (v - first - hat[i] * second) / root);
    return [0, 1].map((k) => back.reduce((sum, v, i) => sum + v * x[i][k], 0));
  }

  /** All weights from the first on, and what the last step did. */
  function walk({ w, rate, decay, steps }) {
    const eta = 10 ** rate;
    const path = [w];
    let [along, turned] = [0, 0];
    for (let step = 0; step < steps; step += 1) {
      const now = path[step];
      const g = gradient(now, X[step % 2], T[step % 2]);
      along = Math.max(along, Math.abs(dot(g, now)) / (length(g) * length(now)));
      const after = now.map((v, k) => (1 - eta * decay) * v - eta * g[k]);
      const sine = Math.abs(now[0] * after[1] - now[1] * after[0]) /
        (length(now) * length(after));
      turned = (Math.asin(Math.min(1, sine)) * 180) / Math.PI;
      path.push(after);
    }
    return { path, along, turned, eta };
  }

  function compute(state) {
    const { path, along, turned, eta } = walk(state);
    const w = path[path.length - 1];
    return { w, length: length(w), effective: eta / length(w) ** 2, turned, along };
  }

  function draw(stage, state, result, change) {
    const narrow = stage.width < 520;
    const size = narrow ? Math.min(stage.width - 40, 280) : 270;
    const left = narrow ? (stage.width - size) / 2 : 12;
    const x = scale([-3, 3], [left, left + size]);
    const y = scale([-3, 3], [14 + size, 14]);
    stage.rect(left, 14, size, size, { stroke: "grey", width: 1 });
    stage.line(x(-3), y(0), x(3), y(0), { stroke: "pale" });
    stage.line(x(0), y(-3), x(0), y(3), { stroke: "pale" });
    const { path } = walk(state);
    const inside = path.filter((v) => Math.abs(v[0]) < 3 && Math.abs(v[1]) < 3);
    stage.path(inside.map((v) => [x(v[0]), y(v[1])]), { stroke: "orange", width: 1.5 });
    for (const v of inside) stage.circle(x(v[0]), y(v[1]), 1.8, { fill: "orange" });
    const end = result.w.map((v) => Math.min(3, Math.max(-3, v)));
    stage.line(x(0), y(0), x(end[0]), y(end[1]), { stroke: "ink", width: 2.5 });
    stage.circle(x(end[0]), y(end[1]), 5, { fill: "ink" });
    stage.text(left + 6, 30, "drag the first weights", { size: 12 });
    const put = (v) => {
      const kept = v.map((a) => Math.round(10 * Math.min(2.8, Math.max(-2.8, a))) / 10);
      if (length(kept) >= 0.5) change({ w: kept });
    };
    stage.handle("w", x(state.w[0]), y(state.w[1]), {
      label: "First weight vector", text: `${show(state.w[0], 1)}, ${show(state.w[1], 1)}`,
      now: length(state.w), min: 0.5, max: 4,
      move: (px, py) => put([x.back(px), y.back(py)]),
      step: (dx, dy) => put([state.w[0] + 0.1 * dx, state.w[1] + (dx ? 0 : 0.1 * dy)]),
    });
    const [from, low] = narrow ? [46, size + 190] : [size + 70, size - 10];
    const t = scale([0, STEPS], [from, stage.width - 14]);
    const high = Math.max(3, ...path.map(length));
    const h = scale([0, high], [low, low - (narrow ? 130 : size - 50)]);
    stage.axis(t, [0, 100, 200], { at: low, label: "updates" });
    stage.axis(h, [0, high / 2, high], { at: from, up: true, digits: 1, label: "length of w" });
    stage.path(path.map((v, k) => [t(k), h(length(v))]), { stroke: "blue", width: 2.5 });
  }

  function say(state, result) {
    const settled = (Math.sqrt(2 * 10 ** state.rate * state.decay) * 180) / Math.PI;
    return `After ${state.steps} updates the length is ${show(result.length)} and the effective ` +
      `rate ${show(result.effective, 3)}. The last update turned w by ${show(result.turned, 1)} ` +
      `degrees; the settled angle √(2ηλ) would be ${show(settled, 1)}. No gradient had more than ` +
      `${show(100 * result.along, 3)} % of its length along w.`;
  }

  define("weight_sphere", {
    controls: [
      { name: "rate", kind: "slider", label: "rate η", min: -2, max: 0, step: 0.1,
        text: (value) => show(10 ** value, 2) },
      { name: "decay", kind: "slider", label: "weight decay λ", min: 0, max: 0.1, step: 0.005,
        digits: 3 },
      { name: "steps", kind: "slider", label: "updates", min: 1, max: STEPS, step: 1, digits: 0 },
    ],
    start: { w: [-2, 1.5], rate: 0, decay: 0.05, steps: 120 },
    compute,
    height: (width) => (width < 520 ? Math.min(width - 40, 280) + 230 : 310),
    draw,
    say,
  });
})();
