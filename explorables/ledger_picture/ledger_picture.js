/* The claims ledger as a picture: one disc for each claim, a row for each chapter. */
(() => {
  "use strict";
  const { define, data } = window.Explorables;
  const { chapters, verdicts, claims } = data.ledger_picture;
  const LOOKS = [{ fill: "blue" }, { fill: "ground", stroke: "blue", width: 2.5 },
    { fill: "orange" }];

  function compute({ chapter, kind, verdict }) {
    const grid = chapters.map(() => verdicts.map(() => 0));
    for (const [c, v, control] of claims) {
      if (kind === "all" || (kind === "controls") === Boolean(control)) grid[c][v] += 1;
    }
    const rows = chapter < 0 ? grid : [grid[chapter]];
    const counts = verdicts.map((_, v) => rows.reduce((sum, row) => sum + row[v], 0));
    const chosen = verdict < 0 ? counts.reduce((sum, n) => sum + n, 0) : counts[verdict];
    return { grid, counts, chosen };
  }

  const columns = (width) => Math.floor((width - 62) / 15);
  const longest = (width) => {
    const counts = chapters.map((_, k) => claims.filter(([c]) => c === k).length);
    return counts.map((n) => Math.max(1, Math.ceil(n / columns(width))));
  };

  function draw(stage, state, result) {
    const lines = longest(stage.width);
    let y = 20;
    chapters.forEach((number, k) => {
      const faded = state.chapter >= 0 && state.chapter !== k;
      stage.text(40, y + 4, `ch. ${number}`, { anchor: "end", size: 12, bold: !faded });
      let n = 0;
      verdicts.forEach((_, v) => {
        const pale = faded || (state.verdict >= 0 && state.verdict !== v);
        for (let i = 0; i < result.grid[k][v]; i += 1) {
          const [row, column] = [Math.floor(n / columns(stage.width)), n % columns(stage.width)];
          stage.circle(56 + 15 * column, y + 15 * row, 5,
            pale ? { fill: "pale" } : LOOKS[v]);
          n += 1;
        }
      });
      y += 15 * lines[k] + 9;
    });
    verdicts.forEach((words, v) => {
      const x = 16 + (stage.width < 420 ? 100 : 130) * v;
      stage.circle(x, y + 8, 5, LOOKS[v]);
      stage.text(x + 10, y + 12, words, { size: 12 });
    });
  }

  function say(state, result) {
    const where = state.chapter < 0 ? "In all chapters" : `In chapter ${chapters[state.chapter]}`;
    const kind = { all: "claims", papers: "claims of papers", controls: "controls of this book" };
    const all = result.counts.reduce((sum, n) => sum + n, 0);
    return `${where}: ${all} ${kind[state.kind]}. ` +
      `${verdicts.map((words, v) => `${result.counts[v]} ${words}`).join(", ")}.`;
  }

  define("ledger_picture", {
    controls: [
      { name: "chapter", kind: "choice", label: "chapter",
        options: [[-1, "all"], ...chapters.map((number, k) => [k, String(number)])] },
      { name: "kind", kind: "choice", label: "claims", options: [["all", "all"],
        ["papers", "of papers"], ["controls", "controls of this book"]] },
      { name: "verdict", kind: "choice", label: "verdict",
        options: [[-1, "all"], ...verdicts.map((words, v) => [v, words])] },
    ],
    start: { chapter: -1, kind: "all", verdict: -1 },
    compute,
    height: (width) => 42 + longest(width).reduce((sum, n) => sum + 15 * n + 9, 0),
    draw,
    say,
  });
})();
