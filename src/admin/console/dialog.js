// Questions before something is done, and words after it.

import { hasToken, unlock } from "./api.js";
import { h, show } from "./dom.js";

const SAID_MS = 8_000;

// Shows a dialog and resolves with what `read` makes of it, or null if it was left.
export function ask({ title, body, confirm, danger = false, cancel = "Cancel", read = () => true }) {
  return new Promise((answered) => {
    const back = document.activeElement;
    const problem = h("p", { class: "bad", role: "alert" });
    const leave = cancel && h("button", { type: "button", class: "plain", on: { click: () => dialog.close() } }, cancel);
    const form = h("form", { on: { submit } },
      h("h2", { id: "dialog-title" }, title),
      body,
      problem,
      h("div", { class: "buttons" }, leave, h("button", { type: "submit", class: danger ? "danger" : "strong" }, confirm)));
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, form);
    let answer = null;
    function submit(event) {
      event.preventDefault();
      try {
        answer = read(form);
        dialog.close();
      } catch (error) {
        problem.textContent = error.message;
      }
    }
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (back?.isConnected) back.focus();
      answered(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
    // What cannot be undone is not one Enter away.
    const first = form.querySelector("input, textarea, select");
    (first ?? (danger && leave ? leave : form.querySelector("[type=submit]"))).focus();
  });
}

// What was asked on a page that is left is not asked any more.
export function leave() {
  for (const dialog of document.querySelectorAll("dialog[open]:not([own])")) dialog.close();
}

let quiet = null;

// Tells what was done, or why it was not.
export function say(text, bad = false) {
  const said = document.getElementById("said");
  clearTimeout(quiet);
  show(said, h("p", { class: bad ? "said bad" : "said" }, text));
  quiet = setTimeout(() => show(said), SAID_MS);
}

// Does it, and says how it went. Resolves with the answer, or null.
export async function attempt(action, done) {
  try {
    const answer = await action();
    say(typeof done === "function" ? done(answer) : done);
    return answer ?? true;
  } catch (error) {
    say(error.message, true);
    return null;
  }
}

let asking = null;

// Asks for the token once, however many requests were refused.
export function askForToken() {
  asking ??= ask({
    title: "This daemon asks for a token",
    body: [
      h("p", null, hasToken() ? "The token that this tab has is not good for the admin address (any more)." : "One of the admin tokens of its configuration. It stays in this tab, and goes with it."),
      h("label", { class: "field" }, "Token", h("input", { type: "password", name: "token", autocomplete: "off", required: true, spellcheck: "false" })),
    ],
    confirm: "Use it",
    cancel: null,
    read: (form) => {
      const token = form.elements.token.value.trim();
      // What a header can carry.
      if (!/^[\x21-\x7e]+$/.test(token)) throw new Error("A token has no spaces, and ASCII characters only.");
      return token;
    },
  }).then((token) => {
    asking = null;
    if (token) unlock(token);
    return token !== null;
  });
  return asking;
}
