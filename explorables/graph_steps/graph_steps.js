/* The computation graph of the layer on three numbers, one node at a time. */
(() => {
  "use strict";
  const { define, show } = window.Explorables;
  const [ROOT, MANY] = ["√(σ² + ε)", 3];
  const one = (f) => (...columns) => columns[0].map((_, i) =>
    f(...columns.map((c) => c[c.length === 1 ? 0 : i])));
  const total = (v) => [v.reduce((sum, a) => sum + a, 0)];
  const mean = (v) => [total(v)[0] / v.length];
  const spread = (g, v) => v.map(() => g[0] / v.length);
  const like = (g, v) => (v.length === 1 ? total(g) : g);

  // Name, symbol, inputs, rule forward, rule backward, place; `go` and `back` compute.
  const NODES = [
    ["x", "x", [], "an input", "the end: ∂ℓ/∂x", [0, 1]],
    ["mu", "μ", ["x"], "the mean of x", "each row gets g / m", [0, 0], mean,
      (g, y, a) => [spread(g, a)]],
    ["centred", "x − μ", ["x", "mu"], "subtract", "g to x, −g to μ", [1, 1],
      one((a, b) => a - b), (g, y, a, b) => [g, like(g.map((v) => -v), b)]],
    ["squared", "(x − μ)²", ["centred"], "square", "2 a g", [1, 0], one((a) => a * a),
      (g, y, a) => [one((v, u) => 2 * u * v)(g, a)]],
    ["var", "σ²", ["squared"], "the mean of the squares", "each row gets g / m", [2, 0],
      mean, (g, y, a) => [spread(g, a)]],
    ["std", ROOT, ["var"], "add ε, take the root", "g / (2 √(σ² + ε))", [3, 0], null,
      (g, y) => [[g[0] / (2 * y[0])]]],
    ["inv_std", `1 / ${ROOT}`, ["std"], "invert", "−g / a²", [4, 0], one((a) => 1 / a),
      (g, y) => [[-g[0] * y[0] ** 2]]],
    ["x_hat", "x̂", ["centred", "inv_std"], "multiply", "g b to the first, g a to the second",
      [4, 1], one((a, b) => a * b),
      (g, y, a, b) => [one((v, u) => v * u)(g, b), like(one((v, u) => v * u)(g, a), b)]],
    ["gamma", "γ", [], "an input", "the end: ∂ℓ/∂γ", [5, 2]],
    ["scaled", "γ x̂", ["x_hat", "gamma"], "scale", "g γ to x̂, the sum of g x̂ to γ", [5, 1],
      one((a, b) => a * b),
      (g, y, a, b) => [one((v, u) => v * u)(g, b), like(one((v, u) => v * u)(g, a), b)]],
    ["beta", "β", [], "an input", "the end: ∂ℓ/∂β", [6, 2]],
    ["y", "y", ["scaled", "beta"], "shift", "g to γx̂, the sum of g to β", [6, 1],
      one((a, b) => a + b), (g, y, a, b) => [g, like(g, b)]],
  ].map(([name, symbol, inputs, rule, back, place, go, hand]) =>
    ({ name, symbol, inputs, rule, back, place, go, hand }));
  const LAST = 2 * NODES.length;

  function compute(state) {
    const value = { x: [state.x1, state.x2, state.x3], gamma: [state.gamma],
      beta: [state.beta] };
    for (const { name, inputs, go } of NODES) {
      if (name === "std") value.std = [Math.sqrt(value.var[0] + state.eps)];
      else if (go) value[name] = go(...inputs.map((i) => value[i]));
    }
    const grad = { y: [state.g1, state.g2, state.g3] };
    for (const { name, inputs, hand } of [...NODES].reverse()) {
      if (!hand) continue;
      hand(grad[name], value[name], ...inputs.map((i) => value[i])).forEach((g, k) => {
        const into = inputs[k];
        grad[into] = grad[into] ? grad[into].map((v, i) => v + g[i]) : g;
      });
    }
    return { value, grad };
  }

  const at = (step) => (step <= NODES.length ? NODES[step - 1] : NODES[LAST - step]);
  const number = (v) => show(v, Math.abs(v) >= 100 ? 0 : 2);

  function draw(stage, state, result) {
    const upright = stage.width < 560;
    const cell = upright ? [(stage.width - 8) / 3, 84] : [(stage.width - 8) / 7, 104];
    const box = [Math.min(cell[0] - 12, 108), 66];
    const middle = ({ place: [a, b] }) => (upright ?
      [4 + (b + 0.5) * cell[0], 6 + (a + 0.5) * cell[1]] :
      [4 + (a + 0.5) * cell[0], 10 + (2.5 - b) * cell[1]]);
    const done = (node) => NODES.indexOf(node) < state.step || !node.inputs.length;
    const returned = (node) => LAST - NODES.indexOf(node) <= state.step;
    const backward = state.step > NODES.length;
    const now = at(state.step);
    for (const node of NODES) {
      const [x, y] = middle(node);
      for (const input of node.inputs) {
        const [a, b] = middle(NODES.find((n) => n.name === input));
        const look = node !== now ? { stroke: "grey", width: 1 } :
          { stroke: backward ? "plum" : "blue", width: 3 };
        stage.line(a, b, x, y, look);
      }
    }
    for (const node of NODES) {
      const [x, y] = middle(node);
      const [left, top] = [x - box[0] / 2, y - box[1] / 2];
      const look = node === now ? { stroke: backward ? "plum" : "blue", width: 3 } :
        { stroke: "grey", width: 1 };
      stage.rect(left, top, ...box, { ...look, fill: "ground" });
      stage.text(x, top + 14, node.symbol, { anchor: "middle", bold: true, size: 12 });
      const column = (values, dx, anchor, colour) => values.forEach((v, i) =>
        stage.text(x + dx, top + 30 + 14 * (i + (values.length < MANY)), number(v),
          { anchor, colour, size: 12 }));
      if (done(node)) column(result.value[node.name], -3, "end", "ink");
      if (returned(node) || node.name === "y") {
        column(result.grad[node.name], box[0] / 2 - 4, "end", "plum");
      }
    }
  }

  function say(state, result) {
    const node = at(state.step);
    const rows = (v) => `shape ${v.length === 1 ? "(1)" : "(3, 1)"}, ${v.map(number).join(", ")}`;
    const step = `Step ${state.step} of ${LAST}`;
    if (state.step <= NODES.length) {
      return `${step}, forward, ${node.symbol}: ${node.rule}; ${rows(result.value[node.name])}.`;
    }
    return `${step}, backward, ${node.symbol}: its gradient g has ` +
      `${rows(result.grad[node.name])}. Local rule: ${node.back}.`;
  }

  const field = (name, label) =>
    ({ name, label, kind: "number", min: -999, max: 999, step: 0.5 });
  define("graph_steps", {
    controls: [
      ...["x1", "x2", "x3"].map((name, i) => field(name, "x₁x₂x₃".slice(2 * i, 2 * i + 2))),
      field("gamma", "γ"), field("beta", "β"),
      ...["g1", "g2", "g3"].map((name, i) => field(name, `∂ℓ/∂y${"₁₂₃"[i]}`)),
      { name: "eps", kind: "choice", label: "ε",
        options: [[1e-5, "0.00001"], [0, "0"], [0.1, "0.1"]] },
      { kind: "button", label: "Step back", press: ({ step }) => ({ step: step - 1 }),
        idle: ({ step }) => step === 1 },
      { kind: "button", label: "Next step", press: ({ step }) => ({ step: step + 1 }),
        idle: ({ step }) => step === LAST },
    ],
    start: { x1: 1, x2: 2, x3: 6, gamma: 2, beta: 0.5, g1: 1, g2: 0, g3: 0, eps: 1e-5,
      step: 6 },
    compute,
    height: (width) => (width < 560 ? 12 + 7 * 84 : 320),
    draw,
    say,
  });
})();
