// One target: how it runs, what its limits have left, pausing and resuming it.

import { call, segment } from "./api.js";
import { chart, units } from "./chart.js";
import { ask, attempt } from "./dialog.js";
import { h } from "./dom.js";
import { brief, count, plural } from "./format.js";
import { limitsPanel, pill, scheduleStrip, standing } from "./limits.js";
import { live, waiting } from "./live.js";
import { queues, targetLink } from "./overview.js";

async function setPaused(target, paused) {
  if (paused) {
    const jobs = waiting(target);
    const sure = await ask({
      title: `Pause ${target.name}?`,
      body: h("p", null, `Nothing more is sent to it until somebody resumes it, also after a restart. ${jobs ? `${plural(jobs, "job")} wait there now; ` : ""}new ones are still taken.`),
      confirm: "Pause it",
    });
    if (!sure) return;
  }
  await attempt(
    () => call("POST", `/v1/targets/${segment(target.name)}/${paused ? "pause" : "resume"}`),
    paused ? `${target.name} is paused.` : `${target.name} is resumed.`,
  );
}

function states(target) {
  const all = [
    ["scheduled", target.scheduled],
    ["waiting for a retry", target.waiting, "waiting"],
    ["verifying", target.verifying],
    ["running", target.running],
  ].filter(([, number]) => number !== undefined);
  return h("ul", { class: "links" },
    all.map(([name, number, state = name]) => h("li", null, h("a", { href: `#/jobs?target=${encodeURIComponent(target.name)}&state=${state}` }, `${brief(number)} ${name}`))),
    h("li", null, h("a", { href: targetLink(target.name, "/dead"), class: target.dead ? "bad" : "" }, `${brief(target.dead)} dead`)),
    h("li", null, h("a", { href: `#/jobs?target=${encodeURIComponent(target.name)}` }, "all jobs")));
}

function outcomes({ totals }) {
  if (!totals) return null;
  const all = totals.done + totals.refused + totals.rejected + totals.unknown;
  const parts = ["done", "refused", "rejected", "unknown"];
  return h("section", { class: "panel", "aria-labelledby": "outcomes-title" },
    h("h2", { id: "outcomes-title" }, "Attempts since the daemon started"),
    h("div", { class: "outcomes", "aria-hidden": "true" }, parts.map((name) => totals[name] ? h("span", { class: name, css: { "--share": totals[name] } }) : null)),
    h("dl", { class: "inline" }, parts.map((name) => h("div", null, h("dt", null, h("span", { class: `dot ${name}` }), name), h("dd", null, count(totals[name])))),
      h("div", null, h("dt", null, "in all"), h("dd", null, count(all)))));
}

export function targetPage(name) {
  return {
    title: name,
    draw() {
      const target = live.targets.get(name);
      const head = h("h1", { tabindex: "-1" }, name);
      if (!target) {
        return [h("div", { class: "head" }, head), h("p", { class: "note" }, live.at === null ? "Asking the daemon…" : "There is no target of this name.")];
      }
      const state = standing(target);
      const series = live.series.get(name) ?? { sent: [], failed: [], HIGH: [], NORMAL: [], BATCH: [] };
      // A minute at least; the longer one looks, the further back it goes. The same for both charts.
      const seconds = Math.max(60, ...Object.values(series).map((values) => values.length));
      const limit = target.rate_in_force_per_second ?? target.limit?.rate_per_second;
      return [
        h("div", { class: "head" },
          h("div", null, head, h("p", { class: "quiet url" }, target.url ?? "not configured any more")),
          h("div", { class: "state" }, pill(state), h("p", { class: "small" }, [state.when, state.why].filter(Boolean).join(". "))),
          h("div", { class: "actions" }, target.paused
            ? h("button", { type: "button", id: "resume", class: "strong", on: { click: () => setPaused(target, false) } }, "Resume")
            : h("button", { type: "button", id: "pause", on: { click: () => setPaused(target, true) } }, "Pause"))),
        states(target),
        h("div", { class: "charts" },
          chart({ title: "Requests a second", unit: units.rate, seconds, limit, series: [{ name: "sent", look: "sent", values: series.sent, over: 5 }, { name: "not done", look: "failed", values: series.failed, over: 5 }] }),
          chart({ title: "Jobs waiting", unit: units.brief, seconds, stacked: true, series: ["HIGH", "NORMAL", "BATCH"].map((priority) => ({ name: priority, look: priority.toLowerCase(), values: series[priority] })) })),
        h("div", { class: "columns" },
          h("section", { class: "panel", "aria-labelledby": "queues-title" }, h("h2", { id: "queues-title" }, "Queues"), queues(target, true)),
          limitsPanel(target),
          scheduleStrip(target),
          outcomes(target)),
      ];
    },
  };
}
