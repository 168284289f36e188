// The dead jobs of a target: what they died of, sending them again, forgetting them.

import { call, get, query, segment, sweep } from "./api.js";
import { gauge } from "./chart.js";
import { ask, attempt } from "./dialog.js";
import { h } from "./dom.js";
import { count, percent, plural, time } from "./format.js";
import { foot, jobTable, pager, select } from "./jobs.js";
import { purgeOne, redriveOne } from "./job.js";
import { follow, live, sorted } from "./live.js";
import { targetLink } from "./overview.js";

const PAGE = 50;
// Stretches of 10,000 jobs that are counted without being asked to.
const COUNTED = 10;
const PRIORITIES = ["HIGH", "NORMAL", "BATCH"];

// What they died of, added up stretch by stretch.
function errors(name, among, redraw) {
  const all = { groups: new Map(), looked: 0, next: null, busy: false, known: true };
  let turn = 0;
  all.count = async (anew) => {
    const mine = ++turn;
    const groups = anew ? new Map() : all.groups;
    let looked = anew ? 0 : all.looked;
    let next = anew ? null : all.next;
    all.busy = true;
    try {
      for (let stretch = 0; stretch < COUNTED; stretch += 1) {
        const part = await get(`/v1/targets/${segment(name)}/dead/errors${query({ ...among, after: next })}`);
        if (mine !== turn) return;
        for (const error of part.errors) {
          const before = groups.get(error.code);
          groups.set(error.code, before ? { ...before, count: before.count + error.count, oldest: error.oldest } : error);
        }
        looked += part.looked_at;
        next = part.next;
        if (!next) break;
      }
      Object.assign(all, { groups, looked, next });
      all.known = true;
    } catch {
      all.known = false;
    }
    all.busy = false;
    redraw();
  };
  return all;
}

// How long ago they died: what a person picks, and what the daemon is asked for.
const DIED = [
  ["", "any time", {}],
  ["newer-1h", "in the last hour", { newer_than: "1h" }],
  ["newer-1d", "in the last day", { newer_than: "1d" }],
  ["older-1h", "over an hour ago", { older_than: "1h" }],
  ["older-1d", "over a day ago", { older_than: "1d" }],
  ["older-7d", "over a week ago", { older_than: "7d" }],
];
const diedOf = (name) => DIED.find(([other]) => other === name) ?? DIED[0];

