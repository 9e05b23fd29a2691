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

function sayInReadersZone(root) {
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  for (const time of root.querySelectorAll("time[datetime]")) time.textContent = format.format(new Date(time.dateTime));
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

async function refresh(part) {
  if (isBusy(part)) return;
  try {
    const answer = await fetch(part.dataset.live, { headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(answer.status);
    const text = await answer.text();
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
    if (part.querySelector("[data-over]")) clearInterval(part.ticking);
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
    if (part.querySelector("[data-over]")) continue;
    part.ticking = setInterval(() => refresh(part), 1000 * Number(part.dataset.every || 3));
  }
});
