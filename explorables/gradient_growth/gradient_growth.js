/* How the squared gradient grows through a deep random net, measured and in theory. */
(() => {
  "use strict";
  const { define, show, scale, data } = window.Explorables;
  const { sizes, factors, limits } = data.gradient_growth;
  const DEPTHS = 60;

  function compute({ net, size, depth }) {
    const m = sizes[size];
    const factor = factors[net][size];
    const theory = { identity: (m - 2) / (m - 3), none: 1 }[net] ?? limits[net];
    return { factor, theory, total: factor ** depth,
      thousand: factor > 1.0005 ? Math.log(1000) / Math.log(factor) : Infinity };
  }

  function draw(stage, state, result, change) {
    const { width } = stage;
    const x = scale([0, DEPTHS], [52, width - 24]);
    const y = scale([-1, 12], [262, 24]);
    stage.axis(x, [0, 10, 20, 30, 40, 50, 60], { at: 262, label: "layers" });
    stage.axis(y, [0, 3, 6, 9, 12], { at: 52, up: true,
      labels: ["1", "1,000", "10⁶", "10⁹", "10¹²"] });
    const line = (factor, look) => {
      const log = Math.log10(factor);
      const end = log > 0 ? Math.min(DEPTHS, 12 / log) : DEPTHS;
      stage.path([[x(0), y(0)], [x(end), y(log * end)]], look);
    };
    line(result.theory, { stroke: "ink", width: 2, dash: "6 4" });
    line(result.factor, { stroke: state.net === "none" ? "orange" : "blue", width: 2.5 });
    stage.line(10, 306, 32, 306, { stroke: state.net === "none" ? "orange" : "blue", width: 2.5 });
    stage.text(38, 310, "measured", { size: 12 });
    stage.line(110, 306, 132, 306, { stroke: "ink", width: 2, dash: "6 4" });
    stage.text(138, 310, state.net === "identity" ? "theory for this batch size" :
      state.net === "none" ? "no growth" : "theory for large batches", { size: 12 });
    const height = Math.min(12, Math.max(-1, Math.log10(result.total)));
    const put = (depth) => change({ depth: Math.round(Math.min(DEPTHS, Math.max(1, depth))) });
    stage.handle("depth", x(state.depth), y(height), {
      label: "Depth", text: `${state.depth} layers`, now: state.depth, min: 1, max: DEPTHS,
      move: (px) => put(x.back(px)),
      step: (dx, dy) => put(state.depth + (dx || dy)),
    });
  }

  /** A large number in words that can be read aloud. */
  function large(value) {
    if (value < 1000) return show(value, value < 10 ? 2 : 0);
    const power = Math.floor(Math.log10(value));
    return `${show(value / 10 ** power, 1)} times 10 to the ${power}`;
  }

  function say(state, result) {
    const often = Number.isFinite(result.thousand) ?
      `It is a thousand times as large after ${show(result.thousand, 1)} layers.` :
      "It does not grow.";
    return `Batches of ${sizes[state.size]}: each layer multiplies the squared gradient by ` +
      `${show(result.factor, 3)}, in theory by ${show(result.theory, 3)}. Through ` +
      `${state.depth} layers that makes ${large(result.total)}. ${often}`;
  }

  define("gradient_growth", {
    controls: [
      { name: "net", kind: "choice", label: "net", options: [
        ["identity", "batch norm, identity"], ["relu", "batch norm, ReLU"],
        ["tanh", "batch norm, tanh"], ["sigmoid", "batch norm, sigmoid"],
        ["none", "no norm, ReLU, He weights"]] },
      { name: "size", kind: "slider", label: "batch size", min: 0, max: 7, step: 1,
        text: (k) => String(sizes[k]) },
    ],
    start: { net: "relu", size: 5, depth: 30 },
    compute,
    height: () => 320,
    draw,
    say,
  });
})();
