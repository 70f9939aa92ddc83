/* Forty digits are answered by a small net, in batches of a size that the reader sets. */
(() => {
  "use strict";
  const { define, data } = window.Explorables;
  const { images, labels, net } = data.digit_batches;
  const EPS = 1e-5;
  const X = images.map((text) => [...text].map((c) => parseInt(c, 17) / 16));

  const dot = (u, v) => u.reduce((sum, a, k) => sum + a * v[k], 0);
  const HIDDEN = X.map((x) => net["0.weight"].map((w) => dot(w, x)));

  function outputs(batch, evaluate) {
    const width = net["1.weight"].length;
    const stats = [...Array(width).keys()].map((k) => {
      if (evaluate) return [net["1.running_mean"][k], net["1.running_var"][k]];
      const mean = batch.reduce((sum, h) => sum + h[k], 0) / batch.length;
      return [mean, batch.reduce((sum, h) => sum + (h[k] - mean) ** 2, 0) / batch.length];
    });
    return batch.map((h) => {
      const a = h.map((value, k) => Math.max(0, (net["1.weight"][k] * (value - stats[k][0])) /
        Math.sqrt(stats[k][1] + EPS) + net["1.bias"][k]));
      return net["3.weight"].map((w, j) => dot(w, a) + net["3.bias"][j]);
    });
  }

  function order(name) {
    const rows = [...labels.keys()];
    return name === "mixed" ? rows : rows.sort((i, j) => labels[i] - labels[j] || i - j);
  }

  function compute({ size, evaluate, order: name }) {
    const rows = order(name);
    const found = [];
    for (let start = 0; start < rows.length; start += size) {
      const part = rows.slice(start, start + size);
      outputs(part.map((i) => HIDDEN[i]), evaluate).forEach((y, k) => { found[part[k]] = y; });
    }
    const answers = found.map((y) => y.indexOf(Math.max(...y)));
    return { outputs: found, answers,
      right: answers.filter((answer, i) => answer === labels[i]).length };
  }

  function draw(stage, state, result) {
    const columns = stage.width < 500 ? 8 : 10;
    const cell = Math.min(64, (stage.width - 16) / columns);
    const left = (stage.width - columns * cell) / 2;
    const pixel = Math.floor(10 * ((cell - 12) / 8)) / 10;
    const high = cell + 18;
    order(state.order).forEach((image, place) => {
      const x = left + (place % columns) * cell;
      const y = 6 + Math.floor(place / columns) * high;
      for (const level of [0.25, 0.5, 0.75, 1]) { // one shape for each shade
        const d = X[image].map((value, p) => (Math.ceil(4 * value - 0.25) / 4 === level ?
          `M${(x + 6 + (p % 8) * pixel).toFixed(1)} ` +
          `${(y + Math.floor(p / 8) * pixel).toFixed(1)}h${pixel}v${pixel}h-${pixel}z` : ""));
        stage.shape("path", { d: d.join("") || "M0 0" }, { fill: "ink", opacity: level });
      }
      const ok = result.answers[image] === labels[image];
      stage.text(x + cell / 2, y + cell + 2, `${result.answers[image]} ${ok ? "✓" : "✗"}`,
        { anchor: "middle", colour: ok ? "ink" : "plum", bold: !ok });
      if (place % state.size === 0 && !state.evaluate && state.size > 1) {
        stage.line(x + 1, y - 2, x + 1, y + cell, { stroke: "plum", width: 2 });
      }
    });
  }

  function say(state, result) {
    const kinds = new Set(result.answers);
    const all = kinds.size === 1 ? ` Every answer is ${result.answers[0]}.` : "";
    const how = state.evaluate ? "Evaluation mode, whatever the batch" :
      `Training mode, batches of ${state.size}, ${state.order}`;
    return `${how}: ${result.right} of 40 right, ${kinds.size} different ${kinds.size === 1 ? "answer" : "answers"}.${all}`;
  }

  define("digit_batches", {
    controls: [
      { name: "size", kind: "slider", label: "batch size", min: 1, max: 40, step: 1, digits: 0 },
      { name: "order", kind: "choice", label: "order",
        options: [["mixed", "mixed"], ["sorted", "sorted by class"]] },
      { name: "evaluate", kind: "switch", label: "evaluation mode" },
    ],
    start: { size: 1, evaluate: false, order: "mixed" },
    compute,
    height: (width) => {
      const columns = width < 500 ? 8 : 10;
      return 10 + (40 / columns) * (Math.min(64, (width - 16) / columns) + 18);
    },
    draw,
    say,
  });
})();
