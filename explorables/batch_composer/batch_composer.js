/* A batch composed by the reader: three classes and padding, and what it does to all. */
(() => {
  "use strict";
  const { define, show, scale, moments } = window.Explorables;
  const [EACH, PADDING, EPS] = [8, 0, 1e-5];
  const CENTRES = [-1, 2, 5];
  const OFFSETS = [0, 0.7, -0.6, 0.3, -0.9, 1, -0.2, -0.3];
  const CLASSES = [["a", "blue"], ["b", "orange"], ["c", "plum"]];

  const members = (state) => CLASSES.flatMap(([name, colour], k) =>
    OFFSETS.slice(0, state[name]).map((offset) => ({ x: CENTRES[k] + offset, colour })));
  const EVERYONE = moments(members({ a: EACH, b: EACH, c: EACH }).map(({ x }) => x));
  const normalized = (x, [mu, variance]) => (x - mu) / Math.sqrt(variance + EPS);

  function compute(state) {
    const x = members(state).map((member) => member.x);
    const padded = [...x, ...Array(state.padding).fill(PADDING)];
    const stats = state.norm === "evaluate" ? EVERYONE :
      moments(state.norm === "masked" ? x : padded);
    const y = x.map((value) => normalized(value, stats));
    return { mean: stats[0], variance: stats[1], y,
      off: Math.max(...x.map((value, i) => Math.abs(y[i] - normalized(value, EVERYONE)))) };
  }

  function draw(stage, state, result) {
    const { width } = stage;
    const x = scale([-3, 7], [20, width - 20]);
    const y = scale([-3.2, 3.2], [20, width - 20]);
    stage.text(8, 16, "x: the batch", { bold: true });
    stage.axis(x, [-2, 0, 2, 4, 6], { at: 84 });
    stage.text(8, 256, "y: after the layer (rings: in evaluation mode)", { bold: true });
    stage.axis(y, [-3, -2, -1, 0, 1, 2, 3], { at: 222 });
    for (let k = 0; k < state.padding; k += 1) {
      stage.rect(x(PADDING) - 4, 72 - 7 * k, 8, 5, { fill: "grey" });
    }
    const edge = (value) => Math.min(3.2, Math.max(-3.2, value));
    members(state).forEach((member, i) => {
      const right = normalized(member.x, EVERYONE);
      stage.circle(x(member.x), 78, 5, { fill: member.colour, stroke: "ground", width: 1 });
      stage.line(x(member.x), 90, y(edge(result.y[i])), 200, { stroke: "pale", width: 1 });
      stage.circle(y(edge(right)), 214, 7, { stroke: member.colour, width: 1.5 });
      stage.circle(y(edge(result.y[i])), 206, 5,
        { fill: member.colour, stroke: "ground", width: 1 });
    });
    const sd = Math.sqrt(result.variance);
    stage.line(x(result.mean), 28, x(result.mean), 84, { stroke: "ink", width: 2 });
    stage.line(x(Math.max(-3, result.mean - sd)), 34, x(Math.min(7, result.mean + sd)), 34,
      { stroke: "ink", width: 2 });
    stage.text(8, 278, "■ padding · vertical line: mean · horizontal line: mean ± σ", { size: 12 });
  }

  function say(state, result) {
    const classes = ["A", "B", "C"].map((name, k) => `${state[CLASSES[k][0]]} of ${name}`);
    const how = { batch: "Batch norm", masked: "Batch norm that leaves the padding out",
      evaluate: "Evaluation mode" }[state.norm];
    return `A batch with ${classes.join(", ")} and ${state.padding} padded rows. ${how}: mean ` +
      `${show(result.mean)}, variance ${show(result.variance)}. Furthest from its output in ` +
      `evaluation mode: ${show(result.off)}.`;
  }

  const count = (name, label, min) =>
    ({ name, label, kind: "slider", min, max: EACH, step: 1, digits: 0 });
  define("batch_composer", {
    controls: [
      count("a", "class A", 1), count("b", "class B", 0), count("c", "class C", 0),
      count("padding", "padding", 0),
      { name: "norm", kind: "choice", label: "layer", options: [["batch", "batch norm"],
        ["masked", "batch norm, padding masked"], ["evaluate", "evaluation mode"]] },
    ],
    start: { a: 4, b: 4, c: 4, padding: 0, norm: "batch" },
    compute,
    height: () => 286,
    draw,
    say,
  });
})();
