// Why a target stands still, and what its limits have left.

import { gauge } from "./chart.js";
import { h } from "./dom.js";
import { count, duration, percent, plural, rate, until } from "./format.js";
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

// The schedule, or what the target answers, can set another rate than its own.
const slowed = ({ limit, rate_in_force_per_second: force }) => Boolean(limit) && force !== null && Math.abs(force - limit.rate_per_second) > 1e-6;

export const rateInForce = (target) => (slowed(target) ? rate(target.rate_in_force_per_second) : target.limit.rate);

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
  const due = blocked?.until && !target.paused ? until(blocked.until) : "";
  const when = on === "breaker" ? due.replace(/^until /, "next try at ") : due;
  const limitName = [blocked?.window, blocked?.limit && `of ${blocked.limit}`].filter(Boolean).join(" ");
  const why = {
    rate: limit ? `${rateInForce(target)} is sent, and that is all it may have${slowed(target) ? " now" : ""}.` : "",
    concurrency: limit ? `${count(target.in_flight)} of ${count(limit.max_concurrent)} requests are under way; the next one waits for an answer.` : "",
    refused: "It answered 429 or 503, or could not be reached.",
    paused: "Nothing is sent until somebody resumes it.",
    breaker: "Too many failures in a row; one job at a time tries whether it is back.",
  }[on] ?? "";
  // Rate and concurrency come and go many times a second: their time says nothing.
  const moments = tone === "calm" ? "" : [limitName, when].filter(Boolean).join(", ");
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

const row = (name, ...value) => h("li", null, h("span", { class: "limit-name" }, name), h("div", { class: "limit-value" }, ...value));

const at = (moment) => until(moment).replace(/^until /, "at ");

// What is left of so many. Some of it may be for HIGH alone.
function meter(name, all, { left, reserved_high: reserved = 0 }, then) {
  const share = all ? left / all : 0;
  return row(name,
    gauge(share, `${percent(share)} left`, share < 0.1 ? "low" : ""),
    h("span", { class: "limit-left" }, h("b", null, count(left)), ` of ${count(all)} left`,
      reserved && left ? h("span", { class: left > reserved ? "quiet" : "warn" }, left > reserved ? `, ${count(reserved)} for HIGH only` : ", for HIGH only") : null,
      then ? h("span", { class: "quiet" }, ` · ${then}`) : null));
}

function ceilings({ windows = [], quota }) {
  return [
    windows.map((window) => meter(`Window ${window.window}`, parseInt(window.window, 10), window, window.free_again_at ? `next ${at(window.free_again_at)}` : "")),
    quota ? meter(`Quota ${count(quota.count)} a ${quota.per}, ${quota.timezone}`, quota.count, quota, `full again ${at(quota.resets_at)}`) : null,
  ];
}

function places(most, used, held) {
  if (!most) return null;
  return row("Under way",
    gauge((used + held) / most, `${count(used)} of ${count(most)} places taken`),
    h("span", { class: "limit-left" }, h("b", null, count(used)), ` of ${count(most)} places`,
      held ? h("span", { class: "quiet" }, `, ${count(held)} more kept for ${held === 1 ? "a request" : "requests"} that timed out and may still run`) : null));
}

function ownLimit(target) {
  const { limit, in_flight: used, rate_in_force_per_second: force, breaker_open: open } = target;
  return [
    row("Rate", h("b", null, limit.rate),
      h("span", { class: "quiet" }, limit.burst > 1 ? ` · burst ${count(limit.burst)}` : " · no burst"),
      slowed(target) ? h("span", { class: "warn" }, ` · ${rateInForce(target)} in force now`) : null,
      force === null ? h("span", { class: "warn" }, " · nothing may be sent now") : null),
    places(limit.max_concurrent, used, limit.held_places ?? 0),
    ceilings(limit),
    row("Breaker", open ? h("b", { class: "bad" }, "open: one job at a time tries") : "closed"),
  ];
}

function sharedLimit(limit) {
  return [
    row(`Shared ${limit.name}`, limit.rate ? h("b", null, limit.rate) : h("span", { class: "quiet" }, "no rate"), h("span", { class: "quiet" }, " · with other targets")),
    places(limit.max_concurrent, limit.in_flight, limit.held_places ?? 0),
    ceilings(limit),
  ];
}

// Every limit in force, its own first.
export function limitsPanel(target) {
  if (!target.limit) return null;
  const held = target.held_back_by;
  return h("section", { class: "panel", "aria-labelledby": "limits-title" },
    h("h2", { id: "limits-title" }, "Limits in force"),
    held ? h("p", { class: "note" }, `${percent(held.share)} of the last ${duration(held.over_seconds)} held back by ${held.hint}.`) : null,
    h("ul", { class: "limits" }, ownLimit(target), target.share.map(sharedLimit)));
}

// Today as a strip from midnight to midnight, drawn to scale: what may be sent when.
export function scheduleStrip({ schedule }, now = Date.now()) {
  if (!schedule?.today.length) return null;
  const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: schedule.timezone });
  const parts = schedule.today.map((part) => ({ ...part, begin: Date.parse(part.from), end: Date.parse(part.to) }));
  const midnight = parts[0].begin;
  const length = parts[parts.length - 1].end - midnight;
  const place = (moment) => (100 * (moment - midnight)) / length;
  const told = (moment) => (moment === midnight + length ? "24:00" : clock.format(moment));
  const word = (part) => part.rate ?? "closed";
  const words = (part) => `${told(part.begin)} to ${told(part.end)}: ${word(part)}`;
  const current = parts.find((part) => now >= part.begin && now < part.end);
  return h("section", { class: "panel", "aria-labelledby": "schedule-title" },
    h("h2", { id: "schedule-title" }, "Today's schedule", h("span", { class: "quiet" }, ` · ${schedule.timezone}`)),
    h("div", { class: "strip", role: "img", "aria-label": parts.map(words).join("; ") },
      parts.map((part) => h("span", { class: part.rate ? "open" : "closed", title: words(part), css: { "--from": `${place(part.begin)}%`, "--for": `${place(part.end) - place(part.begin)}%` } }, part.end - part.begin > length / 16 ? h("span", null, word(part)) : null)),
      current ? h("span", { class: "now", css: { "--from": `${place(now)}%` } }) : null),
    h("div", { class: "axis", "aria-hidden": "true" }, [0, 6, 12, 18, 24].map((hour) => h("span", null, hour === 24 ? "24:00" : clock.format(midnight + (length * hour) / 24)))),
    current ? h("p", { class: "small quiet" }, `Now, ${clock.format(now)}: ${word(current)}, until ${told(current.end)}.`) : null);
}
