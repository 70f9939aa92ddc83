/* Repairs of the theme's pages that axe-core asks for; nothing depends on them. */

function nameByText() {
  // A visible label must be part of the name that is read aloud (WCAG 2.5.3).
  for (const el of document.querySelectorAll("button[aria-label], summary[aria-label]")) {
    if (el.innerText.trim()) el.removeAttribute("aria-label");
  }
  for (const el of document.querySelectorAll(".theme-switch-button")) {
    el.removeAttribute("aria-label");
  }
}

function nameRegions() {
  const logo = document.querySelector(
    ".sidebar-primary-items__start > .sidebar-primary-item",
  );
  if (logo) {
    logo.setAttribute("role", "region");
    logo.setAttribute("aria-label", "Book title");
  }
  for (const el of document.querySelectorAll(".citation-list > .citation")) {
    el.setAttribute("role", "listitem");
  }
}

function reachScrollers() {
  // What scrolls sideways must be reachable by keyboard (WCAG 2.1.1).
  const scrollers =
    "div.highlight pre, .pst-scrollable-table-container, div.math";
  for (const el of document.querySelectorAll(scrollers)) {
    if (el.scrollWidth > el.clientWidth) el.setAttribute("tabindex", "0");
  }
}

document.addEventListener("DOMContentLoaded", () => {
  nameByText();
  nameRegions();
  reachScrollers();
});
window.addEventListener("load", reachScrollers);
window.addEventListener("resize", reachScrollers);
document.addEventListener("toggle", reachScrollers, true);
