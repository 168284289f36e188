// A dead job's request, changed by a person before it is sent again.

import { call, parseExact, segment } from "./api.js";
import { ask, attempt } from "./dialog.js";
import { h } from "./dom.js";
import { pretty } from "./format.js";

const PRIORITIES = ["HIGH", "NORMAL", "BATCH"];
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

const PARTS = { method: "method", path: "path", priority: "priority", idempotency_key: "idempotency key", body: "body", body_base64: "body" };

const contentType = (request) => (request.headers ?? []).find(({ name }) => name === "content-type")?.value ?? "";

const isJson = (request) => typeof request.body === "object" || /json/i.test(contentType(request));

// What differs from the request as it was. A body that was JSON must still be JSON.
function changes(form, job, request) {
  const changed = {};
  const value = (name) => form.elements[name]?.value;
  const differs = (name, before) => value(name) !== undefined && value(name) !== before;
  if (differs("method", request.method)) changed.method = value("method");
  if (differs("path", request.path)) {
    if (!value("path").startsWith("/")) throw new Error("The path begins with a slash: it stays at the target.");
    changed.path = value("path");
  }
  if (differs("priority", job.priority)) changed.priority = value("priority");
  if (differs("key", request.idempotency_key ?? "")) {
    if (!value("key").trim()) throw new Error("The key can be another one, but not none.");
    changed.idempotency_key = value("key").trim();
  }
  if (differs("body", pretty(request.body ?? ""))) {
    if (isJson(request)) {
      try {
        changed.body = parseExact(value("body"));
      } catch (error) {
        throw new Error(`The body is not JSON any more: ${error.message}`);
      }
      if (contentType(request)) changed.content_type = contentType(request);
    } else {
      changed.body_base64 = base64(value("body"));
    }
  }
  return changed;
}

function base64(text) {
  const bytes = new TextEncoder().encode(text);
  let binary = "";
  // All at once would be too many arguments for a long one.
  for (let at = 0; at < bytes.length; at += 8_192) binary += String.fromCharCode(...bytes.subarray(at, at + 8_192));
  return btoa(binary);
}

export async function editAndRedrive(job, request) {
  const hidden = /\[redacted\]/.test(request.path);
  const made = await ask({
    title: "Edit and redrive 1 dead job",
    body: [
      h("p", { class: "note" }, "The request that it came with stays on record. Headers stay as they are."),
      h("div", { class: "pair" },
        h("label", { class: "field" }, "Method", h("select", { name: "method" }, [...new Set([request.method, ...METHODS])].map((method) => h("option", { value: method }, method)))),
        hidden ? null : h("label", { class: "field grow" }, "Path", h("input", { name: "path", class: "mono", value: request.path, spellcheck: "false", autocomplete: "off" })),
        h("label", { class: "field" }, "Priority", h("select", { name: "priority" }, PRIORITIES.map((one) => h("option", { value: one, selected: one === job.priority }, one))))),
      hidden ? h("p", { class: "note" }, "Its path holds what looks like a secret, and stays as it is.") : null,
      request.body_base64 ? h("p", { class: "note" }, "Its body is not text, and stays as it is.") : h("label", { class: "field" }, "Body", h("textarea", { name: "body", class: "mono", rows: "10", spellcheck: "false" }, pretty(request.body ?? ""))),
      h("label", { class: "field" }, "Idempotency-Key (another one only if the target keeps its answers by it)", h("input", { name: "key", class: "mono", value: request.idempotency_key ?? "", placeholder: job.id, spellcheck: "false", autocomplete: "off" })),
    ],
    confirm: "Redrive 1 job",
    read: (form) => changes(form, job, request),
  });
  if (!made) return null;
  const parts = Object.keys(made).map((name) => PARTS[name]).filter(Boolean);
  return attempt(
    () => call("POST", `/v1/jobs/${segment(job.id)}/redrive`, parts.length ? made : undefined),
    parts.length ? `Queued again with a changed ${parts.join(", ")}.` : "Queued again as it was.",
  );
}
