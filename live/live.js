/* Run the NumPy cells of a page in the reader's browser. Nothing is fetched until a
   reader presses Run; then Python comes, about 12 MB, once. What they wrote is kept. */
(() => {
  "use strict";
  const { pyodide, wheel, digits, worker: script } = document.currentScript.dataset;
  const here = new URL(document.currentScript.src);
  const page = location.pathname.split("/").pop();
  let worker = null;
  let waiting = []; // cells that are still to run, the present one first
  const cells = [];

  function make(tag, attributes, parent, text = "") {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text;
    parent?.append(made);
    return made;
  }
  function hash(text) {
    let value = 5381;
    for (const c of text) value = (value * 33 + c.codePointAt(0)) % 4294967296;
    return value.toString(36);
  }
  const memory = {
    get(key) { try { return localStorage.getItem(key); } catch { return null; } },
    set(key, value) { try { localStorage.setItem(key, value); } catch { /* full */ } },
    remove(key) { try { localStorage.removeItem(key); } catch { /* closed */ } },
  };

  /** One cell: its first text, the reader's text, its buttons and its output. */
  class Cell {
    constructor(node, pre) {
      Object.assign(this, { node, pre, first: pre.textContent.trimEnd(), ran: false });
      this.key = `bn-live:${page}:${hash(this.first)}`;
      const name = `live-${cells.length}`;
      this.bar = make("div", { class: "live-bar" });
      this.runs = this.button("Run", () => run(this));
      this.edits = this.button("Edit", () => this.edit());
      this.stops = this.button("Stop", stop);
      this.resets = this.button("Reset", () => this.reset());
      this.status = make("span", { role: "status", class: "live-status" }, this.bar);
      this.output = make("div", { class: "live-output", role: "region", tabindex: "0",
        "aria-label": "Output of your run", hidden: "" });
      this.area = make("textarea", { id: name, class: "live-edit", spellcheck: "false",
        "aria-label": "Code of this cell", autocapitalize: "off", hidden: "" });
      this.area.addEventListener("input", () => {
        this.ran = false;
        memory.set(this.key, this.area.value);
        this.fit();
      });
      this.area.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey || event.shiftKey)) {
          event.preventDefault();
          run(this);
        }
      });
      const input = node.querySelector(".cell_input");
      input.append(this.area);
      input.after(this.bar, this.output);
      const kept = memory.get(this.key);
      if (kept !== null && kept !== this.first) {
        this.edit(kept, false);
        this.say("Your text of last time.");
      }
      this.refresh();
    }
    get code() { return this.area.hidden ? this.first : this.area.value; }
    get drawing() { return /\bplt\.show\(/.test(this.code); }
    button(text, press) {
      const made = make("button", { type: "button", class: "live-button" }, this.bar, text);
      made.addEventListener("click", press);
      return made;
    }
    fit() { this.area.rows = this.area.value.split("\n").length + 1; }
    edit(text = this.first, focus = true) {
      this.area.value = text;
      this.area.hidden = false;
      this.pre.closest("div.highlight").hidden = true;
      this.fit();
      this.refresh();
      if (focus) this.area.focus();
    }
    reset() {
      memory.remove(this.key);
      this.area.hidden = true;
      this.pre.closest("div.highlight").hidden = false;
      this.output.hidden = true;
      this.output.replaceChildren();
      this.ran = false;
      this.say("");
      this.refresh();
      this.runs.focus();
    }
    say(text) { this.status.textContent = text; }
    write(text) {
      const last = this.output.lastElementChild;
      const pre = last?.tagName === "PRE" ? last : make("pre", {}, this.output);
      pre.textContent += text;
      this.output.hidden = false;
    }
    picture(data) {
      const image = make("img", { alt: "Figure of your run" }, this.output);
      image.src = `data:image/png;base64,${data}`;
      this.output.hidden = false;
    }
    refresh() {
      const busy = waiting.length > 0;
      this.runs.disabled = busy;
      this.edits.hidden = !this.area.hidden;
      this.stops.hidden = !waiting.includes(this) || waiting[waiting.length - 1] !== this;
      this.resets.hidden = this.area.hidden && this.output.hidden;
    }
  }
  const refresh = () => cells.forEach((cell) => cell.refresh());

  /** Run a cell, after the cells above it that have not run, without their figures. */
  function run(cell) {
    if (waiting.length) return;
    const above = cells.slice(0, cells.indexOf(cell));
    waiting = [...above.filter((other) => !other.ran && !other.drawing), cell];
    cell.output.replaceChildren();
    cell.output.hidden = true;
    cell.say("Starting …");
    if (!worker) {
      const settings = { pyodide, wheel: new URL(wheel, here).href,
        digits: new URL(digits, here).href };
      const address = new URL(script, here);
      address.hash = encodeURIComponent(JSON.stringify(settings));
      worker = new Worker(address, { type: "module" });
      worker.onmessage = ({ data }) => hear(data);
      worker.onerror = () => hear({ kind: "lost", text: "the worker did not start" });
    }
    send();
    refresh();
  }
  function send() {
    const [cell] = waiting;
    worker.postMessage({ code: cell.code, drawing: cell.drawing });
  }
  const target = () => waiting[waiting.length - 1];

  function hear({ kind, text }) {
    const [cell] = waiting;
    if (!cell) return;
    const asked = target();
    const rest = waiting.length - 1;
    if (kind === "loading") asked.say(`Loading ${text} …`);
    else if (kind === "running") {
      asked.say(rest ? `Running the cells above: ${rest} to go …` : "Running …");
    } else if (kind === "out" && cell === asked) cell.write(text);
    else if (kind === "picture" && cell === asked) cell.picture(text);
    else if (kind === "done") {
      cell.ran = true;
      waiting.shift();
      if (waiting.length) send();
      else {
        if (asked.output.hidden) asked.write("(no output)\n");
        asked.say("Done.");
      }
    } else if (kind === "error" && cell !== asked && cell.exercise) {
      waiting.shift(); // an unfinished exercise above is no reason to stop
      send();
    } else if (kind === "error") {
      asked.write(cell === asked ? text : `A cell above stopped with an error.\n${text}`);
      asked.say("Stopped by an error.");
      waiting = [];
    } else if (kind === "lost") {
      end();
      asked.say(`Python could not be loaded (${text}). Is there a network? ` +
        "What you wrote is kept; press Run to try again.");
    }
    refresh();
  }
  function end() {
    worker?.terminate();
    worker = null;
    waiting = [];
    cells.forEach((cell) => { cell.ran = false; });
  }
  function stop() {
    const asked = target();
    end();
    asked?.say("Stopped. The next run starts Python anew.");
    refresh();
    asked?.runs.focus();
  }

  document.addEventListener("DOMContentLoaded", () => {
    for (const node of document.querySelectorAll("main div.cell")) {
      const pre = node.querySelector(".cell_input pre");
      if (!pre || node.matches(".tag_torch, .tag_colab, .tag_remove-cell")) continue;
      const cell = new Cell(node, pre);
      cell.exercise = node.matches(".tag_exercise, .tag_check");
      if (node.matches(".tag_check")) cell.runs.textContent = "Check";
      cells.push(cell);
    }
  });
})();
