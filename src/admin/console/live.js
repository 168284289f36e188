// How the targets stand, as the daemon tells it: one stream, closed while nobody looks at the tab.

import { open } from "./api.js";

// Points of a chart: about five minutes.
const KEPT = 300;
const SILENCE_MS = 5_000;
const AGAIN_MS = [500, 1_000, 2_000, 5_000];

export const live = {
  // "connecting", "live", "lost" or "locked".
  status: "connecting",
  reason: "",
  at: null,
  daemon: null,
  // How it stands with Step Functions; null where nobody waits for it.
  workflows: null,
  targets: new Map(),
  // By name: requests a second, waiting jobs and failed attempts, one value a second.
  series: new Map(),
};

const listeners = new Set();

// Calls `listener` with each piece of news; what it returns ends that.
export function follow(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function tell() {
  for (const listener of listeners) {
    try {
      listener(live);
    } catch (error) {
      // That one cannot show this is no reason to stop listening to the daemon.
      reportError(error);
    }
  }
}

function become(status, reason = "") {
  if (live.status === status && live.reason === reason) return;
  live.status = status;
  live.reason = reason;
  tell();
}

export const sorted = () => [...live.targets.values()].sort((one, other) => (one.name < other.name ? -1 : 1));

export const waiting = (target) =>
  Object.values(target.priorities).reduce((sum, queue) => sum + queue.depth, 0);

const failures = ({ refused, rejected, unknown }) => refused + rejected + unknown;

function push(list, value) {
  list.push(value);
  if (list.length > KEPT) list.shift();
}

// `recent`: what was sent in each of the last seconds, where the news tell all.
function record(before, target, seconds, recent) {
  let series = live.series.get(target.name);
  if (!series || recent) {
    series ??= { sent: [], failed: [], HIGH: [], NORMAL: [], BATCH: [] };
    if (recent) series.sent = [...recent];
    live.series.set(target.name, series);
  }
  for (const [priority, queue] of Object.entries(target.priorities)) push(series[priority], queue.depth);
  const { totals } = target;
  // After a restart of the daemon the totals begin again.
  if (!before?.totals || !totals || totals.sent < before.totals.sent) return;
  if (!recent) push(series.sent, (totals.sent - before.totals.sent) / seconds);
  push(series.failed, (failures(totals) - failures(before.totals)) / seconds);
}

function take(news) {
  const before = live.targets;
  const seconds = live.at ? Math.max(0.2, (Date.parse(news.at) - Date.parse(live.at)) / 1000) : 1;
  const after = news.full ? new Map() : new Map(before);
  for (const target of news.targets) after.set(target.name, target);
  for (const name of news.gone ?? []) after.delete(name);
  for (const name of before.keys()) if (!after.has(name)) live.series.delete(name);
  for (const target of after.values()) {
    // One that is not among them was sent nothing.
    const recent = news.full ? news.recent[target.name] ?? new Array(119).fill(0) : null;
    record(before.get(target.name), target, seconds, recent);
  }
  Object.assign(live, { targets: after, at: news.at, daemon: news.daemon, workflows: news.step_functions ?? null, status: "live", reason: "" });
  tell();
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
      if (data.length) yield JSON.parse(data.join("\n"));
    }
  }
}

let current = null;

async function listen() {
  const mine = new AbortController();
  current = mine;
  let failed = 0;
  while (!mine.signal.aborted) {
    const turn = new AbortController();
    const stop = () => turn.abort();
    mine.signal.addEventListener("abort", stop);
    let watchdog = setTimeout(stop, SILENCE_MS * 2);
    let reason = "";
    try {
      for await (const news of events(await open("/v1/events", turn.signal))) {
        clearTimeout(watchdog);
        watchdog = setTimeout(stop, SILENCE_MS);
        failed = 0;
        take(news);
      }
    } catch (error) {
      if (error.status === 401 || error.status === 403) {
        become("locked", error.message);
        break;
      }
      reason = error.name === "AbortError" ? "no answer" : error.status ? error.message : "cannot be reached";
    } finally {
      clearTimeout(watchdog);
      mine.signal.removeEventListener("abort", stop);
    }
    if (mine.signal.aborted) break;
    // A stream that ended in good order is asked for again without a word.
    if (reason) become("lost", reason);
    const pause = reason ? AGAIN_MS[Math.min(failed, AGAIN_MS.length - 1)] : 100;
    failed += 1;
    await new Promise((go) => setTimeout(go, pause * (0.75 + Math.random() / 2)));
  }
}

// Begins, or begins anew: after a token was given, or the tab is looked at again.
export function start() {
  current?.abort();
  current = null;
  if (!document.hidden) listen();
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    current?.abort();
    current = null;
  } else if (live.status !== "locked") {
    start();
  }
});
