// Builds nodes and brings what is on the page up to date with them. Text goes in as text, never as
// HTML, so what a target or a caller wrote stays what it is.

const SVG = "http://www.w3.org/2000/svg";

function make(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") node.handlers = value;
    else if (name === "css") node.css = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  listen(node);
  dress(node);
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

// Attributes by name; `on` holds handlers, `css` custom properties (the page's policy forbids style
// attributes, and allows this). `key` tells children apart that come and go.
export function h(tag, attributes, ...children) {
  return make(document.createElement(tag), attributes, children);
}

export function s(tag, attributes, ...children) {
  return make(document.createElementNS(SVG, tag), attributes, children);
}

function listen(node) {
  for (const kind of Object.keys(node.handlers ?? {})) {
    node.listening ??= new Set();
    if (node.listening.has(kind)) continue;
    node.listening.add(kind);
    // Looked up when it happens: `patch` puts other handlers in their place.
    node.addEventListener(kind, (event) => node.handlers?.[kind]?.(event));
  }
}

function dress(node) {
  for (const [name, value] of Object.entries(node.css ?? {})) {
    if (node.style.getPropertyValue(name) !== String(value)) node.style.setProperty(name, value);
  }
}

const keyOf = (node) => (node.nodeType === 1 ? node.getAttribute("key") : null);

function alike(one, other) {
  return one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
}

// Makes `node` look like `next`, touching only what differs: focus, selection and scrolling stay.
function patch(node, next) {
  if (node.nodeType !== 1) {
    if (node.data !== next.data) node.data = next.data;
    return;
  }
  // What a person types, opens or looks at is theirs.
  if (node.hasAttribute("own")) return;
  for (const { name } of [...node.attributes]) {
    if (name !== "style" && name !== "open" && !next.hasAttribute(name)) node.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (name !== "style" && node.getAttribute(name) !== value) node.setAttribute(name, value);
  }
  node.handlers = next.handlers;
  node.css = next.css;
  listen(node);
  dress(node);
  children(node, [...next.childNodes]);
}

function children(parent, wanted) {
  const keyed = new Map();
  for (const child of parent.childNodes) {
    const key = keyOf(child);
    if (key !== null) keyed.set(key, child);
  }
  let here = parent.firstChild;
  for (const next of wanted) {
    const key = keyOf(next);
    const match = key === null ? here : keyed.get(key);
    if (match && match.parentNode === parent && alike(match, next)) {
      if (match === here) here = here.nextSibling;
      else parent.insertBefore(match, here);
      patch(match, next);
    } else {
      parent.insertBefore(next, here);
    }
  }
  while (here) {
    const gone = here;
    here = here.nextSibling;
    gone.remove();
  }
}

// Brings the children of `parent` up to date.
export function show(parent, ...nodes) {
  const fresh = nodes.flat(Infinity).filter((node) => node !== null && node !== undefined && node !== false);
  children(parent, fresh.map((node) => (node instanceof Node ? node : document.createTextNode(String(node)))));
}

// The parts that are there, with `between` between them.
export function joined(parts, between = " · ") {
  return parts.filter(Boolean).flatMap((part, index) => (index ? [between, part] : [part]));
}
