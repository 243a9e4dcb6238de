// Elements out of code: text is always a text node, so that no name of a stream can be anything else.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "muted" || name === "disabled") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(9).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** An HTML element. */
export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);

/** An SVG element. */
export const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

/** Writes `text` where it is not there already: what does not change is not laid out again. */
export function write(element, text) {
  const words = String(text ?? "");
  if (element.textContent !== words) element.textContent = words;
}

/** Sets an attribute that changes. */
export function mark(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value === true ? "" : value);
}

const PATHS = {
  live: "M4 6h16v11H4zM9 21h6M10 9.2v4.6l4-2.3z",
  cluster: "M5 12a2.4 2.4 0 1 0 0-.01M19 5.5a2.4 2.4 0 1 0 0-.01M19 18.5a2.4 2.4 0 1 0 0-.01M7.2 11l7.4-4.2M7.2 13l7.4 4.2",
  events: "M5 6h14M5 12h14M5 18h9",
  config: "M4 7h9M17 7h3M4 17h3M11 17h9M13 4.5v5M7 14.5v5",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM20 20l-4.8-4.8",
  people: "M9 11a3.2 3.2 0 1 0 0-6.4A3.2 3.2 0 0 0 9 11zM3.5 19c.4-3.2 2.7-5 5.5-5s5.100 1.800 5.500 5M15.500 10.800a2.800 2.800 0 1 0-.6-5.500M17 14.300c2 .5 3.200 2.200 3.500 4.700",
  copy: "M9 9h10v11H9zM5 15V4h10",
  qr: "M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h2v2h-2zM18 18h2v2h-2zM18 14h2M14 20h2",
  key: "M14.500 9.500a4 4 0 1 0-3.700 4L12 15h2v2h2v2h3v-3l-5.200-5.200",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 3v2M12 19v2M3 12h2M19 12h2M5.600 5.600 7 7M17 17l1.400 1.400M5.600 18.400 7 17M17 7l1.400-1.400",
  back: "M14 6l-6 6 6 6",
  record: "M12 17a5 5 0 1 0 0-10 5 5 0 0 0 0 10z",
  forward: "M5 12h13M13 7l5 5-5 5",
  close: "M6 6l12 12M18 6L6 18",
  play: "M8 5.500v13l11-6.500z",
};

/** A line drawing that says nothing to who cannot see it. */
export const icon = (name) =>
  s("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, s("path", { d: PATHS[name] ?? "" }));
