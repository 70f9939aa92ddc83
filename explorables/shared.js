/* The ground of the living figures: controls, a stage of SVG, handles, text for readers
   and screen readers. A figure registers itself:

   Explorables.define("name", {
     controls: [{name, kind: "slider" | "choice" | "switch" | "number" | "button", ...}],
     start: {...},               // the first state
     compute(state) -> result,   // pure: tested against numbers that bnlib wrote
     height(width) -> pixels,
     draw(stage, state, result, change),
     say(state, result) -> text  // what is shown, in words
   });

   `change(part)` merges a part into the state and draws again. */
(() => {
  "use strict";
  const NS = "http://www.w3.org/2000/svg";
  const COLOURS = {
    blue: "#3f77d8", orange: "#d87a3f", green: "#075013", plum: "#84476a",
    ink: "#1a1a1a", grey: "#8c8c8c", pale: "#dedede", ground: "#ffffff",
  };
  const kinds = {};
  const STILL_WIDTH = 640;

  /** A colour that the dark page may replace. */
  function paint(name) {
    const colour = COLOURS[name] || name;
    return `var(--${colour.slice(1)},${colour})`;
  }

  /** A number for readers: a true minus sign, no "-0". */
  function show(value, digits = 2) {
    if (Number.isNaN(value)) return "not a number";
    if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
    const text = value.toFixed(digits);
    return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "−");
  }

  /** The mean of some numbers; and with it their variance, with the divisor m. */
  const mean = (v) => v.reduce((sum, a) => sum + a, 0) / v.length;
  function moments(v) {
    const mu = mean(v);
    return [mu, mean(v.map((a) => (a - mu) ** 2))];
  }

  function make(tag, attributes = {}, parent = null, text = "") {
    const svg = /^(svg|g|line|circle|rect|path|text|tspan|title|polygon)$/.test(tag);
    const made = svg ? document.createElementNS(NS, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      made.setAttribute(name, typeof value === "number" ? +value.toFixed(2) : value);
    }
    if (text !== "") made.textContent = text;
    if (parent) parent.append(made);
    return made;
  }

  /** What a figure draws on: plain shapes in pixels, and handles that are dragged. */
  class Stage {
    constructor(svg, width, height) {
      Object.assign(this, { svg, width, height, handles: new Map() });
      this.layer = make("g", {}, svg);
      this.top = make("g", {}, svg);
    }
    begin(width, height) {
      Object.assign(this, { width, height });
      this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      this.layer.replaceChildren();
      for (const handle of this.handles.values()) handle.used = false;
    }
    end() {
      for (const [id, handle] of this.handles) {
        if (!handle.used) { handle.node.remove(); this.handles.delete(id); }
      }
    }
    shape(tag, attributes, look = {}, text = "") {
      const { fill = "none", stroke = "none", width = 1.5, dash = "" } = look;
      const colours = { fill: fill === "none" ? fill : paint(fill),
        stroke: stroke === "none" ? stroke : paint(stroke) };
      const style = `fill:${colours.fill};stroke:${colours.stroke};stroke-width:${width}` +
        (dash ? `;stroke-dasharray:${dash}` : "") +
        (look.opacity ? `;opacity:${look.opacity}` : "");
      return make(tag, { ...attributes, style }, this.layer, text);
    }
    line(x1, y1, x2, y2, look = {}) {
      return this.shape("line", { x1, y1, x2, y2 }, { stroke: "grey", ...look });
    }
    circle(cx, cy, r, look = { fill: "blue" }) {
      return this.shape("circle", { cx, cy, r }, look);
    }
    rect(x, y, width, height, look = { fill: "pale" }) {
      return this.shape("rect", { x, y, width, height }, look);
    }
    path(points, look = {}) {
      const on = points.filter((p) => p.every(Number.isFinite));
      const d = on.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`);
      return this.shape("path", { d: d.join("") || "M0 0" }, { stroke: "blue", ...look });
    }
    text(x, y, words, { anchor = "start", colour = "ink", size = 13, bold = false } = {}) {
      const style = `fill:${paint(colour)};font-size:${size}px;text-anchor:${anchor}` +
        `;font-family:sans-serif${bold ? ";font-weight:600" : ""}`;
      return make("text", { x, y, style }, this.layer, words);
    }
    /** An axis of numbers along the bottom (or, with `up`, along the left). */
    axis(scale, ticks, { at, up = false, label = "", digits = 0, labels = [] } = {}) {
      const [from, to] = [scale(ticks[0]), scale(ticks[ticks.length - 1])];
      if (up) this.line(at, from, at, to); else this.line(from, at, to, at);
      for (const [i, tick] of ticks.entries()) {
        const p = scale(tick);
        const words = labels[i] ?? show(tick, digits);
        if (up) {
          this.line(at - 4, p, at, p);
          this.text(at - 7, p + 4, words, { anchor: "end", size: 12 });
        } else {
          this.line(p, at, p, at + 4);
          this.text(p, at + 17, words, { anchor: "middle", size: 12 });
        }
      }
      if (label && up) this.text(at - 30, Math.min(from, to) - 10, label, { size: 12 });
      if (label && !up) {
        this.text((from + to) / 2, at + 34, label, { anchor: "middle", size: 12 });
      }
    }
    /** Something round that is dragged, or moved by the arrow keys. */
    handle(id, x, y, { label, text, now, min, max, move, step, colour = "blue" }) {
      let handle = this.handles.get(id);
      if (!handle) {
        const node = make("g", { class: "explorable-handle", tabindex: "0",
          role: "slider" }, this.top);
        make("circle", { r: 22, style: "fill:transparent" }, node);
        make("circle", { r: 9, class: "explorable-knob" }, node);
        handle = { node };
        this.handles.set(id, handle);
        node.addEventListener("pointerdown", (event) => {
          node.setPointerCapture(event.pointerId);
          node.focus();
          event.preventDefault();
        });
        // A finger on it drags, and does not scroll (touch-action is not for shapes).
        node.addEventListener("touchstart", (event) => event.preventDefault(),
          { passive: false });
        node.addEventListener("pointermove", (event) => {
          if (!node.hasPointerCapture(event.pointerId)) return;
          const to = new DOMPoint(event.clientX, event.clientY)
            .matrixTransform(this.svg.getScreenCTM().inverse());
          handle.move(to.x, to.y);
        });
        node.addEventListener("keydown", (event) => {
          const way = { ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowLeft: [-1, 0],
            ArrowDown: [0, -1], PageUp: [5, 5], PageDown: [-5, -5] }[event.key];
          if (!way) return;
          handle.step(...way);
          event.preventDefault();
        });
      }
      Object.assign(handle, { move, step, used: true });
      const { node } = handle;
      node.setAttribute("transform", `translate(${x.toFixed(2)} ${y.toFixed(2)})`);
      node.lastChild.setAttribute("style",
        `fill:${paint(colour)};stroke:${paint("ground")};stroke-width:2`);
      const aria = { label, valuetext: text, valuenow: now, valuemin: min, valuemax: max };
      for (const [name, value] of Object.entries(aria)) {
        node.setAttribute(`aria-${name}`, value);
      }
    }
  }

  /** A straight scale from numbers to pixels, and back with `.back`. */
  function scale([a, b], [from, to]) {
    const at = (value) => from + ((value - a) / (b - a)) * (to - from);
    at.back = (pixel) => a + ((pixel - from) / (to - from)) * (b - a);
    return at;
  }

  function control(spec, id, state, change) {
    if (spec.kind === "button") {
      const button = make("button", { type: "button", class: "explorable-button" });
      button.textContent = spec.label;
      button.addEventListener("click", () => change(spec.press(state())));
      return { node: button, refresh() {
        button.disabled = spec.idle ? spec.idle(state()) : false;
      } };
    }
    const node = make("span", { class: `explorable-control is-${spec.kind}` });
    const label = make("label", { for: id }, node, spec.label);
    const text = (value) => (spec.text ? spec.text(value) : show(value, spec.digits ?? 2));
    let input;
    let output;
    if (spec.kind === "choice") {
      input = make("select", { id }, node);
      for (const [value, words] of spec.options) input.append(new Option(words, value));
      input.addEventListener("change", () =>
        change({ [spec.name]: spec.options[input.selectedIndex][0] }));
    } else if (spec.kind === "switch") {
      input = make("input", { id, type: "checkbox" });
      label.before(input);
      input.addEventListener("change", () => change({ [spec.name]: input.checked }));
    } else {
      const { min, max, step } = spec;
      const type = spec.kind === "slider" ? "range" : "number";
      input = make("input", { id, type }, node);
      Object.assign(input, { min, max, step });
      if (type === "range") output = make("output", { for: id }, node);
      input.addEventListener("input", () => {
        const value = input.valueAsNumber;
        if (Number.isFinite(value) && value >= min && value <= max) {
          change({ [spec.name]: value });
        }
      });
    }
    return { node, refresh() {
      const value = state()[spec.name];
      if (spec.kind === "switch") input.checked = value;
      else if (document.activeElement !== input || input.type !== "number") {
        input.value = value;
      }
      if (output) {
        output.textContent = text(value);
        input.setAttribute("aria-valuetext", text(value));
      }
    } };
  }

  const copy = (value) => JSON.parse(JSON.stringify(value));

  /** Put a figure in the place of its still picture; return its `change`. */
  function mount(figure) {
    const kind = kinds[figure.dataset.name];
    const place = figure.querySelector(".explorable-stage");
    if (!kind) return null;
    place.replaceChildren();
    let state = copy(kind.start);
    const svg = make("svg", { role: "group", class: "explorable-drawing" });
    svg.setAttribute("aria-label", figure.dataset.title);
    const says = make("p", { class: "explorable-says", "aria-live": "polite" });
    const stage = new Stage(svg, STILL_WIDTH, 100);
    const bar = make("div", { class: "explorable-controls" });
    const again = { kind: "button", label: "Start again", press: () => copy(kind.start) };
    const controls = [...(kind.controls || []), again].map((spec, i) =>
      control(spec, `${figure.id}-control-${i}`, () => state, change));
    controls.forEach((made) => bar.append(made.node));
    place.append(bar, svg, says);
    let waiting = 0;

    function change(part) {
      state = { ...state, ...part };
      draw();
    }
    function draw() {
      const width = Math.min(Math.max(place.clientWidth, 280), 720);
      const result = kind.compute(state);
      stage.begin(width, kind.height(width));
      kind.draw(stage, state, result, change);
      stage.end();
      controls.forEach((made) => made.refresh());
      clearTimeout(waiting); // a screen reader hears where a drag ends, not its way
      const text = kind.say(state, result);
      waiting = setTimeout(() => { says.textContent = text; }, says.textContent ? 250 : 0);
      if (!says.textContent) says.textContent = text;
    }
    let before = 0;
    new ResizeObserver(() => {
      if (place.clientWidth !== before) { before = place.clientWidth; draw(); }
    }).observe(place);
    draw();
    return change;
  }

  /** The first picture of a figure as a drawing of its own, for pages without script. */
  function still(name) {
    const kind = kinds[name];
    const height = kind.height(STILL_WIDTH);
    const svg = make("svg", { xmlns: NS, viewBox: `0 0 ${STILL_WIDTH} ${height}` });
    const stage = new Stage(svg, STILL_WIDTH, height);
    stage.begin(STILL_WIDTH, height);
    const state = copy(kind.start);
    kind.draw(stage, state, kind.compute(state), () => {});
    for (const node of svg.querySelectorAll(".explorable-handle")) {
      const at = node.getAttribute("transform");
      node.lastChild.setAttribute("transform", at);
      node.replaceWith(node.lastChild);
    }
    return svg.outerHTML;
  }

  window.Explorables = {
    data: {}, // what NAME.data.js holds
    define(name, kind) { kinds[name] = kind; },
    kinds, still, show, scale, mean, moments, mount,
  };
  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(".explorable[data-name]").forEach(mount);
  });
})();
