// One job: its life, its request, its answer, and what can be done about it.

import { call, getExact, segment } from "./api.js";
import { ask, attempt } from "./dialog.js";
import { h } from "./dom.js";
import { editAndRedrive } from "./edit.js";
import { count, duration, exact, pretty, time, until } from "./format.js";
import { jobLink, stateOf } from "./jobs.js";
import { targetLink } from "./overview.js";
import { age, history, timeline } from "./timeline.js";

const EVERY_MS = 1_000;
const PENDING = new Set(["scheduled", "queued", "waiting", "verifying"]);
const ENDED = new Set(["succeeded", "failed", "expired", "cancelled"]);
const PRIORITIES = ["HIGH", "NORMAL", "BATCH"];

const path = (id, rest = "") => `/v1/jobs/${segment(id)}${rest}`;

export const purgeOne = (job) =>
  ask({
    title: "Purge 1 dead job?",
    body: h("p", null, `Job ${job.id} of ${job.target}, its request and its history are forgotten. This cannot be undone.`),
    confirm: "Purge 1 job",
    danger: true,
  });

export const redriveOne = (job) =>
  ask({
    title: "Redrive 1 dead job?",
    body: h("p", null, `Job ${job.id} goes to the end of the ${job.priority} queue of ${job.target}, with all its attempts before it.`),
    confirm: "Redrive 1 job",
  });

function body(text, what) {
  if (text === undefined || text === null || text === "") return h("p", { class: "note" }, `${what} has no body.`);
  return h("pre", { tabindex: "0", "aria-label": `Body of ${what.toLowerCase()}` }, pretty(text));
}

function headerRows(headers) {
  return headers.length ? h("dl", { class: "headers" }, headers.map(({ name, value }) => h("div", null, h("dt", null, name), h("dd", null, value)))) : null;
}

function requestPanel(request, title, id) {
  if (!request) return null;
  return h("section", { class: "panel", "aria-labelledby": id },
    h("h2", { id }, title),
    h("p", { class: "mono first-line" }, h("b", null, request.method), ` ${request.path}`),
    headerRows(request.headers ?? []),
    request.idempotency_key ? h("p", { class: "small quiet" }, "Idempotency-Key ", h("span", { class: "mono" }, request.idempotency_key)) : null,
    body(request.body ?? request.body_base64, "The request"),
    request.body_base64 ? h("p", { class: "small quiet" }, "In base64: it is not text.") : null);
}

function answerPanel(result, title, id) {
  const headers = Object.entries(result.Headers ?? {}).flatMap(([name, values]) => values.map((value) => ({ name, value })));
  return h("section", { class: "panel", key: id, "aria-labelledby": id },
    h("h2", { id }, title, result.at ? h("span", { class: "quiet" }, " · ", h("time", { datetime: result.at, title: exact(result.at) }, time(result.at))) : null),
    h("p", { class: "mono first-line" }, h("b", null, result.StatusCode), ` ${result.StatusText ?? ""}`),
    headerRows(headers),
    body(result.ResponseBody, "The answer"),
    result.ResponseBodyBase64 ? h("p", { class: "small quiet" }, "In base64: it is not text.") : null,
    result.ResponseBodyTruncated ? h("p", { class: "small quiet" }, "It was longer; this is what is kept.") : null);
}

// What each attempt was answered, as long as the job has not succeeded; then the last answer alone.
function answers(job) {
  const all = job.answers ?? [];
  if (!all.length) return job.result ? answerPanel(job.result, "Answer", "answer-title") : null;
  const title = (answer) => (answer.question ? `Answer to question ${answer.question}` : `Answer to attempt ${answer.attempt}`);
  return all.map((answer, index) => answerPanel(answer, title(answer), `answer-${index}`)).reverse();
}

const fact = (name, ...value) => h("div", null, h("dt", null, name), h("dd", null, ...value));

function facts(job) {
  const moment = (at) => h("time", { datetime: at, title: exact(at) }, time(at));
  return h("dl", { class: "inline" },
    fact("Target", h("a", { href: targetLink(job.target) }, job.target)),
    fact("Priority", h("span", { class: `dot ${job.priority.toLowerCase()}` }), job.priority),
    fact("Attempts", count(job.attempts)),
    job.questions ? fact("Questions", count(job.questions)) : null,
    fact("Taken in", moment(job.enqueued_at)),
    job.not_before ? fact("Not before", moment(job.not_before)) : null,
    job.next_attempt_at ? fact("Next attempt", until(job.next_attempt_at).replace(/^until /, "at ")) : null,
    job.next_question_at ? fact("Next question", until(job.next_question_at).replace(/^until /, "at ")) : null,
    job.position ? fact("Position", count(job.position)) : null,
    job.estimated_start ? fact("Starts about", moment(job.estimated_start)) : null,
    job.deadline ? fact("Deadline", moment(job.deadline)) : null,
    job.delivery ? fact("Delivery", job.delivery) : null,
    job.group ? fact("Group", h("a", { class: "mono", href: `#/jobs?target=${encodeURIComponent(job.target)}&group=${encodeURIComponent(job.group)}` }, job.group), job.holds_group ? h("b", { class: "bad" }, " · held by this job") : null) : null,
    job.behind ? fact("Behind", h("a", { href: jobLink(job.behind), class: "mono" }, job.behind)) : null,
    job.fairness_key ? fact("Fairness key", h("span", { class: "mono" }, job.fairness_key)) : null,
    job.finished_at ? fact("Ended", moment(job.finished_at)) : null,
    fact(job.finished_at ? "Took" : "Age", duration(age(job))),
    job.callback ? fact("Callback", h("span", { class: "mono" }, job.callback.name), " ",
      h("span", { class: { delivered: "good", undelivered: "bad" }[job.callback.state] ?? "quiet", title: job.callback.message_id }, job.callback.state),
      job.callback.reason ? h("span", { class: "small quiet" }, ` · ${job.callback.reason}`) : null) : null,
    job.redriven_as ? fact("Redriven as", h("a", { href: jobLink(job.redriven_as), class: "mono" }, job.redriven_as)) : null,
    job.trace_id ? fact("Trace", h("span", { class: "mono" }, job.trace_id)) : null);
}

