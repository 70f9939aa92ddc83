/* Gradient descent on two weights while the scale of one feature is dragged. */
(() => {
  "use strict";
  const { define, show, scale, mean } = window.Explorables;
  // Twelve examples of two features, and their targets: all of mean 0.
  const X = [[-1.2, 0.5], [-0.9, -0.8], [-0.7, 1.1], [-0.4, -0.3], [-0.2, 0.9],
    [-0.1, -1.2], [0.1, 0.2], [0.3, -0.6], [0.5, 1.0], [0.7, -1.1], [0.8, 0.6],
    [1.1, -0.3]];
  const Y = [-1.4, -0.2, -1.6, -0.2, -0.8, 0.7, -0.1, 0.6, 0.1, 1.5, 0.6, 0.8];
  const STEPS = 25;
  const MOST = 1e6;


  function prepared({ factor, divide }) {
    const columns = [0, 1].map((k) => X.map((row) => row[k] * (k ? factor : 1)));
    return columns.map((column) => {
      if (!divide) return column;
      const mu = mean(column);
      const sd = Math.sqrt(mean(column.map((v) => (v - mu) ** 2)));
      return column.map((v) => (v - mu) / sd);
    });
  }

  /** The bowl: Hessian, minimum, eigenvalues (large first) and their directions. */
  function bowl(state) {
    const [a, b] = prepared(state);
    const dot = (u, v) => mean(u.map((value, i) => value * v[i]));
    const [p, q, r] = [dot(a, a), dot(a, b), dot(b, b)];
    const [s, t] = [dot(a, Y), dot(b, Y)];
    const det = p * r - q * q;
    const minimum = [(r * s - q * t) / det, (p * t - q * s) / det];
    const middle = (p + r) / 2;
    const apart = Math.hypot((p - r) / 2, q);
    const angle = Math.atan2(2 * q, p - r) / 2;
    return { p, q, r, minimum, angle, eigenvalues: [middle + apart, det / (middle + apart)] };
  }

  function compute(state) {
    const { p, q, r, minimum, angle, eigenvalues } = bowl(state);
    const rate = (state.share * 2) / eigenvalues[0];
    const height = ([u, v]) => (p * u * u + 2 * q * u * v + r * v * v) / 2;
    const path = [[0, 0]];
    for (let t = 0; t < STEPS; t += 1) {
      const [u, v] = path[t].map((w, k) => w - minimum[k]);
      path.push([path[t][0] - rate * (p * u + q * v), path[t][1] - rate * (q * u + r * v)]);
    }
    const off = path.map((w) => w.map((value, k) => value - minimum[k]));
    const excess = off.map((e) => height(e) / height(off[0]));
    const [c, d] = [Math.cos(angle), Math.sin(angle)];
    const parts = [[c, d], [-d, c]].map(([i, j], k) =>
      (eigenvalues[k] * (off[0][0] * i + off[0][1] * j) ** 2) / 2 / height(off[0]));
    const left = (t) => parts.reduce((sum, part, k) =>
      sum + part * (1 - rate * eigenvalues[k]) ** (2 * t), 0);
    const grows = eigenvalues.some((lam) => Math.abs(1 - rate * lam) >= 1);
    let updates = 1;
    while (!grows && left(updates) > 1e-3 && updates < MOST) updates *= 2;
    if (grows || updates >= MOST) updates = Infinity;
    else {
      let low = Math.floor(updates / 2);
      while (updates - low > 1) {
        const half = Math.floor((low + updates) / 2);
        if (left(half) > 1e-3) low = half; else updates = half;
      }
    }
    return { minimum, eigenvalues, condition: eigenvalues[0] / eigenvalues[1], rate, path,
      excess, updates };
  }

  function draw(stage, state, result, change) {
    const { width } = stage;
    const size = Math.min(width - 60, 400);
    const [m1, m2] = result.minimum.map(Math.abs);
    const half = 1.25 * Math.max(m1, m2 / 0.62);
    const low = 0.62 * half;
    const left = (width - size) / 2;
    const [c1, c2] = result.minimum;
    const x = scale([c1 - half, c1 + half], [left, left + size]);
    const y = scale([c2 - low, c2 + low], [20 + size * 0.62, 20]);
    const inside = ([u, v]) => Math.abs(u - c1) <= half && Math.abs(v - c2) <= low;
    const { angle } = bowl(state);
    const [c, d] = [Math.cos(angle), Math.sin(angle)];
    const { eigenvalues, minimum } = result;
    const first = (eigenvalues[0] * (minimum[0] * c + minimum[1] * d) ** 2 +
      eigenvalues[1] * (minimum[1] * c - minimum[0] * d) ** 2) / 2;
    for (const level of [1, 0.5, 0.2, 0.05]) {
      const radii = eigenvalues.map((lam) => Math.sqrt((2 * level * first) / lam));
      let run = [];
      const flush = () => {
        if (run.length > 1) stage.path(run, { stroke: "grey", width: 1 });
        run = [];
      };
      for (let k = 0; k <= 96; k += 1) {
        const [u, v] = [radii[0] * Math.cos((k * Math.PI) / 48),
          radii[1] * Math.sin((k * Math.PI) / 48)];
        const point = [minimum[0] + u * c - v * d, minimum[1] + u * d + v * c];
        if (inside(point)) run.push([x(point[0]), y(point[1])]); else flush();
      }
      flush();
    }
    stage.rect(left, 20, size, size * 0.62, { stroke: "grey", width: 1 });
    const on = result.path.findIndex((w) => !inside(w));
    const path = on < 0 ? result.path : result.path.slice(0, on);
    stage.path(path.map(([u, v]) => [x(u), y(v)]), { stroke: "orange", width: 2 });
    for (const [u, v] of path) stage.circle(x(u), y(v), 2.6, { fill: "orange" });
    stage.circle(x(c1), y(c2), 5, { fill: "ink" });
    stage.circle(x(0), y(0), 5, { stroke: "orange", width: 2 });
    stage.text(left, 14, "weight 2", { size: 12 });
    stage.text(left + size, 38 + size * 0.62, "weight 1", { size: 12, anchor: "end" });
    stage.text(left, 38 + size * 0.62, on < 0 ? "" : "the path leaves the picture", { size: 12 });
    const bar = 84 + size * 0.62;
    const place = scale([-1, 1], [30, width - 30]);
    stage.text(8, bar - 22, "Feature 2 is multiplied by: drag", { bold: true });
    stage.axis(place, [-1, -0.5, 0, 0.5, 1],
      { at: bar, labels: ["0.1", "0.32", "1", "3.2", "10"] });
    const put = (to) => change({
      factor: 10 ** (Math.round(20 * Math.min(1, Math.max(-1, to))) / 20) });
    const log = Math.log10(state.factor);
    stage.handle("factor", place(log), bar, {
      label: "Factor of feature 2", text: show(state.factor),
      now: log, min: -1, max: 1,
      move: (px) => put(place.back(px)),
      step: (dx, dy) => put(log + 0.05 * (dx || dy)),
    });
  }

  function say(state, result) {
    const fate = state.share > 1 ? "the learning rate is over the limit, and the loss grows" :
      result.updates === Infinity ? "over a million updates would be needed" :
        `${result.updates} updates cut the excess loss to a thousandth`;
    return `Feature 2 times ${show(state.factor)}${state.divide ? ", then standardised" : ""}: ` +
      `condition number ${show(result.condition, 1)}, largest stable learning rate ` +
      `${show(2 / result.eigenvalues[0])}, used ${show(result.rate)}; ${fate}.`;
  }

  define("descent_path", {
    controls: [
      { name: "share", kind: "slider", label: "rate, share of the limit", min: 0.05, max: 1.1,
        step: 0.05 },
      { name: "divide", kind: "switch", label: "standardise the features" },
    ],
    start: { factor: 1, share: 0.9, divide: false },
    compute,
    height: (width) => 130 + Math.min(width - 60, 400) * 0.62,
    draw,
    say,
  });
})();
