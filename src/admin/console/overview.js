// All targets at a glance: what is stuck, since when, why.

import { sparkline } from "./chart.js";
import { h, joined } from "./dom.js";
import { brief, count, duration, plural, rate, since as ago } from "./format.js";
import { needs, pill, rateInForce, standing } from "./limits.js";
import { live, sorted, waiting } from "./live.js";

const PRIORITIES = ["HIGH", "NORMAL", "BATCH"];
// More cards than this nobody reads; they can be searched.
const SHOWN = 100;

export const targetLink = (name, rest = "") => `#/targets/${encodeURIComponent(name)}${rest}`;

// Depth, oldest age and time to drain of each priority.
export function queues(target, wide = false) {
  const most = Math.max(1, ...PRIORITIES.map((priority) => target.priorities[priority].depth));
  return h("table", { class: wide ? "queues wide" : "queues" },
    h("caption", { class: "unseen" }, `Queues of ${target.name}`),
    h("thead", null, h("tr", null, h("td"), ["Waiting", "Oldest", "To drain"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", null, PRIORITIES.map((priority) => {
      const queue = target.priorities[priority];
      const look = queue.depth ? "" : "nil";
      return h("tr", null,
        h("th", { scope: "row" }, h("span", { class: `dot ${priority.toLowerCase()}` }), priority),
        h("td", { class: `depth ${look}` },
          h("a", { href: `#/jobs?target=${encodeURIComponent(target.name)}&state=queued&priority=${priority}`, title: count(queue.depth) }, brief(queue.depth)),
          h("span", { class: `bar ${priority.toLowerCase()}`, css: { "--share": `${(100 * queue.depth) / most}%` } })),
        h("td", { class: look }, queue.depth ? duration(queue.oldest_age_seconds) : "–"),
        h("td", { class: look }, queue.depth ? duration(queue.estimated_drain_seconds) : "–"));
    })));
}

const latest = (values) => (values.length ? values.slice(-3).reduce((sum, value) => sum + value, 0) / Math.min(3, values.length) : 0);

function card(target) {
  const state = standing(target);
  const series = live.series.get(target.name) ?? { sent: [] };
  const id = `target-${target.name}`;
  const limit = target.rate_in_force_per_second ?? target.limit?.rate_per_second;
  return h("article", { class: "card", key: target.name, "aria-labelledby": id },
    h("div", { class: "who" },
      h("h2", { id }, h("a", { href: targetLink(target.name) }, target.name)),
      h("p", { class: "quiet url" }, target.url ?? ""),
      h("p", null, pill(state)),
      state.when || (state.why && state.tone !== "calm") ? h("p", { class: "small" }, [state.when, state.tone === "calm" ? "" : state.why].filter(Boolean).join(". ")) : null),
    h("div", { class: "pace" },
      h("p", null, h("b", { class: "big" }, rate(latest(series.sent))), h("span", { class: "quiet" }, target.limit ? ` of ${rateInForce(target)}` : "")),
      sparkline(series.sent, limit),
      h("p", { class: "small quiet" }, target.limit ? `${count(target.in_flight)} of ${count(target.limit.max_concurrent)} under way` : `${count(target.in_flight)} under way`)),
    queues(target),
    h("dl", { class: "facts" },
      fact("Scheduled", target.scheduled, `#/jobs?target=${encodeURIComponent(target.name)}&state=scheduled`),
      fact("To be retried", target.waiting, `#/jobs?target=${encodeURIComponent(target.name)}&state=waiting`),
      target.verifying ? fact("Verifying", target.verifying, `#/jobs?target=${encodeURIComponent(target.name)}&state=verifying`) : null,
      fact("Dead", target.dead, targetLink(target.name, "/dead"), "bad"),
      target.breaker_open ? h("div", null, h("dt", null, "Breaker"), h("dd", { class: "bad" }, "open")) : null));
}

function fact(name, number, href, look = "") {
  return h("div", null, h("dt", null, name),
    h("dd", { class: number ? look : "nil" }, number ? h("a", { href, class: look }, brief(number)) : "0"));
}

