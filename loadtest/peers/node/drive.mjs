// One producer or worker of one peer: `node drive.mjs produce|fill|trickle|work SETTINGS`, where
// SETTINGS is JSON. It connects, prints "ready", starts when it reads a line, and prints one line
// of JSON when it is done (`trickle`: one for each job).
import process from "node:process";
import { Pool } from "./http.mjs";

const [mode, text] = process.argv.slice(2);
const settings = JSON.parse(text);
const { jobs, size, producers, letter } = settings;

const named = (n) => (letter ?? "N") + String(n).padStart(12, "0");
/** JSON of exactly `size` bytes. */
const bodyOf = (name) => `{"n":"${name}","pad":"${"x".repeat(size - 30)}"}`;
const print = (value) => process.stdout.write(JSON.stringify(value) + "\n");
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
/** Nanoseconds since 1970, as the sink's. */
const clock = () => Math.round((performance.timeOrigin + performance.now()) * 1e6);
const go = async () => {
  process.stdout.write('"ready"\n');
  await new Promise((resolve) => process.stdin.once("data", resolve));
};
const nth = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];

async function produce(peer) {
  await go();
  const start = performance.now();
  const took = [];
  let next = 0;
  const producer = async () => {
    while (next < jobs) {
      const name = named(next++);
      const sent = performance.now();
      await peer.add(name, bodyOf(name));
      took.push(performance.now() - sent);
    }
  };
  await Promise.all(Array.from({ length: producers }, producer));
  const seconds = (performance.now() - start) / 1000;
  took.sort((a, b) => a - b);
  print({ seconds, p50_ms: nth(took, 0.5), p99_ms: nth(took, 0.99) });
}

/** A backlog, by the peer's own bulk call: it is not measured. */
async function fill(peer) {
  await go();
  for (let from = 0; from < jobs; from += 500) {
    const part = Array.from({ length: Math.min(500, jobs - from) }, (_, n) => named(from + n));
    await peer.fill(part.map((name) => ({ name, body: bodyOf(name) })));
  }
  print({ filled: jobs });
}

/** `per_second` jobs, by the clock, until it is ended. Each is tried again until it is taken. */
async function trickle(peer) {
  await go();
  const start = performance.now();
  for (let n = settings.first; ; n++) {
    // Not in step with the limiter: somewhere in its interval.
    const at = ((n - settings.first + Math.random()) * 1000) / settings.per_second;
    await sleep(Math.max(0, start + at - performance.now()));
    const [name, sent] = [named(n), clock()];
    (async () => {
      for (;;) {
        try {
          await peer.add(name, bodyOf(name));
          return print({ name, sent });
        } catch {
          await sleep(20);
        }
      }
    })();
  }
}

async function work(peer) {
  const sink = new Pool(settings.sink, settings.concurrency);
  const post = async (name, body) => {
    const { status } = await sink.post(`/n/${name}`, body);
    if (status !== 200) throw new Error(`the sink answered ${status}`);
  };
  const start = await peer.worker(settings, post);
  let done = 0;
  await go();
  const began = performance.now();
  await new Promise((resolve) => start(() => ++done === jobs && resolve()));
  while (!(await peer.settled())) await sleep(5);
  print({ seconds: (performance.now() - began) / 1000 });
}

const { open } = await import(`./${settings.adapter}.mjs`);
await { produce, fill, trickle, work }[mode](await open(settings));
process.exit(0);
