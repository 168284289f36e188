// The admin API. The token, where one is asked for, is kept for this tab only.

const KEY = "tollgate-token";
const PATIENCE_MS = 20_000;
// What is done to a hundred thousand jobs takes its time.
const SWEEP_PATIENCE_MS = 600_000;

export class Problem extends Error {
  constructor(status, body) {
    super(body?.detail ?? body?.title ?? `status ${status}`);
    this.status = status;
    this.body = body ?? {};
  }
}

let token = sessionStorage.getItem(KEY);
const locked = new Set();

// Called whenever the daemon asks for a token that it knows.
export const onLocked = (listener) => locked.add(listener);

export function unlock(given) {
  token = given;
  sessionStorage.setItem(KEY, given);
}

export function lock() {
  token = null;
  sessionStorage.removeItem(KEY);
}

export const hasToken = () => token !== null;

function headers(more) {
  return token === null ? more : { ...more, authorization: `Bearer ${token}` };
}

async function problemOf(response) {
  let body = null;
  try {
    body = await response.json();
  } catch {
    // Something in between answered for the daemon.
  }
  const problem = new Problem(response.status, body);
  if (response.status === 401 || response.status === 403) {
    for (const listener of locked) listener(problem);
  }
  return problem;
}

// Numbers as they were written: `1.10`, or one with more digits than a number here can hold. Where
// the browser cannot say how they were written, as they are.
function asWritten(_, value, context) {
  if (typeof value !== "number" || !JSON.rawJSON || !context || context.source === String(value)) return value;
  return JSON.rawJSON(context.source);
}

async function ask(method, path, body, patience) {
  const response = await fetch(path, {
    method,
    cache: "no-store",
    headers: headers(body === undefined ? {} : { "content-type": "application/json" }),
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(patience),
  }).catch((error) => {
    throw new Error(error.name === "TimeoutError" ? "the daemon does not answer" : "the daemon cannot be reached");
  });
  if (!response.ok) throw await problemOf(response);
  return response;
}

export const call = async (method, path, body) => (await ask(method, path, body, PATIENCE_MS)).json();

export const sweep = async (method, path) => (await ask(method, path, undefined, SWEEP_PATIENCE_MS)).json();

export const get = (path) => call("GET", path);

// Of a body that somebody else wrote every digit counts.
export const getExact = async (path) => JSON.parse(await (await ask("GET", path, undefined, PATIENCE_MS)).text(), asWritten);

export const parseExact = (text) => JSON.parse(text, asWritten);

// The body of an answer that does not end by itself.
export async function open(path, signal) {
  const response = await fetch(path, { cache: "no-store", headers: headers({}), signal });
  if (!response.ok) throw await problemOf(response);
  return response.body;
}

// A query of what is set.
export function query(parameters) {
  const set = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return set.length ? `?${new URLSearchParams(set)}` : "";
}

export const segment = encodeURIComponent;