const STANDS = {
  retrying: ["Step Functions does not answer", "warn"],
  held: ["Step Functions takes no answer", "bad"],
  off: ["Answers to workflows are owed", "bad"],
};

// Whether workflows hear of their jobs. Answers that are late wait in the store; none is lost.
function workflows() {
  const { state, pending_answers: pending, trouble } = live.workflows ?? { state: "ok" };
  if (state === "ok") return null;
  const [word, tone] = STANDS[state] ?? [`Step Functions: ${state}`, "warn"];
  const what = { heartbeats: "heartbeats", some_answers: "some answers" }[trouble?.with];
  const why = state === "off" ? "the configuration has no [step_functions]." : [what, trouble?.error].filter(Boolean).join(": ");
  const since = trouble ? `, for ${duration(Math.round(ago(trouble.since)))}` : "";
  return h("li", null, h("b", null, "Workflows"), h("span", null,
    h("b", { class: tone }, `${word}${since}.`), " ",
    h("span", { class: "quiet" }, `${pending ? `${plural(pending, "answer")} ${pending === 1 ? "waits" : "wait"}. ` : ""}${why}`)));
}

function attention(targets) {
  const all = targets.flatMap((target) => needs(target).map((need) => ({ target, ...need })));
  all.sort((one, other) => one.rank - other.rank);
  const flows = workflows();
  const calm = !all.length && !flows;
  return h("section", { class: calm ? "attention calm" : "attention", "aria-label": "What needs somebody" },
    calm ? h("p", null, "Nothing needs you: no target is held up, no job is dead.") : h("ul", null, flows, all.slice(0, 8).map(({ target, tone, word, text, dead }) =>
      h("li", null, h("a", { href: targetLink(target.name) }, target.name), h("span", null,
        dead ? h("a", { class: tone, href: targetLink(target.name, "/dead") }, word) : h("b", { class: tone }, word), " ", h("span", { class: "quiet" }, text))))),
    all.length > 8 ? h("p", { class: "quiet" }, `and ${count(all.length - 8)} more`) : null);
}

export function overview() {
  let wanted = "";
  let refresh = () => {};
  return {
    title: "Overview",
    attach: (redraw) => {
      refresh = redraw;
    },
    draw() {
      const all = sorted();
      if (live.at === null) return [h("h1", { class: "unseen", tabindex: "-1" }, "Overview"), h("p", { class: "note" }, "Asking the daemon…")];
      if (!all.length) {
        return [h("h1", { class: "unseen", tabindex: "-1" }, "Overview"),
          h("p", { class: "note" }, "No targets are configured yet. Each has a section ", h("code", null, "[targets.NAME]"), " in the configuration.")];
      }
      const found = all.filter((target) => target.name.includes(wanted));
      const sum = (of) => all.reduce((total, target) => total + of(target), 0);
      const sent = sum((target) => latest(live.series.get(target.name)?.sent ?? []));
      return [
        h("h1", { class: "unseen", tabindex: "-1" }, "Overview"),
        h("p", { class: "summary" }, joined([
          h("span", null, h("b", null, count(all.length)), all.length === 1 ? " target" : " targets"),
          h("span", null, h("b", null, brief(sum(waiting))), " waiting"),
          h("span", null, h("b", null, rate(sent)), " sent"),
          h("span", null, h("b", null, brief(sum((target) => target.dead))), " dead"),
        ])),
        attention(all),
        all.length > 8 ? h("label", { class: "field search" }, "Find a target",
          h("input", { type: "search", id: "find", own: true, on: { input: (event) => { wanted = event.target.value.trim(); refresh(); } } })) : null,
        h("div", { class: "cards" }, found.slice(0, SHOWN).map(card)),
        found.length > SHOWN ? h("p", { class: "note" }, `${plural(found.length - SHOWN, "more target")}; search to see them.`) : null,
        found.length === 0 ? h("p", { class: "note" }, "No target is named like this.") : null,
      ];
    },
  };
}