export function deadPage(name, wanted) {
  const chosen = { error: wanted.get("error") ?? "", priority: wanted.get("priority") ?? "", died: diedOf(wanted.get("died"))[0] };
  const base = `/v1/targets/${segment(name)}/dead`;
  let pages = null;
  let groups = null;
  let redraw = () => {};
  let unfollow = () => {};

  const choose = (change) => {
    location.hash = targetLink(name, `/dead${query({ ...chosen, ...change })}`);
  };
  const again = () => {
    pages.again();
    groups.count(true);
  };
  const total = () => live.targets.get(name)?.dead ?? 0;
  const filtered = () => Boolean(chosen.error || chosen.priority || chosen.died);
  // In the daemon's words. Those of every error are counted, of which one may be chosen.
  const among = { priority: chosen.priority, ...diedOf(chosen.died)[2] };
  const filter = { error: chosen.error, ...among };

  // How many a sweep means, and whether that is known to the last one.
  function meant() {
    if (!filtered()) return { number: total(), exact: true };
    const counted = [...groups.groups.values()].filter((one) => !chosen.error || one.code === chosen.error);
    if (!groups.known) return { number: pages.jobs.length, exact: !pages.next };
    return { number: counted.reduce((sum, one) => sum + one.count, 0), exact: !groups.next };
  }
  // Nobody is asked about a number that is not known yet.
  const counting = () => filtered() && groups.known && groups.busy && !groups.looked;
  const told = ({ number, exact }) => `${exact ? "" : "at least "}${plural(number, "dead job")}`;
  const which = () => [
    chosen.error && `that died of ${chosen.error}`,
    chosen.priority && `of priority ${chosen.priority}`,
    chosen.died && `that died ${diedOf(chosen.died)[1]}`,
  ].filter(Boolean).join(" and ");
  const all = () => [`All dead jobs of ${name}`, which()].filter(Boolean).join(" ");

  async function redriveAll() {
    const many = meant();
    const pace = await ask({
      title: `Redrive ${told(many)}?`,
      body: [
        h("p", null, `${all()} go to the ends of their queues. The target's limits hold for them as for all others.`),
        h("label", { class: "field" }, "At a pace of (for example 10/s or 100/min; empty: all at once)", h("input", { name: "pace", pattern: "[0-9]+/[0-9]*(s|min|h|d)", placeholder: "10/s", autocomplete: "off" })),
      ],
      confirm: `Redrive ${plural(many.number, "job")}`,
      read: (form) => ({ rate: form.elements.pace.value }),
    });
    if (!pace) return;
    const path = `${base}/redrive${query({ ...filter, ...pace })}`;
    const done = ({ redriven }) => `${plural(redriven, "job")} ${pace.rate ? `sent again at ${pace.rate}` : "queued again"}.`;
    if (await attempt(() => sweep("POST", path), done)) again();
  }

  async function purgeAll() {
    const many = meant();
    const sure = await ask({
      title: `Purge ${told(many)}?`,
      body: [
        h("p", null, `${all()} are forgotten, with their requests and histories. This cannot be undone.`),
        many.number > 1 ? h("label", { class: "field" }, `Type ${many.number} to go on`, h("input", { name: "number", inputmode: "numeric", autocomplete: "off" })) : null,
      ],
      confirm: `Purge ${plural(many.number, "job")}`,
      danger: true,
      read: (form) => {
        const typed = form.elements.number?.value.replace(/[\s,.]/g, "");
        if (typed !== undefined && typed !== String(many.number)) throw new Error(`It is ${count(many.number)}, not ${typed || "nothing"}.`);
        return true;
      },
    });
    if (!sure) return;
    const path = `${base}${query(filter)}`;
    if (await attempt(() => sweep("DELETE", path), ({ purged }) => `${plural(purged, "job")} forgotten.`)) again();
  }

  async function one(job, action) {
    const redrive = action === "redrive";
    if (!(redrive ? await redriveOne(job) : await purgeOne(job))) return;
    const path = `/v1/jobs/${segment(job.id)}`;
    const done = await attempt(() => (redrive ? call("POST", `${path}/redrive`) : call("DELETE", path)), redrive ? "1 job queued again." : "1 job forgotten.");
    if (done) again();
  }

  function groupList() {
    if (!groups.known || groups.groups.size === 0) return null;
    const all = [...groups.groups.values()].sort((a, b) => b.count - a.count);
    return h("section", { class: "panel", "aria-labelledby": "errors-title" },
      h("h2", { id: "errors-title" }, "What they died of",
        groups.next ? h("span", { class: "quiet" }, ` · of the newest ${count(groups.looked)}`) : null),
      h("ul", { class: "errors" }, all.map((error) => h("li", { key: error.code },
        h("button", { type: "button", class: "plain", "aria-pressed": String(chosen.error === error.code), on: { click: () => choose({ error: chosen.error === error.code ? "" : error.code }) } },
          h("b", null, error.code),
          gauge(error.count / Math.max(1, groups.looked), percent(error.count / Math.max(1, groups.looked)), "dead"),
          h("span", { class: "number" }, count(error.count)),
          h("span", { class: "quiet small" }, error.oldest === error.newest ? time(error.newest) : `${time(error.oldest)} to ${time(error.newest)}`))))),
      groups.next ? h("button", { type: "button", class: "plain", disabled: groups.busy, on: { click: () => groups.count(false) } }, "Count on") : null);
  }

  return {
    title: `Dead jobs of ${name}`,
    attach(render) {
      redraw = render;
      pages = pager((after) => `${base}${query({ ...filter, limit: PAGE, after })}`, redraw);
      groups = errors(name, among, redraw);
      groups.count(true);
      let before = total();
      let ticks = 0;
      unfollow = follow(() => {
        ticks += 1;
        if (ticks % 3 === 0 && total() !== before) {
          before = total();
          again();
        }
      });
    },
    leave: () => unfollow(),
    draw() {
      const none = total() === 0 && pages.jobs.length === 0;
      return [
        h("div", { class: "head" },
          h("div", null, h("p", { class: "quiet small" }, h("a", { href: targetLink(name) }, name)), h("h1", { tabindex: "-1" }, "Dead jobs"), h("p", { class: "quiet" }, plural(total(), "job"), filtered() ? `, shown: those ${which()}` : "")),
          none ? null : h("div", { class: "actions" },
            h("button", { type: "button", id: "redrive-all", disabled: counting(), on: { click: redriveAll } }, filtered() ? "Redrive these" : "Redrive all"),
            h("button", { type: "button", id: "purge-all", disabled: counting(), on: { click: purgeAll } }, filtered() ? "Purge these" : "Purge all"))),
        none ? null : groupList(),
        none ? null : h("div", { class: "filters" },
          select("Error", "error", [["", "all"], ...new Set([...(chosen.error ? [chosen.error] : []), ...groups.groups.keys()])].map((one) => (Array.isArray(one) ? one : [one, one])), chosen.error, (event) => choose({ error: event.target.value })),
          select("Priority", "priority", [["", "all"], ...PRIORITIES.map((one) => [one, one])], chosen.priority, (event) => choose({ priority: event.target.value })),
          select("Died", "died", DIED, chosen.died, (event) => choose({ died: event.target.value }))),
        pages.jobs.length ? jobTable(pages.jobs, {
          caption: `Dead jobs of ${name}`,
          target: false,
          error: true,
          actions: (job) => [
            h("button", { type: "button", class: "plain", "aria-label": `Redrive job ${job.id}`, on: { click: () => one(job, "redrive") } }, "Redrive"),
            h("button", { type: "button", class: "plain", "aria-label": `Purge job ${job.id}`, on: { click: () => one(job, "purge") } }, "Purge"),
          ],
        }) : null,
        foot(pages, filtered() ? "No dead job is like this." : "No job of this target is dead."),
      ];
    },
  };
}

// Where there are any.
export function deadEverywhere() {
  return {
    title: "Dead jobs",
    draw() {
      const some = sorted().filter((target) => target.dead > 0);
      return [
        h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Dead jobs")),
        some.length ? h("ul", { class: "links stacked" }, some.map((target) => h("li", { key: target.name }, h("a", { href: targetLink(target.name, "/dead") }, `${target.name}: ${plural(target.dead, "dead job")}`)))) : h("p", { class: "note" }, live.at === null ? "Asking the daemon…" : "No job is dead."),
      ];
    },
  };
}
