/* The loss along the gradient, and the straight line that the gradient promises. */
(() => {
  "use strict";
  const { define, show, scale, data } = window.Explorables;
  const SEEN = data.along_gradient;
  const RATE = 0.1;
  const ARMS = [["batch", "batch norm", "blue", ""], ["none", "no norm", "orange", "7 4"]];

  function compute({ moment, reach }) {
    return Object.fromEntries(ARMS.map(([norm]) => {
      const { losses, square } = SEEN[norm][moment];
      const walked = losses.slice(0, Math.round(10 * reach) + 1);
      const end = walked[walked.length - 1];
      return [norm, { range: Math.max(...walked) - Math.min(...walked), end,
        missed: end - (losses[0] - reach * RATE * square) }];
    }));
  }

  function draw(stage, state, result, change) {
    const { width } = stage;
    const x = scale([0, 4], [46, width - 24]);
    const top = Math.max(...ARMS.flatMap(([norm]) => SEEN[norm][state.moment].losses));
    const high = [0.2, 0.5, 1, 2, 3, 4, 5].find((v) => v >= top) || 6;
    const y = scale([0, high], [244, 24]);
    stage.axis(x, [0, 1, 2, 3, 4], { at: 244, label: "distance, in steps of the learning rate" });
    stage.axis(y, [0, high / 2, high], { at: 46, up: true, digits: high < 1 ? 2 : 1,
      label: "loss" });
    ARMS.forEach(([norm, name, colour, dash], k) => {
      const { losses, square } = SEEN[norm][state.moment];
      stage.path(losses.map((loss, i) => [x(i / 10), y(loss)]),
        { stroke: colour, width: 2.5, dash });
      const until = Math.min(4, losses[0] / (RATE * square)); // the line meets 0
      stage.line(x(0), y(losses[0]), x(until), y(losses[0] - until * RATE * square),
        { stroke: colour, width: 1, dash: "1 3" });
      stage.circle(x(state.reach), y(result[norm].end), 5, { fill: colour });
      stage.line(10 + 110 * k, 300, 32 + 110 * k, 300, { stroke: colour, width: 2.5, dash });
      stage.text(38 + 110 * k, 304, name, { size: 12 });
    });
    stage.text(206, 304, "dotted: straight line", { size: 12 });
    stage.line(x(state.reach), 24, x(state.reach), 244, { stroke: "ink", width: 1 });
    const put = (reach) => change({ reach: Math.round(10 * Math.min(4, Math.max(0.1, reach))) / 10 });
    stage.handle("reach", x(state.reach), 244, {
      label: "Distance along the gradient", text: `${show(state.reach, 1)} steps`,
      now: state.reach, min: 0.1, max: 4,
      move: (px) => put(x.back(px)),
      step: (dx, dy) => put(state.reach + 0.1 * (dx || dy)),
    });
  }

  function say(state, result) {
    const told = ARMS.map(([norm, name]) => {
      const { range, end, missed } = result[norm];
      return `${name}: the loss ends at ${show(end)}, ranges over ${show(range)}, and misses ` +
        `its straight line by ${show(Math.abs(missed))}`;
    });
    const large = (text) => text[0].toUpperCase() + text.slice(1);
    return `After ${SEEN.steps[state.moment]} updates, ${show(state.reach, 1)} steps along the ` +
      `gradient. ${told.map(large).join(". ")}.`;
  }

  define("along_gradient", {
    controls: [
      { name: "moment", kind: "slider", label: "moment of training", min: 0,
        max: SEEN.steps.length - 1, step: 1, text: (k) => `${SEEN.steps[k]} updates` },
    ],
    start: { moment: 3, reach: 2 },
    compute,
    height: () => 312,
    draw,
    say,
  });
})();
