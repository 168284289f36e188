// The dead jobs of a target: what they died of, sending them again, forgetting them.

import { call, get, query, segment, takes } from "./api.js";
import { gauge } from "./chart.js";
import { ask, attempt, say } from "./dialog.js";
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
function errors(name, redraw) {
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
        const part = await get(`/v1/targets/${segment(name)}/dead/errors${query({ after: next })}`);
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
    } catch (error) {
      all.known = error.status !== 404;
    }
    all.busy = false;
    redraw();
  };
  return all;
}

// The words of the daemon's own description for a filter and a pace, where it takes them.
function words(offered) {
  const find = (...names) => names.find((name) => offered.has(name));
  return { code: find("code", "error", "error_code"), priority: find("priority"), pace: find("pace", "rate") };
}

export function deadPage(name, wanted) {
  const chosen = { code: wanted.get("code") ?? "", priority: wanted.get("priority") ?? "" };
  const base = `/v1/targets/${segment(name)}/dead`;
  let pages = null;
  let groups = null;
  let redraw = () => {};
  let unfollow = () => {};
  let redriveWords = {};
  let purgeWords = {};

  const choose = (change) => {
    location.hash = targetLink(name, `/dead${query({ ...chosen, ...change })}`);
  };
  const again = () => {
    pages.again();
    groups.count(true);
  };
  const total = () => live.targets.get(name)?.dead ?? 0;
  const filtered = () => Boolean(chosen.code || chosen.priority);

  // How many a sweep means, and whether that is known to the last one.
  function meant() {
    if (!filtered()) return { number: total(), exact: true };
    if (chosen.code && !chosen.priority && groups.groups.has(chosen.code)) {
      return { number: groups.groups.get(chosen.code).count, exact: !groups.next };
    }
    return { number: pages.jobs.length, exact: !pages.next };
  }
  const told = ({ number, exact }) => `${exact ? "" : "at least "}${plural(number, "dead job")}`;
  const which = () => [chosen.code && `that died of ${chosen.code}`, chosen.priority && `of priority ${chosen.priority}`].filter(Boolean).join(" and ");
  const all = () => [`All dead jobs of ${name}`, which()].filter(Boolean).join(" ");
  const heeds = (names) => (!chosen.code || names.code) && (!chosen.priority || names.priority);
  const filter = (names) => ({
    ...(chosen.code ? { [names.code]: chosen.code } : {}),
    ...(chosen.priority ? { [names.priority]: chosen.priority } : {}),
  });

  async function redriveAll() {
    const many = meant();
    const paced = redriveWords.pace;
    const body = await ask({
      title: `Redrive ${told(many)}?`,
      body: [
        h("p", null, `${all()} go to the ends of their queues. The target's limits hold for them as for all others.`),
        paced ? h("label", { class: "field" }, "At a pace of (for example 10/s or 100/min; empty: all at once)", h("input", { name: "pace", pattern: "[0-9]+/[0-9]*(s|min|h|d)", placeholder: "10/s", autocomplete: "off" })) : null,
      ],
      confirm: `Redrive ${plural(many.number, "job")}`,
      read: (form) => ({ ...filter(redriveWords), ...(form.elements.pace?.value ? { [paced]: form.elements.pace.value } : {}) }),
    });
    if (!body) return;
    const sent = Object.keys(body).length ? body : undefined;
    if (await attempt(() => call("POST", `${base}/redrive`, sent), ({ redriven }) => `${plural(redriven, "job")} queued again.`)) again();
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
    const path = `${base}${query(filter(purgeWords))}`;
    if (await attempt(() => call("DELETE", path), ({ purged }) => `${plural(purged, "job")} forgotten.`)) again();
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
        h("button", { type: "button", class: "plain", "aria-pressed": String(chosen.code === error.code), on: { click: () => choose({ code: chosen.code === error.code ? "" : error.code }) } },
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
      pages = pager((after) => `${base}${query({ ...chosen, limit: PAGE, after })}`, redraw);
      groups = errors(name, redraw);
      groups.count(true);
      takes("POST", "/v1/targets/{target}/dead/redrive").then(({ body, query: parameters }) => {
        redriveWords = words(new Set([...body, ...parameters]));
        redraw();
      }).catch((error) => say(error.message, true));
      takes("DELETE", "/v1/targets/{target}/dead").then(({ query: parameters }) => {
        purgeWords = words(parameters);
        redraw();
      }).catch(() => {});
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
            heeds(redriveWords) ? h("button", { type: "button", id: "redrive-all", on: { click: redriveAll } }, filtered() ? "Redrive these" : "Redrive all") : null,
            heeds(purgeWords) ? h("button", { type: "button", id: "purge-all", on: { click: purgeAll } }, filtered() ? "Purge these" : "Purge all") : null)),
        none ? null : groupList(),
        none ? null : h("div", { class: "filters" },
          select("Error", "code", [["", "all"], ...new Set([...(chosen.code ? [chosen.code] : []), ...groups.groups.keys()])].map((one) => (Array.isArray(one) ? one : [one, one])), chosen.code, (event) => choose({ code: event.target.value })),
          select("Priority", "priority", [["", "all"], ...PRIORITIES.map((one) => [one, one])], chosen.priority, (event) => choose({ priority: event.target.value }))),
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
