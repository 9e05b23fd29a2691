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

// What a person has open, or writes in, is not taken from under him.
function isBusy(part) {
  return document.hidden || part.contains(document.activeElement) && document.activeElement.matches("input, textarea, select");
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
    part.innerHTML = text;
    sayInReadersZone(part);
    if (focused) document.getElementById(focused)?.focus();
    if (part.querySelector("[data-over]")) clearInterval(part.ticking);
  } catch {
    part.setAttribute("data-stale", ""); // the figures stay, and the style says that they are old
  }
}

takeAirflowsColours();
addEventListener("DOMContentLoaded", () => {
  sayInReadersZone(document);
  for (const part of document.querySelectorAll("[data-live]")) {
    if (part.querySelector("[data-over]")) continue;
    part.ticking = setInterval(() => refresh(part), 1000 * Number(part.dataset.every || 3));
  }
});
