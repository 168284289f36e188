"use strict";
// Shows GET /v1/targets once a second. Every text goes in as textContent, never as HTML.
(() => {
  const EVERY_MS = 1000;
  const PATIENCE_MS = 5000;
  const PRIORITIES = ["HIGH", "NORMAL", "BATCH"];

  const status = document.getElementById("status");
  const frame = document.getElementById("frame");
  const empty = document.getElementById("empty");
  const table = document.querySelector("table");
  const shown = new Map(); // a target's name -> its rows

  const number = new Intl.NumberFormat("en");

  function duration(seconds) {
    if (seconds === null) return "–";
    if (seconds < 10) return `${seconds.toFixed(1)} s`;
    if (seconds < 120) return `${Math.round(seconds)} s`;
    if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
    if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
    return `${number.format(Math.round(seconds / 86400))} d`;
  }

  // Only what has changed is touched, so that a selection in the page stays.
  function put(node, text, look = "") {
    if (node.textContent !== text) node.textContent = text;
    const look_now = `${node.dataset.look} ${look}`.trim();
    if (node.className !== look_now) node.className = look_now;
  }

  function node(kind, look, parent) {
    const made = document.createElement(kind);
    made.dataset.look = look;
    made.className = look;
    parent.append(made);
    return made;
  }

  // A cell of the target's own, beside its three queues, with a line in small below.
  function tall(kind, look, row) {
    const cell = node(kind, look, row);
    cell.rowSpan = PRIORITIES.length;
    return { main: node("span", "", cell), sub: node("span", "sub", cell) };
  }

  function build() {
    const body = document.createElement("tbody");
    const rows = PRIORITIES.map(() => node("tr", "", body));
    const name = tall("th", "name", rows[0]);
    name.main.parentNode.scope = "rowgroup";
    const target = {
      body,
      name,
      later: node("span", "sub", name.main.parentNode),
      flight: tall("td", "number", rows[0]),
      rate: tall("td", "number", rows[0]),
      blocked: tall("td", "wide", rows[0]),
      dead: tall("td", "number", rows[0]),
    };
    target.queues = rows.map((row, index) => {
      const head = node("th", "priority", row);
      head.scope = "row";
      head.textContent = PRIORITIES[index];
      return {
        depth: node("td", "number", row),
        oldest: node("td", "number", row),
        drain: node("td", "number", row),
      };
    });
    return target;
  }

  function until(blocked) {
    if (!blocked.until) return "";
    const left = (Date.parse(blocked.until) - Date.now()) / 1000;
    return left >= 1 ? ` for ${duration(left)}` : "";
  }

  function blocked(target) {
    if (!target.blocked) return ["–", "nil"];
    const { on } = target.blocked;
    const look = on === "refused" ? "bad" : on === "rate" ? "" : "warn";
    return [on + until(target.blocked), look];
  }

  function later({ scheduled, waiting }) {
    const parts = [];
    if (scheduled) parts.push(`${number.format(scheduled)} scheduled`);
    if (waiting) parts.push(`${number.format(waiting)} waiting for a retry`);
    return parts.join(", ");
  }

  function fill(rows, target) {
    const { limit, held_back_by: held } = target;
    put(rows.name.main, target.name);
    put(rows.name.sub, target.configured ? target.url ?? "" : "not configured any more", target.configured ? "" : "warn");
    put(rows.later, later(target));
    put(rows.flight.main, number.format(target.in_flight), target.in_flight ? "" : "nil");
    put(rows.flight.sub, limit ? `of ${number.format(limit.max_concurrent)}` : "");
    put(rows.rate.main, limit ? limit.rate : "–", limit ? "" : "nil");
    put(rows.rate.sub, limit && limit.burst > 1 ? `burst ${number.format(limit.burst)}` : "");
    put(rows.blocked.main, ...blocked(target));
    const lately = held && !target.paused && (held.on === "concurrency" || held.on === "refused");
    put(rows.blocked.sub, lately ? `${Math.round(held.share * 100)} % of the time held back by ${held.hint}` : "");
    put(rows.dead.main, number.format(target.dead), target.dead ? "bad" : "nil");
    PRIORITIES.forEach((priority, index) => {
      const queue = target.priorities[priority];
      const cells = rows.queues[index];
      const look = queue.depth ? "" : "nil";
      put(cells.depth, number.format(queue.depth), look);
      put(cells.oldest, duration(queue.oldest_age_seconds), look);
      put(cells.drain, queue.depth ? duration(queue.estimated_drain_seconds) : "–", look);
    });
  }

  function show(targets) {
    const gone = new Set(shown.keys());
    for (const target of targets) {
      gone.delete(target.name);
      if (!shown.has(target.name)) shown.set(target.name, build());
      fill(shown.get(target.name), target);
    }
    for (const name of gone) {
      shown.get(name).body.remove();
      shown.delete(name);
    }
    // They come by name; one that is new finds its place between the others.
    targets.forEach((target, index) => {
      const { body } = shown.get(target.name);
      if (table.tBodies[index] !== body) table.insertBefore(body, table.tBodies[index] ?? null);
    });
    empty.hidden = targets.length > 0;
    frame.hidden = targets.length === 0;
  }

  function say(text, lost) {
    put(status, text, lost ? "lost" : "");
    frame.classList.toggle("stale", lost);
  }

  async function ask() {
    const response = await fetch("/v1/targets", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail ?? `status ${response.status}`);
    return answer.targets;
  }

  async function turn() {
    if (!document.hidden) {
      try {
        show(await ask());
        say("Live", false);
      } catch (error) {
        const why = error.name === "TimeoutError" ? "no answer" : error.message;
        say(`Not reachable: ${why}. These figures are old.`, true);
      }
    }
    setTimeout(turn, EVERY_MS);
  }

  status.dataset.look = "";
  turn();
})();
