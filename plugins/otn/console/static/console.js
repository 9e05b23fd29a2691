// Small helps for pages that work without them: the reader's time zone, Airflow's light or dark, live parts.
"use strict";

function takeAirflowsColours() {
  let dark = matchMedia("(prefers-color-scheme: dark)").matches;
  try {
    const outside = parent.document.documentElement;
    if (parent !== window) dark = outside.classList.contains("dark") || outside.dataset.theme === "dark";
    else if (localStorage.getItem("theme")) dark = localStorage.getItem("theme") === "dark";
  } catch { /* framed by somebody whom we may not ask */ }
  document.documentElement.classList.toggle("dark", dark);
}

// The year stands only where it is another one: tables have many moments in a row.
function sayInReadersZone(root) {
  const day = { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" };
  const near = new Intl.DateTimeFormat(undefined, day), far = new Intl.DateTimeFormat(undefined, { ...day, year: "numeric" });
  const year = new Date().getFullYear();
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    time.textContent = (at.getFullYear() === year ? near : far).format(at);
  }
}

// What is wider than the screen is moved by the arrow keys too, once it can be reached by Tab.
function letKeysScroll(root) {
  for (const box of root.querySelectorAll(".wide, .chart")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

// What a person has open, or writes in, is not taken from under him.
function isBusy(part) {
  return document.hidden || part.querySelector("details.confirm[open]") || part.contains(document.activeElement) && document.activeElement.matches("input, textarea, select");
}

// A small part of a page has no address of its own: it is taken out of the whole.
function pieceOf(text, id) {
  return id ? new DOMParser().parseFromString(text, "text/html").getElementById(id).innerHTML : text;
}

async function refresh(part) {
  if (isBusy(part)) return;
  try {
    const answer = await fetch(part.dataset.live, { headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(answer.status);
    const text = pieceOf(await answer.text(), part.dataset.part);
    part.removeAttribute("data-stale");
    if (text === part.dataset.last) return;
    part.dataset.last = text;
    const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
    const unfolded = [...part.querySelectorAll("details[open][id]")].map((one) => one.id);
    part.innerHTML = text;
    for (const id of unfolded) document.getElementById(id)?.setAttribute("open", "");
    sayInReadersZone(part);
    letKeysScroll(part);
    if (focused) document.getElementById(focused)?.focus();
    if (document.querySelector("[data-over]")) clearInterval(part.ticking);
  } catch {
    part.setAttribute("data-stale", ""); // the figures stay, and the style says that they are old
  }
}

// What is typed into a field, counted as Messenger counts it, and shown where the page previews it.
function followField(name) {
  const typed = document.getElementById(name).value;
  for (const place of document.querySelectorAll(`[data-shows="${name}"]`)) place.textContent = typed || place.dataset.empty;
  for (const place of document.querySelectorAll(`[data-counts="${name}"]`)) {
    const over = typed.length - Number(place.dataset.limit);
    place.textContent = `${typed.length} of ${place.dataset.limit} characters${over > 0 ? `: ${over} too many` : ""}`;
    place.classList.toggle("over", over > 0);
  }
}

takeAirflowsColours();
addEventListener("DOMContentLoaded", () => {
  sayInReadersZone(document);
  letKeysScroll(document);
  addEventListener("resize", () => letKeysScroll(document));
  for (const place of document.querySelectorAll("[data-counts]")) {
    const name = place.dataset.counts;
    document.getElementById(name).addEventListener("input", () => followField(name));
    followField(name);
  }
  for (const part of document.querySelectorAll("[data-live]")) {
    if (document.querySelector("[data-over]")) continue;
    part.ticking = setInterval(() => refresh(part), 1000 * Number(part.dataset.every || 3));
  }
});
