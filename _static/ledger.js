/* The claims ledger: a form above the list that filters and sorts it. Without this
   script the page shows all claims in their order. */
document.addEventListener("DOMContentLoaded", () => {
  "use strict";
  const claims = [...document.querySelectorAll(".claim")];
  if (!claims.length) return;

  // The words behind "Chapter:" and the like, of one claim.
  function field(claim, name) {
    const items = [...claim.querySelectorAll("li")];
    const item = items.find((li) => li.textContent.trim().startsWith(name + ":"));
    return item ? item.textContent.trim().slice(name.length + 1).trim() : "";
  }

  const order = ["reproduced", "partly", "not-here"];
  const rows = claims.map((claim, number) => ({
    claim,
    number,
    verdict: order.findIndex((v) => claim.classList.contains("claim-" + v)),
    chapter: field(claim, "Chapter"),
    source: field(claim, "Source"),
    text: claim.textContent.toLowerCase(),
  }));
  const each = (name) => [...new Set(rows.map((row) => row[name]))];

  function labelled(words, control) {
    const box = document.createElement("span");
    const label = document.createElement("label");
    label.textContent = words + " ";
    label.htmlFor = control.id = "ledger-" + words.toLowerCase();
    box.append(label, control);
    return box;
  }
  function choice(words, options) {
    const select = document.createElement("select");
    for (const [value, text] of options) select.add(new Option(text, value));
    form.append(labelled(words, select));
    return select;
  }

  const form = document.createElement("form");
  form.className = "ledger-form";
  form.setAttribute("aria-label", "Filter and sort the claims");
  const words = document.createElement("input");
  words.type = "search";
  form.append(labelled("Words", words));
  const verdict = choice("Verdict", [
    ["", "all"], ["0", "reproduced"], ["1", "partly"], ["2", "not at this size"],
  ]);
  const chapter = choice("Chapter", [["", "all"], ...each("chapter").map((c) => [c, c])]);
  const sort = choice("Order", [
    ["number", "by number"], ["verdict", "by verdict"], ["source", "by source"],
  ]);
  const status = document.createElement("p");
  status.setAttribute("role", "status");
  form.append(status);
  claims[0].before(form);

  function compare(a, b) {
    const [x, y] = [a[sort.value], b[sort.value]];
    const by = typeof x === "string" ? x.localeCompare(y) : x - y;
    return by || a.number - b.number;
  }
  function show() {
    const asked = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    let last = form;
    for (const row of [...rows].sort(compare)) {
      const wanted =
        asked.every((word) => row.text.includes(word)) &&
        (!verdict.value || row.verdict === Number(verdict.value)) &&
        (!chapter.value || row.chapter === chapter.value);
      row.claim.hidden = !wanted;
      count += wanted;
      last.after(row.claim);
      last = row.claim;
    }
    status.textContent = `${count} of ${rows.length} claims`;
  }
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  show();
});
