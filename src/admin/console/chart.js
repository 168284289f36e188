// Small charts. Each says in words what it shows, for those who do not see it.

import { h, s } from "./dom.js";
import { brief, duration, rate } from "./format.js";

const WIDTH = 300;

// The values as a path over the whole width, the newest at the right edge.
function points(values, most, height, room) {
  const step = WIDTH / Math.max(1, room - 1);
  const left = WIDTH - (values.length - 1) * step;
  return values.map((value, index) => {
    const y = height - (Math.min(value, most) / most) * (height - 2) - 1;
    return `${(left + index * step).toFixed(1)},${y.toFixed(1)}`;
  });
}

function area(values, most, height, room, look) {
  if (values.length < 2) return null;
  const line = points(values, most, height, room);
  const from = line[0].split(",")[0];
  return [
    s("path", { class: `area ${look}`, d: `M${from},${height}L${line.join("L")}L${WIDTH},${height}Z` }),
    s("polyline", { class: `line ${look}`, points: line.join(" "), "vector-effect": "non-scaling-stroke" }),
  ];
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

// A calm line: each point is the mean of its neighbourhood.
function smooth(values, over) {
  return values.map((_, index) => mean(values.slice(Math.max(0, index - over + 1), index + 1)));
}

function limitLine(limit, most, height) {
  const y = (height - (limit / most) * (height - 2) - 1).toFixed(1);
  return s("line", { class: "limit", x1: 0, x2: WIDTH, y1: y, y2: y, "vector-effect": "non-scaling-stroke" });
}

function frame(height, label, ...content) {
  return s("svg", { viewBox: `0 0 ${WIDTH} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label }, ...content);
}

// Requests a second against the limit, two minutes of it.
export function sparkline(values, limit) {
  const shown = smooth(values.slice(-120), 3);
  const most = Math.max((limit ?? 0) * 1.15, ...shown, 0.1);
  const now = shown.length ? shown[shown.length - 1] : 0;
  const label = `${rate(now)} sent just now${limit ? ` of ${rate(limit)} allowed` : ""}`;
  return h("div", { class: "spark" }, frame(40, label, area(shown, most, 40, 120, "sent"), limit ? limitLine(limit, most, 40) : null));
}

function round(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= most);
}

// Several lines over one axis, one value a second. `series`: [{name, look, values}].
export function chart({ title, series: given, seconds, limit, unit, stacked = false }) {
  const height = 120;
  const series = given.map((one) => ({ ...one, values: smooth(one.values, one.over ?? 1) }));
  // Stacked: the last one lies at the bottom, and each is drawn on top of those after it.
  const below = (index) => (stacked ? series.slice(index) : [series[index]]);
  const drawn = series.map(({ look, values }, index) => ({
    look,
    values: values.map((_, second) => below(index).reduce((sum, one) => sum + (one.values[second] ?? 0), 0)),
  }));
  const all = drawn.flatMap(({ values }) => values);
  const most = round(Math.max((limit ?? 0) * 1.1, ...all, 1));
  const now = series.map(({ name, values }) => `${name} ${unit(values[values.length - 1] ?? 0)}`);
  return h("figure", { class: "chart" },
    h("figcaption", null, h("span", { class: "chart-title" }, title),
      h("span", { class: "legend" },
        series.map(({ name, look, values }) =>
          h("span", { class: `key ${look}` }, `${name} `, h("b", null, unit(values[values.length - 1] ?? 0)))),
        limit ? h("span", { class: "key limit" }, "limit ", h("b", null, unit(limit))) : null)),
    h("div", { class: "plot" },
      frame(height, `${title}: ${now.join(", ")}${limit ? `, limit ${unit(limit)}` : ""}`,
        s("line", { class: "grid", x1: 0, x2: WIDTH, y1: height / 2, y2: height / 2 }),
        drawn.map(({ look, values }) => area(values.slice(-seconds), most, height, seconds, stacked ? `${look} stacked` : look)),
        limit ? limitLine(limit, most, height) : null),
      h("span", { class: "top", "aria-hidden": "true" }, unit(most)),
      h("span", { class: "half", "aria-hidden": "true" }, unit(most / 2))),
    h("div", { class: "axis", "aria-hidden": "true" }, h("span", null, `${duration(seconds)} ago`), h("span", null, "now")));
}

export const units = { rate, brief };

// A share of a whole, 0 to 1.
export function gauge(share, label, look = "") {
  const part = Math.max(0, Math.min(1, share));
  return h("span", { class: `gauge ${look}`, role: "img", "aria-label": label, css: { "--share": `${(part * 100).toFixed(1)}%` } });
}