export function jobPage(id) {
  let job = null;
  let request = null;
  let original = null;
  let problem = null;
  let zoomed = false;
  let timer = null;
  let gone = false;
  let redraw = () => {};

  async function look() {
    clearTimeout(timer);
    try {
      // The request does not change while one looks; it is asked for once, and after an edit.
      const found = await getExact(path(id, request ? "" : "?request=true"));
      if (found.request || !request) original = found.original_request ?? null;
      request = found.request ?? request ?? {};
      job = found;
      problem = null;
    } catch (error) {
      problem = error;
    }
    if (gone) return;
    redraw();
    const over = problem?.status === 404 || problem?.status === 400 || (job && ENDED.has(job.state) && !problem);
    if (!over || Date.parse(job?.finished_at) > Date.now() - 60_000) timer = setTimeout(tick, EVERY_MS);
  }
  function tick() {
    if (document.hidden) timer = setTimeout(tick, EVERY_MS);
    else look();
  }
  const done = async (answer) => {
    if (answer) {
      request = null;
      await look();
    }
  };

  async function cancel() {
    const sure = await ask({ title: "Cancel 1 job?", body: h("p", null, "It is not sent (again), and whoever waits for it is told so."), confirm: "Cancel the job", cancel: "Leave it", danger: true });
    if (sure) done(await attempt(() => call("POST", path(id, "/cancel")), "The job is cancelled."));
  }
  async function redrive() {
    if (await redriveOne(job)) done(await attempt(() => call("POST", path(id, "/redrive")), "The job is queued again."));
  }
  async function tellAgain() {
    done(await attempt(() => call("POST", path(id, "/callback")), "Its callback is told again."));
  }
  async function purge() {
    if ((await purgeOne(job)) && (await attempt(() => call("DELETE", path(id)), "The job is forgotten."))) {
      location.hash = targetLink(job.target, "/dead");
    }
  }
  async function edit() {
    done(await editAndRedrive(job, request));
  }
  const prioritise = async (event) => {
    const priority = event.target.value;
    done(await attempt(() => call("PATCH", path(id), { priority }), `The job is ${priority} now.`));
  };

  function actions() {
    if (PENDING.has(job.state)) {
      return [
        h("label", { class: "field inline-field" }, "Priority",
          h("select", { id: "priority", on: { change: prioritise } }, PRIORITIES.map((one) => h("option", { value: one, selected: one === job.priority }, one)))),
        h("button", { type: "button", id: "cancel", on: { click: cancel } }, "Cancel it"),
      ];
    }
    const tell = job.callback?.state === "undelivered" ? h("button", { type: "button", id: "tell", on: { click: tellAgain } }, "Tell its callback again") : null;
    if (job.state !== "failed" && job.state !== "expired") return tell ? [tell] : null;
    return [
      tell,
      h("button", { type: "button", id: "redrive", class: "strong", on: { click: redrive } }, "Redrive"),
      request?.method ? h("button", { type: "button", id: "edit", on: { click: edit } }, "Edit and redrive") : null,
      h("button", { type: "button", id: "purge", on: { click: purge } }, "Purge"),
    ];
  }

  return {
    title: `Job ${id.slice(0, 8)}`,
    attach(again) {
      redraw = again;
      look();
    },
    leave() {
      gone = true;
      clearTimeout(timer);
    },
    draw() {
      const head = h("h1", { tabindex: "-1", class: "mono id" }, id);
      if (!job) return [h("div", { class: "head" }, h("div", null, head)), problem ? h("p", { class: "bad", role: "alert" }, problem.message) : h("p", { class: "note" }, "Looking…")];
      return [
        h("div", { class: "head" },
          h("div", null, h("p", { class: "quiet small" }, "Job"), head),
          h("div", { class: "state" }, stateOf(job)),
          h("div", { class: "actions" }, actions())),
        problem ? h("p", { class: "bad", role: "alert" }, `${problem.message}. What is shown is old.`) : null,
        job.error ? h("p", { class: "verdict" }, h("b", null, job.error.code), " ", job.error.message) : null,
        facts(job),
        timeline(job, zoomed, () => {
          zoomed = !zoomed;
          redraw();
        }),
        history(job),
        h("div", { class: "columns" },
          requestPanel(request?.method ? request : null, original ? "Request, as it was changed" : "Request", "request-title"),
          requestPanel(original, "Request, as it came", "original-title"),
          answers(job)),
      ];
    },
  };
}
