// Why a target stands still, and what its limits have left. What a daemon does not tell is left out.

import { gauge } from "./chart.js";
import { h } from "./dom.js";
import { count, duration, percent, plural, rate, time, until } from "./format.js";
import { waiting } from "./live.js";

const WORDS = {
  rate: ["At its rate", "calm"],
  concurrency: ["All places taken", "calm"],
  window: ["Window used up", "warn"],
  quota: ["Quota used up", "warn"],
  closed: ["Closed", "warn"],
  refused: ["Asked for a pause", "bad"],
  breaker: ["Breaker open", "bad"],
  paused: ["Paused", "warn"],
  draining: ["Daemon draining", "warn"],
};

// A pause that is over in a moment is how a target and its limits get along; nobody has to see to it.
const SHORT_S = 10;

const breakerOf = (target) => {
  const breaker = target.breaker;
  return typeof breaker === "string" ? { state: breaker } : breaker ?? null;
};

export const breakerIsOpen = (target) => {
  const breaker = breakerOf(target);
  return breaker ? !["closed", undefined].includes(breaker.state) : false;
};

// In two words and a sentence: how it is, since when, until when.
export function standing(target) {
  const { blocked, limit } = target;
  const jobs = waiting(target);
  if (!target.configured) {
    return { word: "Not configured", tone: "warn", why: "The configuration does not name it any more; its jobs wait until it does." };
  }
  const on = target.paused ? "paused" : blocked?.on;
  if (!on) {
    if (target.in_flight > 0 || jobs > 0) return { word: "Sending", tone: "good", why: "" };
    return { word: "Idle", tone: "calm", why: "" };
  }
  const short = on === "refused" && blocked?.until && Date.parse(blocked.until) - Date.now() < SHORT_S * 1000;
  const [word, tone] = short ? ["Short pause", "calm"] : WORDS[on] ?? [on, "warn"];
  const when = blocked?.until && !target.paused ? until(blocked.until) : "";
  const since = blocked?.since ? `since ${time(blocked.since)}` : "";
  const limitName = blocked?.limit && blocked.limit !== target.name ? `by ${blocked.limit}` : "";
  const why = {
    rate: limit ? `${limit.rate} is sent, and that is all it may have.` : "",
    concurrency: limit ? `${count(target.in_flight)} of ${count(limit.max_concurrent)} requests are under way; the next one waits for an answer.` : "",
    refused: "It answered 429 or 503, or could not be reached.",
    paused: "Nothing is sent until somebody resumes it.",
    breaker: "Too many failures in a row; one job at a time tries whether it is back.",
  }[on] ?? "";
  // Rate and concurrency come and go many times a second: their time says nothing.
  const moments = tone === "calm" ? "" : [limitName, since, when].filter(Boolean).join(", ");
  return { word, tone, when: moments, why };
}

export function pill({ word, tone }) {
  return h("span", { class: `pill ${tone}` }, word);
}

// What needs somebody, worst first.
export function needs(target) {
  const found = [];
  const state = standing(target);
  const jobs = waiting(target);
  const oldest = Math.max(0, ...Object.values(target.priorities).map((queue) => queue.oldest_age_seconds ?? 0));
  const queue = jobs ? `${plural(jobs, "job")} ${jobs === 1 ? "waits" : "wait"}${oldest ? `, the oldest for ${duration(oldest)}` : ""}.` : "";
  if (state.tone === "bad" || (state.tone === "warn" && jobs > 0)) {
    const text = `${state.why} ${queue}`.replace(/ +/g, " ").trim();
    found.push({ rank: state.tone === "bad" ? 0 : 1, tone: state.tone, word: `${state.word}${state.when ? `, ${state.when}` : ""}.`, text });
  }
  if (target.held_groups > 0) {
    const one = target.held_groups === 1;
    const text = `Nobody of ${one ? "it" : "them"} is sent until its dead job is redriven or purged.`;
    found.push({ rank: 1, tone: "warn", word: `${plural(target.held_groups, "group")} held.`, text, dead: true });
  }
  if (target.dead > 0) {
    found.push({ rank: 2, tone: "bad", word: `${plural(target.dead, "dead job")}`, text: "to look at.", dead: true });
  }
  return found;
}

const leftOf = (limit) => limit.left ?? limit.remaining;
const resetOf = (limit) => limit.resets_at ?? limit.until ?? limit.free_at;

const row = (name, ...value) => h("li", null, h("span", { class: "limit-name" }, name), h("div", { class: "limit-value" }, ...value));

function meter(name, limit, all) {
  const left = leftOf(limit);
  if (left === undefined || left === null) return row(name, "in force");
  const share = all ? left / all : 0;
  const reset = resetOf(limit);
  return row(name,
    gauge(share, `${percent(share)} left`, share < 0.1 ? "low" : ""),
    h("span", { class: "limit-left" }, h("b", null, count(left)), ` of ${count(all)} left`,
      limit.reserved_high ? h("span", { class: "quiet" }, `, ${count(limit.reserved_high)} of them for HIGH`) : null,
      reset ? h("span", { class: "quiet" }, ` · ${left > 0 ? "resets" : "next"} ${until(reset).replace(/^until /, "at ")}`) : null));
}

