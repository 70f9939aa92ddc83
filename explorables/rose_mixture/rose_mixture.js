/* A decision line, learned from a mixture of red and yellow pictures. */
(() => {
  "use strict";
  const { define, show, scale, mean } = window.Explorables;
  // Two features of 40 red and of 40 yellow pictures, in thousandths; roses are 1.
  const X = [[[157,77],[206,98],[196,62],[175,61],[173,58],[235,125],[225,104],[143,63],[134,75],
    [186,92],[125,89],[173,69],[224,67],[144,56],[124,86],[149,60],[196,74],[117,48],
    [150,78],[136,94],[180,88],[201,64],[146,54],[151,54],[166,77],[122,86],[136,88],
    [158,60],[188,88],[137,55],[189,88],[176,97],[150,57],[125,51],[194,90],[140,88],
    [132,58],[127,54],[133,55],[210,80]],[[122,45],[170,55],[98,42],[99,45],[134,64],
    [98,43],[96,53],[135,66],[95,44],[96,41],[152,49],[117,65],[123,72],[122,49],[107,44],
    [151,52],[118,80],[153,66],[115,72],[126,65],[107,45],[107,65],[136,63],[127,49],
    [103,63],[147,48],[107,63],[98,48],[138,80],[104,61],[151,48],[92,39],[163,68],[142,61],
    [133,49],[81,59],[97,64],[115,48],[107,41],[88,56]]];
  const Y = [
    "1100011011100010001110001110101100110001",
    "0000101100011000111101101010110011011001",
  ].map((row) => [...row].map(Number));
  const RIDGE = 0.01;
  const ROUNDS = 40;
  const NAMES = ["red", "yellow"];

  const column = (rows, k) => rows.map((row) => row[k]);

  function standardised(own) {
    const stats = X.map((rows) => [0, 1].map((k) => {
      const mu = mean(column(rows, k));
      return [mu, Math.sqrt(mean(column(rows, k).map((a) => (a - mu) ** 2)))];
    }));
    return X.map((rows, colour) => rows.map((row) =>
      row.map((a, k) => {
        const [mu, sd] = stats[own ? colour : 0][k];
        return (a - mu) / sd;
      })));
  }

  /** Solve a system of three equations by elimination. */
  function solve(matrix, right) {
    const rows = matrix.map((row, i) => [...row, right[i]]);
    for (let k = 0; k < 3; k += 1) {
      const pivot = rows.slice(k).reduce((best, row, i) =>
        (Math.abs(row[k]) > Math.abs(rows[best][k]) ? i + k : best), k);
      [rows[k], rows[pivot]] = [rows[pivot], rows[k]];
      for (let i = k + 1; i < 3; i += 1) {
        const factor = rows[i][k] / rows[k][k];
        for (let j = k; j < 4; j += 1) rows[i][j] -= factor * rows[k][j];
      }
    }
    const found = [0, 0, 0];
    for (let i = 2; i >= 0; i -= 1) {
      let rest = rows[i][3];
      for (let j = i + 1; j < 3; j += 1) rest -= rows[i][j] * found[j];
      found[i] = rest / rows[i][i];
    }
    return found;
  }

  /** Logistic regression by Newton's method, each colour with its share as weight. */
  function fit(z, weights) {
    let line = [0, 0, 0];
    for (let round = 0; round < ROUNDS; round += 1) {
      const gradient = line.map((value, k) => (k < 2 ? RIDGE * value : 0));
      const curvature = [0, 1, 2].map((i) => [0, 1, 2].map((j) =>
        (i === j && i < 2 ? RIDGE : 0)));
      z.forEach((rows, colour) => rows.forEach((row, n) => {
        const a = [...row, 1];
        const p = 1 / (1 + Math.exp(-a.reduce((sum, v, k) => sum + v * line[k], 0)));
        a.forEach((v, i) => {
          gradient[i] += weights[colour] * v * (p - Y[colour][n]);
          a.forEach((u, j) => { curvature[i][j] += weights[colour] * p * (1 - p) * v * u; });
        });
      }));
      const step = solve(curvature, gradient);
      line = line.map((value, k) => value - step[k]);
    }
    return line;
  }

  function compute({ share, own }) {
    const z = standardised(own);
    const shares = [1 - share, share];
    const line = fit(z, shares.map((value, k) => value / X[k].length));
    const right = z.map((rows, colour) => mean(rows.map((row, n) =>
      Number((row[0] * line[0] + row[1] * line[1] + line[2] > 0) === (Y[colour][n] === 1)))));
    const middle = [0, 1].map((k) =>
      shares.reduce((sum, value, colour) => sum + value * mean(column(z[colour], k)), 0));
    return { mean: middle, line, right };
  }

  /** A rose of five petals. */
  function rose(stage, x, y, colour) {
    for (let k = 0; k < 5; k += 1) {
      const turn = (k * 2 * Math.PI) / 5;
      stage.circle(x + 5 * Math.sin(turn), y - 5 * Math.cos(turn), 4.6,
        { fill: colour, stroke: "ground", width: 1 });
    }
    stage.circle(x, y, 3, { fill: "ground" });
  }

  const COLOURS = ["plum", "orange"];

  function draw(stage, state, result, change) {
    const { width } = stage;
    const place = scale([0, 1], [30, width - 30]);
    stage.text(8, 16, "Share of yellow pictures in training: drag", { bold: true });
    const roses = width < 500 ? 10 : 20;
    for (let k = 0; k < roses; k += 1) {
      const at = (k + 0.5) / roses;
      rose(stage, place(at), 38, COLOURS[at < state.share ? 1 : 0]);
    }
    stage.axis(place, [0, 0.5, 1], { at: 68, digits: 1 });
    const put = (to) =>
      change({ share: Math.round(20 * Math.min(1, Math.max(0, to))) / 20 });
    stage.handle("share", place(state.share), 68, {
      label: "Share of yellow pictures", text: show(state.share),
      now: state.share, min: 0, max: 1,
      move: (px) => put(place.back(px)),
      step: (dx, dy) => put(state.share + 0.05 * (dx || dy)),
    });
    const size = Math.min(width - 60, 420);
    const left = (width - size) / 2;
    const top = 112;
    const x = scale([-3.4, 2.9], [left, left + size]);
    const y = scale([-2.6, 2.9], [top + size * 0.873, top]);
    stage.rect(left, top, size, size * 0.873, { stroke: "grey", width: 1 });
    standardised(state.own).forEach((rows, colour) => rows.forEach(([a, b], n) => {
      const look = { stroke: COLOURS[colour], width: 1.8,
        fill: Y[colour][n] ? COLOURS[colour] : "none" };
      if (Y[colour][n]) stage.circle(x(a), y(b), 4, look);
      else stage.rect(x(a) - 3.5, y(b) - 3.5, 7, 7, look);
    }));
    const [u, v, c] = result.line;
    const ends = [-3.4, 2.9].map((a) => [a, -(u * a + c) / v])
      .map(([a, b]) => {
        const kept = Math.min(2.9, Math.max(-2.6, b));
        return kept === b ? [a, b] : [-(v * kept + c) / u, kept];
      });
    stage.path(ends.map(([a, b]) => [x(a), y(b)]), { stroke: "blue", width: 2.5 });
    const [m1, m2] = result.mean;
    for (const [dx, dy] of [[8, 0], [0, 8]]) {
      stage.line(x(m1) - dx, y(m2) - dy, x(m1) + dx, y(m2) + dy,
        { stroke: "ink", width: 2.5 });
    }
    stage.text(left, top - 8, "edge", { size: 12 });
    stage.text(left + size, top + size * 0.873 + 16, "spread of redness",
      { size: 12, anchor: "end" });
    stage.text(left, top + size * 0.873 + 34,
      "full disc: rose · open square: other shape · cross: mean",
      { size: width < 400 ? 12 : 13 });
  }

  function say(state, result) {
    const shares = result.right.map((value, k) => `${show(100 * value, 0)} % of ${NAMES[k]}`);
    return `Trained on ${show(100 * state.share, 0)} % yellow pictures, ` +
      `${state.own ? "each colour standardised by itself" : "all standardised as red is"}. ` +
      `The mean of the training set lies at ${result.mean.map((a) => show(a)).join(", ")}. ` +
      `Right are ${shares.join(" and ")}.`;
  }

  define("rose_mixture", {
    controls: [
      { name: "own", kind: "switch", label: "standardise each colour by itself" },
    ],
    start: { share: 0, own: false },
    compute,
    height: (width) => 152 + Math.min(width - 60, 420) * 0.873,
    draw,
    say,
  });
})();
