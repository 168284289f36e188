// Numbers, times and durations for people.

const counts = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

export const count = (number) => counts.format(number);

export const brief = (number) => (number < 10_000 ? counts.format(number) : short.format(number));

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

const UNITS = [
  [86_400, "d"],
  [3_600, "h"],
  [60, "min"],
  [1, "s"],
];

// Two units at most: "4 min 10 s", "2 d 4 h".
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  if (seconds < 0.0005) return "0 s";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${Number(seconds.toFixed(1))} s`;
  let left = Math.round(seconds);
  const parts = [];
  for (const [unit, name] of UNITS) {
    const many = Math.floor(left / unit);
    left -= many * unit;
    if (many > 0) parts.push(`${count(many)} ${name}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

export function rate(perSecond) {
  if (perSecond === null || perSecond === undefined) return "–";
  if (perSecond >= 100) return `${count(Math.round(perSecond))}/s`;
  if (perSecond === 0 || perSecond >= 0.1) return `${Number(perSecond.toFixed(1))}/s`;
  if (perSecond * 60 >= 0.1) return `${Number((perSecond * 60).toFixed(1))}/min`;
  return `${Number((perSecond * 3600).toFixed(1))}/h`;
}

const millis = (at) => (typeof at === "number" ? at : Date.parse(at));

// The time of day, and the day where it is not today.
export function time(at) {
  if (!at) return "–";
  const date = new Date(millis(at));
  const today = new Date().toDateString() === date.toDateString();
  return today ? clock.format(date) : `${day.format(date)}, ${clock.format(date)}`;
}

export const exact = (at) => (at ? new Date(millis(at)).toISOString() : "");

export const since = (at, now = Date.now()) => Math.max(0, (now - millis(at)) / 1000);

export function until(at, now = Date.now()) {
  const left = (millis(at) - now) / 1000;
  return left >= 1 ? `until ${time(at)}, in ${duration(Math.round(left))}` : "any moment now";
}

export const percent = (share) => `${Math.round(share * 100)} %`;

// A JSON body the way people read it; everything else as it is.
export function pretty(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}