const countOf = (limit) => limit.count ?? Number(String(limit.limit ?? limit.window ?? "").split("/")[0]);
const nameOf = (limit) => limit.limit ?? limit.window ?? limit.name ?? `${count(limit.count)}/${limit.per}`;

function windowsAndQuota(limit) {
  return [
    (limit.windows ?? []).map((window) => meter(`Window ${typeof window === "string" ? window : nameOf(window)}`, window, countOf(window))),
    limit.quota ? meter(`Quota ${count(limit.quota.count)} a ${limit.quota.per}${limit.quota.timezone ? `, ${limit.quota.timezone}` : ""}`, limit.quota, limit.quota.count) : null,
  ];
}

function oneLimit(name, limit, inFlight) {
  const places = limit.max_concurrent;
  const used = limit.in_flight ?? inFlight;
  const force = limit.rate_in_force_per_second ?? limit.adaptive?.rate_per_second;
  return [
    row(name, h("b", null, limit.rate),
      h("span", { class: "quiet" }, limit.burst > 1 ? ` · burst ${count(limit.burst)}` : " · no burst"),
      force !== undefined && force !== limit.rate_per_second ? h("span", { class: "warn" }, ` · ${rate(force)} in force now`) : null),
    places ? row("Under way",
      used === undefined ? null : gauge(used / places, `${count(used)} of ${count(places)} places taken`),
      h("span", { class: "limit-left" }, used === undefined ? `${count(places)} at a time` : [h("b", null, count(used)), ` of ${count(places)} places`])) : null,
    windowsAndQuota(limit),
  ];
}

// Every limit in force, its own first.
export function limitsPanel(target) {
  const shared = target.limits ?? target.shared_limits ?? target.share ?? [];
  const named = Array.isArray(shared) ? shared : Object.entries(shared).map(([name, limit]) => ({ name, ...limit }));
  const breaker = breakerOf(target);
  if (!target.limit && !named.length && !breaker) return null;
  return h("section", { class: "panel", "aria-labelledby": "limits-title" },
    h("h2", { id: "limits-title" }, "Limits in force"),
    target.held_back_by ? h("p", { class: "note" }, `${percent(target.held_back_by.share)} of the last ${duration(target.held_back_by.over_seconds)} held back by ${target.held_back_by.hint}.`) : null,
    h("ul", { class: "limits" },
      target.limit ? oneLimit("Rate", target.limit, target.in_flight) : null,
      named.filter((limit) => typeof limit === "object").map((limit) => oneLimit(`Shared ${limit.name}`, limit)),
      breaker ? row("Breaker",
        h("b", { class: breakerIsOpen(target) ? "bad" : "" }, String(breaker.state).replace(/_/g, " ")),
        breaker.failures ? h("span", { class: "quiet" }, ` · ${plural(breaker.failures, "failure")} in a row`) : null,
        breaker.until ?? breaker.probe_at ? h("span", { class: "quiet" }, ` · tries ${until(breaker.until ?? breaker.probe_at).replace(/^until /, "at ")}`) : null) : null));
}

// Minutes since midnight: of "08:30", or of a time of today in the schedule's own zone.
function minutes(text) {
  const plain = /^(\d{1,2}):(\d{2})$/.exec(text) ?? /T(\d{2}):(\d{2})/.exec(text);
  return plain ? Number(plain[1]) * 60 + Number(plain[2]) : null;
}

// Today as a strip from midnight to midnight: what may be sent when.
export function scheduleStrip(target, now = new Date()) {
  const schedule = target.schedule;
  const parts = Array.isArray(schedule) ? schedule : schedule?.today;
  if (!parts?.length) return null;
  const zone = schedule.timezone ?? parts.find((part) => part.timezone)?.timezone;
  let here;
  try {
    here = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: zone }).format(now);
  } catch {
    here = null;
  }
  const spans = parts.map((part) => ({ ...part, start: minutes(part.from) ?? 0, end: minutes(part.to) || 1440 }));
  const word = (part) => (part.closed ? "closed" : part.rate);
  return h("section", { class: "panel", "aria-labelledby": "schedule-title" },
    h("h2", { id: "schedule-title" }, "Today's schedule", zone ? h("span", { class: "quiet" }, ` · ${zone}`) : null),
    h("div", { class: "strip", role: "img", "aria-label": spans.map((part) => `${part.from} to ${part.to}: ${word(part)}`).join("; ") },
      spans.map((part) => h("span", { class: part.closed ? "closed" : "open", css: { "--from": `${part.start / 14.4}%`, "--for": `${(part.end - part.start) / 14.4}%` } }, h("span", null, word(part)))),
      here ? h("span", { class: "now", css: { "--from": `${minutes(here) / 14.4}%` } }) : null),
    h("div", { class: "axis", "aria-hidden": "true" }, ["00", "06", "12", "18", "24"].map((hour) => h("span", null, `${hour}:00`))));
}
