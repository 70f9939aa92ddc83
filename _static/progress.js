/* What a reader has read, remembered by their own browser and nowhere else. A chapter
   counts as read when its recap has been on the screen. Without storage, nothing. */
(() => {
  "use strict";
  const KEY = "bn-book-read";
  let kept;
  try {
    kept = JSON.parse(localStorage.getItem(KEY)) || {};
  } catch {
    return;
  }
  const root = document.documentElement.dataset.content_root || "./";
  const here = (location.pathname.match(/chapters\/[\w-]+(?=\.html)/) || [])[0];

  function store() {
    try {
      localStorage.setItem(KEY, JSON.stringify(kept));
    } catch { /* a full or closed store: reading goes on */ }
  }

  /** Put a sign behind each link to a chapter that has been read. */
  function mark() {
    document.querySelectorAll(".read-sign").forEach((sign) => sign.remove());
    const links = document.querySelectorAll(".bd-links a, .map-card .map-title");
    for (const link of links) {
      const target = link.closest("a").dataset.page ||
        (link.href.match(/chapters\/[\w-]+(?=\.html)/) || [])[0];
      if (!kept[target]?.read) continue;
      const sign = document.createElement("span");
      sign.className = "read-sign";
      sign.textContent = " ✓";
      sign.title = "read";
      link.append(sign);
    }
  }

  function watch() {
    const headings = document.querySelectorAll("main section[id] > h2");
    if (!here || !headings.length) return;
    const seen = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        const place = target.parentElement.id;
        const name = target.firstChild.textContent.trim();
        kept[here] = { ...kept[here], place, name,
          read: kept[here]?.read || place.startsWith("recap"), at: Date.now() };
        store();
        if (kept[here].read) mark();
      }
    });
    headings.forEach((heading) => seen.observe(heading));
  }

  /** On the front page: go on where the reader was, or forget it all. */
  function offer() {
    const map = document.querySelector(".book-map");
    const last = Object.entries(kept).sort(([, a], [, b]) => b.at - a.at)[0];
    if (!map || !last) return;
    const [page, { place, name }] = last;
    const card = document.querySelector(`.map-card[data-page="${page}"] .map-title`);
    if (!card) return;
    const box = document.createElement("p");
    box.className = "go-on";
    const link = document.createElement("a");
    link.href = `${root}${page}.html#${place}`;
    link.textContent = `Go on with chapter ${card.firstChild.textContent}: ${name}`;
    const read = Object.values(kept).filter((entry) => entry.read).length;
    const count = document.createElement("span");
    count.textContent = ` ${read} of ${document.querySelectorAll(".map-card").length} read. `;
    const forget = document.createElement("button");
    forget.type = "button";
    forget.className = "explorable-button";
    forget.textContent = "Forget";
    forget.addEventListener("click", () => {
      kept = {};
      try { localStorage.removeItem(KEY); } catch { /* nothing to forget */ }
      box.remove();
      mark();
    });
    box.append(link, count, forget);
    document.querySelector("main h1").nextElementSibling.after(box);
  }

  document.addEventListener("DOMContentLoaded", () => { mark(); offer(); watch(); });
})();
