// A line of the last minutes, without axes.

import { mark, s } from "./dom.js";

const WIDTH = 100;
const HEIGHT = 24;

export function spark() {
  const area = s("path", { class: "area" });
  const line = s("path", { class: "line", "vector-effect": "non-scaling-stroke" });
  return s("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, area, line);
}

/** Draws `values`, the newest to the right, of `most` that there can be. */
export function draw(svg, values, most = 60) {
  const [area, line] = svg.children;
  const top = Math.max(...values, 1) * 1.15;
  const step = WIDTH / (most - 1);
  const left = WIDTH - (values.length - 1) * step;
  const at = (value, index) => `${(left + index * step).toFixed(1)} ${(HEIGHT - 1 - (value / top) * (HEIGHT - 2)).toFixed(1)}`;
  const points = values.map(at).join("L");
  mark(line, "d", values.length > 1 ? `M${points}` : "");
  mark(area, "d", values.length > 1 ? `M${left.toFixed(1)} ${HEIGHT}L${points}L${WIDTH} ${HEIGHT}Z` : "");
}
