// A dead job's request, changed by a person before it is sent again.

import { call, segment } from "./api.js";
import { ask, attempt } from "./dialog.js";
import { h } from "./dom.js";
import { pretty } from "./format.js";

const PRIORITIES = ["HIGH", "NORMAL", "BATCH"];
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

const isJson = (request) =>
  typeof request.body === "object" || (request.headers ?? []).some(({ name, value }) => name === "content-type" && /json/i.test(value));

// What differs from the request as it was. A body that was JSON must still be JSON.
export function changes(form, job, request, offered) {
  const changed = {};
  const value = (name) => form.elements[name]?.value;
  if (offered.has("method") && value("method") !== request.method) changed.method = value("method");
  if (offered.has("path") && value("path") !== request.path) {
    if (!value("path").startsWith("/")) throw new Error("The path begins with a slash: it stays at the target.");
    changed.path = value("path");
  }
  if (offered.has("priority") && value("priority") !== job.priority) changed.priority = value("priority");
  const body = value("body");
  if (body !== undefined && body !== pretty(request.body ?? "")) {
    if (isJson(request)) {
      try {
        changed.body = JSON.parse(body);
      } catch (error) {
        throw new Error(`The body is not JSON any more: ${error.message}`);
      }
    } else {
      changed.body_base64 = btoa(String.fromCharCode(...new TextEncoder().encode(body)));
    }
  }
  return changed;
}

// `offered`: which parts the daemon lets people change.
export async function editAndRedrive(job, request, offered) {
  const textual = !request.body_base64 && (offered.has("body") || offered.has("body_base64"));
  const hidden = /\[redacted\]/.test(request.path);
  const made = await ask({
    title: "Edit and redrive 1 dead job",
    body: [
      h("p", { class: "note" }, "The original stays on record. Headers stay as they are."),
      h("div", { class: "pair" },
        offered.has("method") ? h("label", { class: "field" }, "Method", h("select", { name: "method" }, [...new Set([request.method, ...METHODS])].map((method) => h("option", { value: method }, method)))) : null,
        offered.has("path") && !hidden ? h("label", { class: "field grow" }, "Path", h("input", { name: "path", class: "mono", value: request.path, spellcheck: "false", autocomplete: "off" })) : null,
        offered.has("priority") ? h("label", { class: "field" }, "Priority", h("select", { name: "priority" }, PRIORITIES.map((one) => h("option", { value: one, selected: one === job.priority }, one)))) : null),
      hidden ? h("p", { class: "note" }, "Its path holds what looks like a secret, and stays as it is.") : null,
      textual ? h("label", { class: "field" }, "Body", h("textarea", { name: "body", class: "mono", rows: "10", spellcheck: "false" }, pretty(request.body ?? ""))) : h("p", { class: "note" }, "Its body is not text, and stays as it is."),
    ],
    confirm: "Redrive 1 job",
    read: (form) => changes(form, job, request, offered),
  });
  if (!made) return null;
  const body = Object.keys(made).length ? made : undefined;
  return attempt(
    () => call("POST", `/v1/jobs/${segment(job.id)}/redrive`, body),
    body ? `Queued again with a changed ${Object.keys(made).map((name) => name.replace("_base64", "")).join(", ")}.` : "Queued again as it was.",
  );
}
