/* The search page: sections ranked by MiniSearch, each with an excerpt around a hit. */

const ROOT = document.documentElement.dataset.content_root || "./";

function excerpt(text, terms) {
  const low = text.toLowerCase();
  const places = terms.map((t) => low.indexOf(t)).filter((i) => i >= 0);
  const hit = places.length ? Math.min(...places) : 0;
  let start = Math.max(0, hit - 70);
  if (start > 0) start = text.indexOf(" ", start) + 1;
  const part = text.slice(start, start + 190);
  const end = part.length < 190 ? part : part.slice(0, part.lastIndexOf(" "));
  return (start > 0 ? "… " : "") + end + (start + end.length < text.length ? " …" : "");
}

function marked(text, terms) {
  // Words that were asked for stand in <mark>; all else stays text.
  const box = document.createDocumentFragment();
  const safe = terms.map((t) => t.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const parts = safe.length ? text.split(new RegExp(`(${safe.join("|")})`, "i")) : [text];
  parts.forEach((part, i) => {
    if (i % 2) {
      const mark = document.createElement("mark");
      mark.textContent = part;
      box.append(mark);
    } else box.append(part);
  });
  return box;
}

function show(query, results) {
  const list = document.createElement("ol");
  list.className = "search-found";
  for (const found of results.slice(0, 12)) {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = ROOT + found.url;
    link.append(marked(found.title, found.terms));
    const where = document.createElement("span");
    where.className = "search-page";
    where.textContent = found.page === found.title ? "" : found.page;
    const text = document.createElement("p");
    text.append(marked(excerpt(found.text, found.terms), found.terms));
    item.append(link, where, text);
    list.append(item);
  }
  const count = results.length === 1 ? "1 section" : `${results.length} sections`;
  const line = document.createElement("p");
  line.setAttribute("role", "status");
  line.textContent = results.length
    ? `${count} for “${query}”` + (results.length > 12 ? "; the first 12:" : ":")
    : `Nothing was found for “${query}”. Try one word, or the glossary.`;
  document.querySelector("#search-results").replaceChildren(line, list);
}

async function search() {
  const query = (new URLSearchParams(location.search).get("q") || "").trim();
  for (const field of document.querySelectorAll("input[name='q']")) field.value = query;
  if (!query) return;
  const sections = await (await fetch(`${ROOT}_static/search.json`)).json();
  const index = new MiniSearch({
    fields: ["asked", "title", "page", "text"],
    storeFields: ["title", "page", "url", "text"],
    tokenize: (text) => text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) || [],
  });
  index.addAll(sections);
  const options = {
    boost: { asked: 12, title: 5, page: 2 },
    prefix: (term) => term.length > 3,
    fuzzy: (term) => (term.length > 5 ? 0.15 : false),
  };
  const all = index.search(query, { ...options, combineWith: "AND" });
  show(query, all.length ? all : index.search(query, options));
}

document.addEventListener("DOMContentLoaded", search);
