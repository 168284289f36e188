// A job's life drawn to scale, and told line by line.

import { h } from "./dom.js";
import { count, duration, exact, plural, since, time } from "./format.js";

const at = (event) => Date.parse(event.at);

// What a job does after an event, until the next one.
const AFTER = {
  enqueued: "queued",
  due: "queued",
  redriven: "queued",
  not_sent: "queued",
  scheduled: "scheduled",
  behind: "behind",
  its_turn: "queued",
  sent: "sending",
  asked: "asking",
  refused: "waiting",
  unknown: "waiting",
  waiting: "waiting",
  accepted: "verifying",
  verifying: "verifying",
  answered: "verifying",
  not_asked: "verifying",
};
const FINAL = new Set(["rejected", "cancelled", "expired", "failed", "bad_message"]);
const OUTCOMES = new Set(["done", "refused", "rejected", "unknown", "accepted", "answered"]);
// Called back before it left: it never was a request.
const CALLED_BACK = { not_sent: "queued", not_asked: "verifying" };

const NAMES = {
  queued: "in its queue",
  scheduled: "its time had not come",
  behind: "behind others of its group",
  sending: "request under way",
  asking: "asking the target",
  waiting: "waiting for a retry",
  verifying: "waiting to ask what became of it",
  token: "waiting for Step Functions",
};

// The stretches of its life. The one that is under way ends now.
export function stretches(job, now = Date.now()) {
  const found = [];
  let doing = "queued";
  let from = Date.parse(job.enqueued_at);
  let ended = false;
  const close = (to, outcome, status) => {
    if (doing && to >= from) found.push({ doing, from, to, outcome, status });
  };
  for (const event of job.history ?? []) {
    const then = Math.max(at(event), from);
    if (event.event === "token_answered" || event.event === "token_late") {
      if (ended) {
        doing = "token";
        close(then);
        doing = null;
      }
      from = then;
      continue;
    }
    if (CALLED_BACK[event.event]) doing = CALLED_BACK[event.event];
    const next = AFTER[event.event];
    const last = FINAL.has(event.event) || event.event === "done";
    if (!next && !last) continue;
    close(then, OUTCOMES.has(event.event) ? event.event : undefined, event.status);
    from = then;
    doing = last ? null : next;
    ended = last;
  }
  if (doing) close(now);
  // Two events of one moment make an empty stretch; only a request shows even then.
  return found.filter((one) => one.to > one.from || one.doing === "sending" || one.doing === "asking");
}

const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 172_800, 604_800];

function ticks(length) {
  const step = STEPS.find((step) => length / step <= 5) ?? Math.ceil(length / 5 / 86_400) * 86_400;
  const all = [];
  for (let second = 0; second <= length * 1.0001; second += step) all.push(second);
  return all;
}

function bar(job, all, from, to) {
  const length = Math.max(1, to - from);
  const place = (moment) => (100 * (Math.min(Math.max(moment, from), to) - from)) / length;
  const shown = all.filter((one) => one.to >= from);
  const words = shown.map((one) => `${NAMES[one.doing]}, ${duration((one.to - Math.max(one.from, from)) / 1000)}${one.outcome ? `: ${one.outcome}` : ""}`);
  // What was answered, above its request; where two would overlap, the later one is left out.
  let free = -1;
  const marks = shown.filter((one) => {
    if (one.doing !== "sending" || !one.outcome || place(one.from) < free) return false;
    free = place(one.from) + 5;
    return true;
  });
  return h("div", { class: "life" },
    h("div", { class: "marks", "aria-hidden": "true" }, marks.map((one) =>
      h("span", { class: `mark ${one.outcome}`, css: { "--from": `${Math.min(place(one.from), 96)}%` } }, one.status ?? one.outcome))),
    h("div", { class: "lane", role: "img", "aria-label": `Drawn to scale: ${words.join("; ")}` },
      shown.map((one, index) => h("span", {
        class: `stretch ${one.doing} ${one.outcome ?? ""}`,
        title: words[index],
        css: { "--from": `${place(one.from)}%`, "--for": `${place(one.to) - place(one.from)}%` },
      }))),
    h("div", { class: "ticks", "aria-hidden": "true" },
      ticks(length / 1000).filter((second) => second / (length / 1000) < 0.93).map((second) => h("span", { css: { "--from": `${(second * 100_000) / length}%` } }, second === 0 ? "0" : duration(second)))));
}

const LOOKS = ["queued", "scheduled", "behind", "sending", "waiting", "asking", "verifying", "token"];

// The whole life; from the first request on where that alone would be too small to see.
export function timeline(job, zoomed, zoom) {
  const all = stretches(job);
  if (!all.length) return null;
  const from = all[0].from;
  const to = all[all.length - 1].to;
  const first = all.find((one) => one.doing === "sending");
  const crowded = first && first.from > from && (first.from - from) / Math.max(1, to - from) > 0.8;
  const close = crowded && zoomed;
  return h("section", { class: "panel", "aria-labelledby": "timeline-title" },
    h("div", { class: "panel-head" },
      h("h2", { id: "timeline-title" }, "Timeline", h("span", { class: "quiet" }, ` · ${duration((to - from) / 1000)}, drawn to scale`)),
      crowded ? h("button", { type: "button", class: "plain", id: "zoom", "aria-pressed": String(Boolean(zoomed)), on: { click: zoom } }, "From the first request") : null),
    bar(job, all, close ? first.from : from, to),
    h("p", { class: "legend small" }, LOOKS.filter((look) => all.some((one) => one.doing === look)).map((look) =>
      h("span", { class: `key stretch-${look}` }, NAMES[look]))));
}

