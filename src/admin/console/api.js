// The admin API. The token, where one is asked for, is kept for this tab only.

const KEY = "tollgate-token";
const PATIENCE_MS = 20_000;

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

export async function call(method, path, body) {
  const response = await fetch(path, {
    method,
    cache: "no-store",
    headers: headers(body === undefined ? {} : { "content-type": "application/json" }),
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(PATIENCE_MS),
  }).catch((error) => {
    throw new Error(error.name === "TimeoutError" ? "the daemon does not answer" : "the daemon cannot be reached");
  });
  if (!response.ok) throw await problemOf(response);
  return response.json();
}

export const get = (path) => call("GET", path);

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

let description = null;

// What an operation takes, by the daemon's own description: a newer or older daemon offers more or
// less, and a filter that it would not heed must not be offered.
export async function takes(method, path) {
  description ??= get("/openapi.json").catch(() => {
    description = null;
    return {};
  });
  const document = await description;
  const operation = document.paths?.[path]?.[method.toLowerCase()];
  const resolved = (schema) => {
    const name = schema?.$ref?.split("/").pop();
    return name ? document.components?.schemas?.[name] : schema;
  };
  const of = resolved(operation?.requestBody?.content?.["application/json"]?.schema);
  const any = [of, ...(of?.oneOf ?? of?.anyOf ?? of?.allOf ?? []).map(resolved)];
  const body = any.flatMap((schema) => Object.keys(schema?.properties ?? {}));
  const parameters = (operation?.parameters ?? []).filter((one) => one.in === "query").map((one) => one.name);
  return { body: new Set(body), query: new Set(parameters) };
}
