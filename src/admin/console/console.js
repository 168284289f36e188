// Which page is shown, and what surrounds all of them.

import { onLocked } from "./api.js";
import { deadEverywhere, deadPage } from "./dead.js";
import { askForToken, leave } from "./dialog.js";
import { h, show } from "./dom.js";
import { brief } from "./format.js";
import { jobPage } from "./job.js";
import { jobsPage } from "./jobs.js";
import { follow, live, sorted, start } from "./live.js";
import { overview } from "./overview.js";
import { targetPage } from "./target.js";

const main = document.getElementById("main");
const pages = document.getElementById("pages");
const status = document.getElementById("status");
const version = document.getElementById("version");

let page = null;
let tab = "";

function route() {
  const [path, search = ""] = location.hash.replace(/^#\/?/, "").split("?");
  let parts;
  try {
    parts = path.split("/").filter(Boolean).map(decodeURIComponent);
  } catch {
    parts = ["nowhere"];
  }
  const wanted = new URLSearchParams(search);
  const [area, name, more] = parts;
  tab = area ?? "";
  if (!area) return overview();
  if (area === "targets" && name && more === "dead") {
    tab = "dead";
    return deadPage(name, wanted);
  }
  if (area === "targets" && name && !more) return targetPage(name);
  if (area === "jobs" && name) return jobPage(name);
  if (area === "jobs") return jobsPage(wanted);
  if (area === "dead") return deadEverywhere();
  return { title: "Nothing here", draw: () => [h("h1", { tabindex: "-1" }, "Nothing is here"), h("p", null, h("a", { href: "#/" }, "To the overview"))] };
}

function draw() {
  if (page) show(main, page.draw());
  main.classList.toggle("stale", live.status === "lost");
}

function go() {
  const first = page === null;
  page?.leave?.();
  if (!first && live.status !== "locked") leave();
  show(main);
  page = route();
  page.attach?.(() => {
    if (page) draw();
  });
  draw();
  surround();
  document.title = `${page.title} – Tollgate`;
  scrollTo(0, 0);
  // Whoever does not see the page change hears its title.
  if (!first) main.querySelector("h1")?.focus();
}

const TABS = [
  ["", "Overview", "#/"],
  ["jobs", "Jobs", "#/jobs"],
  ["dead", "Dead jobs", "#/dead"],
];

function tell(text, look) {
  if (status.textContent !== text) status.textContent = text;
  if (status.className !== look) status.className = look;
}

function surround() {
  const dead = sorted().reduce((sum, target) => sum + target.dead, 0);
  show(pages, TABS.map(([name, title, href]) =>
    h("a", { href, "aria-current": name === tab ? "page" : null }, title,
      name === "dead" && dead ? h("span", { class: "badge" }, brief(dead)) : null)));
  const { state, reason } = live.daemon ?? {};
  if (live.status === "lost") tell(`Not reachable: ${live.reason}. These figures are old.`, "lost");
  else if (live.status === "locked") tell("Locked: a token is needed", "lost");
  else if (live.status === "connecting") tell("Connecting", "");
  else if (state === "draining") tell("The daemon is draining: nothing new is taken", "lost");
  else if (state === "store_failed") tell(`The store failed: ${reason}`, "lost");
  else tell("Live", "live");
  const text = live.daemon ? `Tollgate ${live.daemon.version}` : "";
  if (version.textContent !== text) version.textContent = text;
}

onLocked(async () => {
  if (await askForToken()) {
    start();
    go();
  }
});

follow(() => {
  surround();
  draw();
});

addEventListener("hashchange", () => {
  // A link within the page is no other page.
  if (location.hash !== "#main") go();
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select, dialog");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const field = main.querySelector("input, select");
    if (field) {
      event.preventDefault();
      field.focus();
    }
  }
});

go();
start();