const SENTENCES = {
  enqueued: () => "Taken in: it is on disk",
  scheduled: (event) => `Not to be sent before ${time(event.until)}`,
  due: () => "Its time came: into its queue",
  behind: () => "Behind others of its group",
  its_turn: () => "Its turn in its group came",
  sent: (event) => `Attempt ${event.attempt} sent`,
  not_sent: (event) => `Attempt ${event.attempt} was ready, and called back before it left`,
  done: (event) => `Answered ${event.status}: done`,
  refused: (event) => `${event.status ? `Answered ${event.status}` : "Not reached"}: the target did no work`,
  rejected: (event) => `Answered ${event.status}: no retry would change that`,
  unknown: (event) => `${event.status ? `Answered ${event.status}` : "No whole answer"}: the work may have been done`,
  waiting: (event) => `Waits for a retry until ${time(event.until)}`,
  accepted: (event) => `Answered ${event.status}: the target took it on${event.path ? `, and tells at ${event.path}` : ""}`,
  verifying: (event) => `Asks what became of it at ${time(event.until)}`,
  asked: (event) => `Question ${event.question} sent`,
  not_asked: (event) => `Question ${event.question} was ready, and called back before it left`,
  answered: (event) => `${event.status ? `Answered ${event.status}: ` : ""}the work is ${String(event.says ?? "unknown").replace("_", " ")}`,
  priority_changed: (event) => `Priority changed from ${event.from} to ${event.to}`,
  cancelled: () => "Cancelled",
  expired: () => "Its deadline passed: expired",
  failed: (event) => `Given up${event.code ? `: ${event.code}` : ""}`,
  edited: (event) => `Request changed${event.parts ? `: ${event.parts}` : ""}`,
  redriven: () => "Redriven: to the end of its queue",
  bad_message: () => "Cannot be understood",
  token_answered: () => "Step Functions was told",
  token_late: () => "Step Functions did not wait any more",
  callback_delivered: () => "Its callback was told",
  callback_undelivered: () => "Its callback was not told, and is not tried any more",
  callback_redriven: () => "Its callback is told again",
};

const LOOK = {
  done: "good", refused: "warn", unknown: "warn", rejected: "bad", failed: "bad", expired: "bad", cancelled: "warn", bad_message: "bad", token_answered: "good", token_late: "warn", callback_delivered: "good", callback_undelivered: "bad",
};

// One line for each thing that happened. A passing-over is told where it ended: at the sending.
export function history(job) {
  const events = job.history ?? [];
  const begin = Date.parse(job.enqueued_at);
  let before = begin;
  const lines = events.flatMap((event, index) => {
    // Told with what it follows, or what follows it.
    if (CALLED_BACK[events[index + 1]?.event] && (event.event === "sent" || event.event === "asked")) return [];
    if (event.event === "waiting" && ["refused", "unknown", "answered"].includes(events[index - 1]?.event)) return [];
    const moment = at(event);
    const gap = (moment - before) / 1000;
    before = moment;
    const line = (look, words, details) => h("li", { class: look },
      h("time", { datetime: event.at, title: exact(event.at) }, time(event.at)),
      h("span", { class: "gap" }, gap >= 0.001 && !details.passed ? `+${duration(gap)}` : ""),
      h("span", { class: "what" }, words,
        event.by && !details.passed ? h("span", { class: "by" }, ` by ${event.by}`) : null,
        details.more ? h("span", { class: "more" }, details.more) : null));
    const words = (SENTENCES[event.event] ?? (() => event.event.replace(/_/g, " ")))(event);
    const next = events[index + 1];
    const retry = next?.event === "waiting" ? `Tried again at ${time(next.until)}, when there is room` : "";
    const pause = event.event === "refused" && event.until && (!retry || Date.parse(event.until) < Date.parse(next.until)) ? `The target is left alone until ${time(event.until)}` : "";
    const more = [event.reason, pause, retry].filter(Boolean).join(". ");
    const passed = event.passed_over ? [line("passed", `Passed over ×${count(event.passed_over)}`, { passed: true, more: `${plural(event.passed_over, "higher job")} went first while this one was next` })] : [];
    return [...passed, line(LOOK[event.event] ?? "", words, { more })];
  });
  const kept = events.length >= 100 ? h("p", { class: "note" }, "Of a long history the first 20 and the last 80 lines are kept.") : null;
  return h("section", { class: "panel", "aria-labelledby": "history-title" },
    h("h2", { id: "history-title" }, "What happened"),
    h("ol", { class: "history" }, lines),
    kept);
}

export const age = (job) => (job.finished_at ? (Date.parse(job.finished_at) - Date.parse(job.enqueued_at)) / 1000 : since(job.enqueued_at));
