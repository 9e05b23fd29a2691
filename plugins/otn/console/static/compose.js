// Compose: count and preview follow what is typed. Without this the buttons do the same.
"use strict";

const form = document.getElementById("compose");
const look = document.getElementById("look");
let resting, asking = false, next = "";

// A key that nobody wrote follows the topic.
function takeProposal() {
  const key = look.querySelector("[data-key]")?.dataset.key;
  const typed = document.getElementById("campaign"), before = document.getElementById("proposed");
  if (!key || typed.value && typed.value !== before.value || document.activeElement === typed) return;
  typed.value = before.value = key;
}

// One question at a time. Counting a million people takes seconds, and goes on while nobody waits: it is asked for again.
async function lookAgain(what = "look") {
  clearTimeout(resting);
  if (asking) return void (next = what);
  asking = true;
  look.setAttribute("aria-busy", "true");
  const body = new URLSearchParams(new FormData(form));
  body.set("do", what);
  const said = document.getElementById("said");
  try {
    const answer = await fetch(form.dataset.look, { method: "POST", body });
    if (!answer.ok) throw new Error(answer.status);
    const text = await answer.text();
    const focused = look.contains(document.activeElement) ? document.activeElement.id : "";
    look.innerHTML = text;
    sayInReadersZone(look);
    takeProposal();
    if (focused) document.getElementById(focused)?.focus();
    said.textContent = look.querySelector("[data-said]")?.dataset.said || "";
    look.removeAttribute("data-stale");
    if (look.querySelector("[data-counting]")) resting = setTimeout(() => lookAgain(what), 1000);
  } catch {
    look.setAttribute("data-stale", "");
    said.textContent = "Not counted: the console did not answer. Press Count to try again.";
  }
  asking = false;
  if (!look.querySelector("[data-counting]")) look.removeAttribute("aria-busy");
  if (next) {
    const waiting = next;
    next = "";
    lookAgain(waiting);
  }
}

function proposeReadersZone() {
  const select = document.getElementById("zone"), zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const untouched = select.value === "UTC" && !document.querySelector("[role=alert]");
  const times = [...form.querySelectorAll("input[type=datetime-local]")].some((input) => input.value);
  if (untouched && !times && [...select.options].some((option) => option.value === zone)) select.value = zone;
}

if (form) {
  form.addEventListener("input", (event) => {
    if (event.target.id === "page") return form.requestSubmit(document.getElementById("of-page"));
    clearTimeout(resting);
    resting = setTimeout(() => lookAgain(), 600);
  });
  look.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-here]");
    if (!button) return;
    event.preventDefault();
    lookAgain(button.value);
  });
  let started = false;
  form.addEventListener("submit", (event) => {
    if (event.submitter?.value !== "start") return;
    if (started) event.preventDefault();
    started = true;
  });
  addEventListener("pageshow", () => { started = false; }); // back to the form by the browser's button
  proposeReadersZone();
  lookAgain();
}
