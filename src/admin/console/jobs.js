// Lists of jobs: finding one, and what state they are in.

import { get, query } from "./api.js";
import { h } from "./dom.js";
import { duration, exact, since, time } from "./format.js";
import { follow, live, sorted } from "./live.js";

const STATES = ["scheduled", "queued", "running", "waiting", "verifying", "succeeded", "failed", "expired", "cancelled"];
const PRIORITIES = ["HIGH", "NORMAL", "BATCH"];
const PAGE = 50;

const TONES = { succeeded: "good", failed: "bad", expired: "bad", cancelled: "warn", running: "good", waiting: "warn", verifying: "warn" };

export const jobLink = (id) => `#/jobs/${encodeURIComponent(id)}`;

export const stateOf = (job) => h("span", { class: `pill ${TONES[job.state] ?? "calm"}` }, job.state);

// Pages of a list, each asked for when it is wanted. `path(after)` names one.
export function pager(path, redraw) {
  const pages = { jobs: [], next: null, asked: false, busy: false, problem: null, more };
  async function load(after) {
    pages.busy = true;
    pages.problem = null;
    redraw();
    try {
      const page = await get(path(after));
      pages.jobs = after ? [...pages.jobs, ...page.jobs] : page.jobs;
      pages.next = page.next;
    } catch (error) {
      pages.problem = error.message;
    }
    pages.busy = false;
    pages.asked = true;
    redraw();
  }
  function more() {
    if (!pages.busy) load(pages.next);
  }
  // Only the first page is looked at again by itself: what somebody has paged to stays.
  pages.again = () => {
    if (!pages.busy && pages.jobs.length <= PAGE) load(null);
  };
  // Whoever asked has to know these pages before they are drawn.
  queueMicrotask(() => load(null));
  return pages;
}

export function jobTable(jobs, { caption, target = true, error = false, actions }) {
  return h("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
    h("table", { class: "jobs" },
      h("caption", { class: "unseen" }, caption),
      h("thead", null, h("tr", null,
        h("th", { scope: "col" }, "Job"), target ? h("th", { scope: "col" }, "Target") : null,
        h("th", { scope: "col" }, "State"), h("th", { scope: "col" }, "Priority"),
        h("th", { scope: "col", class: "number" }, "Attempts"),
        error ? h("th", { scope: "col" }, "Died") : h("th", { scope: "col" }, "Taken in"),
        error ? h("th", { scope: "col" }, "Error") : h("th", { scope: "col" }, "Next, or end"),
        actions ? h("th", { scope: "col" }, h("span", { class: "unseen" }, "Actions")) : null)),
      h("tbody", null, jobs.map((job) => h("tr", { key: job.id },
        h("th", { scope: "row", class: "mono" }, h("a", { href: jobLink(job.id), title: job.id }, job.id)),
        target ? h("td", null, job.target) : null,
        h("td", null, stateOf(job)),
        h("td", null, h("span", { class: `dot ${job.priority.toLowerCase()}` }), job.priority),
        h("td", { class: "number" }, job.attempts),
        error ? h("td", { title: exact(job.finished_at) }, time(job.finished_at)) : h("td", { title: exact(job.enqueued_at) }, `${duration(since(job.enqueued_at))} ago`),
        error ? h("td", { class: "wide" }, h("b", null, job.error?.code ?? ""), h("span", { class: "sub" }, job.error?.message ?? "")) : h("td", { class: ending(job) === "–" ? "wide none" : "wide" }, ending(job)),
        actions ? h("td", { class: "actions" }, actions(job)) : null)))));
}

function ending(job) {
  if (job.finished_at) return `${time(job.finished_at)}${job.error ? `, ${job.error.code}` : ""}`;
  const due = job.not_before ?? job.next_attempt_at ?? job.next_question_at ?? job.estimated_start;
  return due ? `at ${time(due)}` : "–";
}

// The foot of a list: how much of it is shown, and more of it.
export function foot(pages, none) {
  if (pages.problem) return h("p", { class: "bad", role: "alert" }, pages.problem);
  if (!pages.asked) return h("p", { class: "note" }, "Looking…");
  return [
    pages.jobs.length || pages.next ? null : h("p", { class: "note" }, none),
    pages.next ? h("p", null, h("button", { type: "button", id: "more", disabled: pages.busy, on: { click: pages.more } }, pages.busy ? "Looking…" : pages.jobs.length ? "More" : "Look further")) : null,
  ];
}

export function select(label, name, options, chosen, change) {
  return h("label", { class: "field" }, label,
    h("select", { name, on: { change } }, options.map(([value, text]) => h("option", { value, selected: value === chosen }, text))));
}

export function jobsPage(wanted) {
  let pages = null;
  let unfollow = () => {};
  let before = "";
  const chosen = { target: wanted.get("target") ?? "", state: wanted.get("state") ?? "", priority: wanted.get("priority") ?? "", group: wanted.get("group") ?? "" };
  const choose = (name) => (event) => {
    location.hash = `#/jobs${query({ ...chosen, [name]: event.target.value })}`;
  };
  function find(event) {
    event.preventDefault();
    const id = event.target.elements.id.value.trim();
    if (id) location.hash = jobLink(id);
  }
  // A list looks different when a count of its target does.
  const counts = () => JSON.stringify(sorted().filter((one) => !chosen.target || one.name === chosen.target)
    .map((one) => [one.priorities.HIGH.depth, one.priorities.NORMAL.depth, one.priorities.BATCH.depth, one.scheduled, one.waiting, one.running, one.dead, one.totals?.succeeded]));
  return {
    title: "Jobs",
    attach(redraw) {
      pages = pager((after) => `/v1/jobs${query({ ...chosen, limit: PAGE, after })}`, redraw);
      let ticks = 0;
      unfollow = follow(() => {
        ticks += 1;
        const now = counts();
        if (ticks % 2 === 0 && now !== before) {
          before = now;
          pages.again();
        }
      });
    },
    leave: () => unfollow(),
    draw() {
      const names = sorted().map((target) => target.name);
      if (chosen.target && !names.includes(chosen.target)) names.unshift(chosen.target);
      return [
        h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Jobs"),
          h("form", { class: "find", role: "search", on: { submit: find } },
            h("label", { class: "field" }, "Job id", h("input", { name: "id", own: true, class: "mono", size: "36", autocomplete: "off", spellcheck: "false", placeholder: "0197a3b0-6d1e-…" })),
            h("button", { type: "submit" }, "Open"))),
        h("div", { class: "filters" },
          select("Target", "target", [["", "all"], ...names.map((name) => [name, name])], chosen.target, choose("target")),
          select("State", "state", [["", "all"], ...STATES.map((name) => [name, name])], chosen.state, choose("state")),
          select("Priority", "priority", [["", "all"], ...PRIORITIES.map((name) => [name, name])], chosen.priority, choose("priority")),
          h("label", { class: "field", key: `group ${chosen.group}` }, "Group",
            h("input", { name: "group", type: "search", own: true, class: "mono", autocomplete: "off", spellcheck: "false", maxlength: "128", value: chosen.group, on: { change: choose("group") } }))),
        pages.jobs.length ? jobTable(pages.jobs, { caption: "Jobs", target: !chosen.target }) : null,
        foot(pages, live.targets.size ? "No job is like this." : "No jobs."),
      ];
    },
  };
}
