// Charts over time, by uPlot.

import { h } from "./dom.js";
import { locale } from "./i18n.js";

let loaded = null;

function load() {
  loaded ??= new Promise((resolve, reject) => {
    document.head.append(h("script", { src: "/console/vendor/uPlot.iife.min.js", onload: resolve, onerror: reject }));
  });
  return loaded;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/**
 * A chart of `lines` ([{ label, colour }]) in `into`, whose values `say` writes. Returns what takes new data: times in
 * seconds and the values of each line.
 */
export async function chart(into, { lines, say, height = 150, signal }) {
  await load();
  if (signal.aborted) return () => {};
  const axis = { stroke: colour("--faint"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  const clock = new Intl.DateTimeFormat(locale(), { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const time = (at) => clock.format(new Date(at * 1000));
  const plot = new window.uPlot({
    width: Math.max(200, into.clientWidth), height, cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
    legend: { show: lines.length > 1, live: false },
    scales: { y: { range: (_, least, most) => [0, Math.max(1, most * 1.15)] } },
    axes: [{ ...axis, size: 26, space: 90, values: (_, all) => all.map(time) }, { ...axis, size: 74, values: (_, all) => all.map(say) }],
    series: [{ value: (_, at) => (at == null ? "–" : time(at)), label: "" },
      ...lines.map(({ label, tone }) => ({
        label, stroke: colour(tone), width: 2, fill: `${colour(tone)}22`, points: { show: false },
        value: (_, value) => (value == null ? "–" : say(value)),
      }))],
  }, [[], ...lines.map(() => [])], into);
  const watch = new ResizeObserver(() => into.clientWidth > 0 && plot.setSize({ width: into.clientWidth, height }));
  watch.observe(into);
  signal.addEventListener("abort", () => (watch.disconnect(), plot.destroy()), { once: true });
  return (data) => signal.aborted || plot.setData(data);
}
