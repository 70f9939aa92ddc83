/* One tensor of 3 examples, 4 channels, 6 positions: which entries share a mean? */
(() => {
  "use strict";
  const { define, show } = window.Explorables;
  const [EXAMPLES, CHANNELS, POSITIONS, EPS] = [3, 4, 6, 1e-5];
  const value = (b, c, p) => ((7 * b + 5 * c + 3 * p + b * c * p) % 11) - 4;
  const ENTRIES = [...Array(EXAMPLES * CHANNELS * POSITIONS).keys()].map((k) => {
    const [b, c, p] = [Math.floor(k / 24), Math.floor(k / 6) % 4, k % 6];
    return { k, b, c, p, x: value(b, c, p) };
  });
  // Whether an entry is in the set of another one.
  const SAME = {
    batch: (u, v) => u.c === v.c,
    layer: (u, v) => u.b === v.b,
    instance: (u, v) => u.b === v.b && u.c === v.c,
    group: (u, v) => u.b === v.b && u.c >> 1 === v.c >> 1,
    rms: (u, v) => u.b === v.b,
  };
  const chosen = ({ example, channel, position }) =>
    ENTRIES[24 * example + 6 * channel + position];

  function compute(state) {
    const entry = chosen(state);
    const set = ENTRIES.filter((other) => SAME[state.norm](entry, other));
    const mean = set.reduce((sum, { x }) => sum + x, 0) / set.length;
    const centre = state.norm === "rms" ? 0 : mean;
    const variance = set.reduce((sum, { x }) => sum + (x - centre) ** 2, 0) / set.length;
    return { shared: set.map(({ k }) => k), mean, variance,
      y: (entry.x - centre) / Math.sqrt(variance + EPS) };
  }

  /** Side of a cell and the corner of an example's grid: side by side, or stacked. */
  function layout(width) {
    const stacked = width < 520;
    const cell = stacked ? 26 : Math.min(32, (width - 60) / (3 * POSITIONS + 2));
    const left = stacked ? (width - POSITIONS * cell) / 2 :
      (width - (3 * POSITIONS + 2) * cell) / 2;
    return { stacked, cell, corner: (b) => (stacked ?
      [left, 24 + b * (CHANNELS * cell + 34)] : [left + b * (POSITIONS + 1) * cell, 24]) };
  }

  function draw(stage, state, result, change) {
    const { cell, corner } = layout(stage.width);
    const shared = new Set(result.shared);
    for (let b = 0; b < EXAMPLES; b += 1) {
      const [x, y] = corner(b);
      stage.text(x, y - 8, `example ${b + 1}`, { size: 12 });
      if (!b) stage.text(x - 4, y + cell / 2 + 4, "c 1", { anchor: "end", size: 12 });
      if (!b) stage.text(x - 4, y + 3.5 * cell + 4, "c 4", { anchor: "end", size: 12 });
    }
    for (const { k, b, c, p, x } of ENTRIES) {
      const [left, top] = corner(b);
      const [px, py] = [left + p * cell, top + c * cell];
      stage.rect(px + 1, py + 1, cell - 2, cell - 2, shared.has(k) ?
        { fill: "blue", opacity: 0.3 } : { stroke: "pale", width: 1 });
      stage.text(px + cell / 2, py + cell / 2 + 4, show(x, 0),
        { anchor: "middle", size: 12, bold: shared.has(k) });
    }
    const entry = chosen(state);
    const [left, top] = corner(entry.b);
    const put = (k) => {
      const { b, c, p } = ENTRIES[Math.min(71, Math.max(0, k))];
      change({ example: b, channel: c, position: p });
    };
    stage.handle("entry", left + (entry.p + 0.5) * cell, top + (entry.c + 0.5) * cell, {
      label: "Chosen entry", colour: "orange",
      text: `example ${entry.b + 1}, channel ${entry.c + 1}, position ${entry.p + 1}`,
      now: entry.k, min: 0, max: 71,
      move: (x, y) => {
        const near = ENTRIES.map(({ k, b, c, p }) => {
          const [a, d] = corner(b);
          return [Math.hypot(a + (p + 0.5) * cell - x, d + (c + 0.5) * cell - y), k];
        });
        put(near.sort((u, v) => u[0] - v[0])[0][1]);
      },
      step: (dx, dy) => put(entry.k + Math.sign(dx) - 6 * Math.sign(dx ? 0 : dy)),
    });
  }

  function say(state, result) {
    const entry = chosen(state);
    const n = result.shared.length;
    const what = state.norm === "rms" ?
      `mean square ${show(result.variance)}, no mean is taken off` :
      `mean ${show(result.mean)}, variance ${show(result.variance)}`;
    return `Entry of example ${entry.b + 1}, channel ${entry.c + 1}, position ` +
      `${entry.p + 1}: ${show(entry.x, 0)}. In ${state.norm === "rms" ? "RMS" : state.norm} ` +
      `norm it shares its statistics with ${n - 1} others: ${what}. It becomes ${show(result.y)}.`;
  }

  define("tensor_cube", {
    controls: [
      { name: "norm", kind: "choice", label: "norm", options: [["batch", "batch norm"],
        ["layer", "layer norm"], ["instance", "instance norm"],
        ["group", "group norm, 2 groups"], ["rms", "RMS norm"]] },
    ],
    start: { norm: "batch", example: 0, channel: 1, position: 2 },
    compute,
    height: (width) => {
      const { stacked, cell } = layout(width);
      return stacked ? 3 * (CHANNELS * cell + 34) + 6 : CHANNELS * cell + 36;
    },
    draw,
    say,
  });
})();
