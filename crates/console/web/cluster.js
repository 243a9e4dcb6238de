// The cluster: its origins and edges, and who pulls what from whom.

import { call, follow } from "./api.js";
import { h, mark, s } from "./dom.js";
import { bytes, count, lasting, rate } from "./format.js";
import { t } from "./i18n.js";
import { confirm } from "./signin.js";

const NODES = "nodes?scope=cluster";
const EVERY = 2500;
/** A node that is not there any more is shown for so long. */
const REMEMBERED = 10 * 60 * 1000;
const PULLS_SHOWN = 300;

/** The address of an origin and its port. */
function split(address) {
  const at = address.lastIndexOf(":");
  return { ip: address.slice(0, at).replace(/^\[|\]$/g, ""), port: Number(address.slice(at + 1)) };
}

/** Whether `address` is that of the RTMP or HTTP port of `node`. */
function isAt(node, address, nodes) {
  const { ip, port } = split(address);
  const ports = [node.media.rtmp, node.media.rtmps, node.media.http, node.media.https];
  if (!ports.includes(port)) return false;
  if (node.addresses.includes(ip) || (node.address && split(node.address).ip === ip)) return true;
  // This node does not know all of its own addresses: what is nobody else's is its own.
  return node.isHere && !nodes.some((other) => other !== node && other.address && split(other.address).ip === ip);
}

function meter(now, limit, label, text) {
  const part = limit > 0 ? Math.min(1, now / limit) : 0;
  const bar = h("i");
  bar.style.width = `${(part * 100).toFixed(1)}%`;
  return h("div", { class: part > 0.9 ? "meter bad" : part > 0.7 ? "meter warn" : "meter" }, h("span", null, label, h("b", null, text)),
    limit > 0 ? h("div", { class: "track" }, bar) : "");
}

/** Shows the cluster in `content`. */
export function cluster(content, { signal, announce, needAdmin }) {
  const known = new Map();
  const note = h("p", { class: "why" });
  const wires = s("svg", { class: "wires", "aria-hidden": "true" });
  const origins = h("div", { class: "side" });
  const edges = h("div", { class: "side" });
  const graph = h("div", { class: "graph" }, wires, origins, edges);
  const pulls = h("section", { class: "card" });
  content.append(h("div", { class: "head" }, h("h1", null, t("cluster.title")), note),
    h("section", { "aria-label": t("cluster.graph") }, graph), pulls);
  let links = [];

  async function drain() {
    if (!(await needAdmin())) return;
    if (!(await confirm(t("cluster.drain.title"), t("cluster.drain.ask"), t("cluster.drain")))) return;
    try {
      await call("drain", { method: "POST" });
      announce(t("cluster.phase.draining"));
      // It may be gone before the next look.
      take(await call(NODES, { signal }));
    } catch (why) {
      if (!signal.aborted) announce(why.message, true);
    }
  }

  function card(node) {
    const isLost = !node.ok;
    const phase = isLost ? "lost" : node.phase;
    const name = node.name.split("/")[0];
    const head = h("div", { class: "title" }, h("h2", null, name),
      h("span", { class: `pill ${phase}` }, isLost ? t("cluster.lost") : t(`cluster.phase.${node.phase}`)));
    const sub = h("p", { class: "faint" }, [t(`cluster.${node.role}`), node.address, node.isHere ? t("cluster.here") : "", node.version].filter(Boolean).join(" · "));
    if (isLost) return h("article", { class: "node lost", "data-node": node.name, "data-role": node.role }, head, sub, h("p", { class: "fault" }, node.error));
    const peer = node.address ? `${location.protocol}//${node.address}/console/` : null;
    return h("article", { class: `node ${node.phase}${node.isHere ? " here" : ""}`, "data-node": node.name, "data-role": node.role }, head, sub,
      h("p", { class: "big" }, h("span", null, h("b", null, count(node.streams)), ` ${t("cluster.streams")}`), h("span", null, h("b", null, count(node.viewers)), ` ${t("cluster.viewers")}`)),
      meter(node.send_kbps * 1000, node.egress_limit_bps, t("cluster.egress"), node.egress_limit_bps
        ? t("cluster.of", { now: rate(node.send_kbps), limit: rate(node.egress_limit_bps / 1000) }) : rate(node.send_kbps)),
      meter(node.cpu, node.cpus, t("cluster.cpu"), `${(node.cpu * 100).toFixed(0)} %`),
      meter(node.memory_bytes, node.memory_limit_bytes, t("cluster.memory"), node.memory_limit_bytes
        ? t("cluster.of", { now: bytes(node.memory_bytes), limit: bytes(node.memory_limit_bytes) }) : bytes(node.memory_bytes)),
      h("p", { class: "foot" }, h("span", { class: "faint" }, `${t("cluster.up")} ${lasting(node.uptime_s)}`),
        node.isHere ? h("button", { class: "small danger", disabled: node.phase !== "serving", onclick: drain }, t("cluster.drain"))
          : peer ? h("a", { class: "small", href: peer }, t("cluster.drain.there")) : ""));
  }

  /** From origins to edges: which streams, and whether the edge can reach it. */
  function connect(nodes) {
    const found = [];
    for (const edge of nodes.filter((node) => node.ok && node.role === "edge")) {
      for (const origin of edge.origins) {
        const from = nodes.find((node) => node.role === "origin" && node.media && isAt(node, origin.address, nodes));
        const all = edge.pulls.filter((pull) => pull.origin === origin.address);
        found.push({ edge, from, origin, pulls: all });
      }
    }
    return found;
  }

  function wire() {
    const box = graph.getBoundingClientRect();
    mark(wires, "viewBox", `0 0 ${box.width} ${box.height}`);
    const isDown = getComputedStyle(graph).flexDirection === "column";
    const drawn = links.flatMap(({ edge, from, origin, pulls: all }) => {
      const [a, b] = [from?.name ?? origin.address, edge.name].map((name) => graph.querySelector(`[data-node="${CSS.escape(name)}"]`));
      if (!a || !b) return [];
      const [p, q] = [a, b].map((one) => one.getBoundingClientRect());
      const [x1, y1] = isDown ? [p.left - box.left + p.width / 2, p.bottom - box.top] : [p.right - box.left, p.top - box.top + p.height / 2];
      const [x2, y2] = isDown ? [q.left - box.left + q.width / 2, q.top - box.top] : [q.left - box.left, q.top - box.top + q.height / 2];
      const bend = isDown ? [`${x1} ${(y1 + y2) / 2}`, `${x2} ${(y1 + y2) / 2}`] : [`${(x1 + x2) / 2} ${y1}`, `${(x1 + x2) / 2} ${y2}`];
      const kind = !origin.healthy || (from && !from.ok) ? "down" : all.length ? "flowing" : "idle";
      const path = s("path", { class: `wire ${kind}`, d: `M${x1} ${y1}C${bend[0]} ${bend[1]} ${x2} ${y2}`,
        "data-from": from?.name ?? origin.address, "data-to": edge.name, "data-pulls": all.length });
      path.style.strokeWidth = String(Math.min(7, 1.6 + Math.log2(1 + all.length)));
      const label = all.length || kind === "down"
        ? s("text", { class: `wire-label ${kind}`, x: (x1 + x2) / 2, y: (y1 + y2) / 2 - 7, "text-anchor": "middle" },
          kind === "down" ? "✕" : t("cluster.pulls.count", { count: count(all.length) })) : null;
      return [path, label].filter(Boolean);
    });
    wires.replaceChildren(...drawn);
  }

  function draw() {
    const nodes = [...known.values()].sort((a, b) => (a.address || a.name).localeCompare(b.address || b.name));
    links = connect(nodes);
    // What edges pull from and nobody has named.
    const unknown = [...new Set(links.filter((link) => !link.from).map((link) => link.origin.address))]
      .map((address) => h("article", { class: "node unknown", "data-node": address, "data-role": "origin" }, h("div", { class: "title" }, h("h2", null, address)),
        h("p", { class: "faint" }, `${t("cluster.origin")} · ${t("cluster.unknown")}`)));
    const focused = document.activeElement?.closest?.(".node")?.dataset.node;
    origins.replaceChildren(...nodes.filter((node) => node.role === "origin").map(card), ...unknown);
    edges.replaceChildren(...nodes.filter((node) => node.role !== "origin").map(card));
    edges.hidden = !edges.children.length;
    if (focused) graph.querySelector(`[data-node="${CSS.escape(focused)}"] :is(button, a)`)?.focus();
    const versions = [...new Set(nodes.filter((node) => node.ok).map((node) => node.version))];
    const down = links.filter((link) => !link.origin.healthy).map((link) => t("cluster.link.down", {
      from: link.edge.name.split("/")[0], to: link.from?.name.split("/")[0] ?? link.origin.address, why: link.origin.last_failure ?? "" }));
    note.replaceChildren(...[nodes.length < 2 ? t("cluster.alone") : "", versions.length > 1 ? t("cluster.versions", { list: versions.join(", ") }) : "", ...down]
      .filter(Boolean).map((text) => h("span", { class: text === t("cluster.alone") ? "line" : "line fault" }, text)));
    const rows = links.flatMap((link) => link.pulls.map((pull) => ({ ...link, pull }))).slice(0, PULLS_SHOWN);
    pulls.replaceChildren(h("h2", null, t("cluster.pulls")), rows.length
      ? h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("cluster.pulls") }, h("table", null,
        h("thead", null, h("tr", null, ["cluster.pull.stream", "cluster.pull.to", "cluster.pull.from", "cluster.pull.state", "cluster.up"].map((key) => h("th", { scope: "col" }, t(key))))),
        h("tbody", null, rows.map(({ pull, edge, from, origin }) => h("tr", null,
          h("td", null, pull.url), h("td", null, edge.name.split("/")[0]), h("td", null, from?.name.split("/")[0] ?? origin.address),
          h("td", null, h("span", { class: `pill ${pull.state}` }, t(`state.${pull.state}`))), h("td", { class: "number" }, lasting((pull.since_ms ?? 0) / 1000)))))))
      : h("p", { class: "faint" }, t("cluster.pulls.none")));
    requestAnimationFrame(() => signal.aborted || wire());
  }

  const watch = new ResizeObserver(() => wire());
  watch.observe(graph);
  signal.addEventListener("abort", () => watch.disconnect(), { once: true });
  function take(answer) {
    const now = Date.now();
    const peers = new Map(answer.peers.map((peer) => [peer.node, peer]));
    for (const { node: name, data } of answer.nodes) {
      const address = peers.get(name)?.address ?? "";
      // A new process at an address is there instead of the one before.
      for (const [other, before] of known) if (address && before.address === address && other !== name) known.delete(other);
      known.set(name, { ...data, name, address, ok: true, error: null, seen: now, isHere: !address });
    }
    for (const peer of answer.peers.filter((one) => !one.ok)) {
      const before = [...known.values()].find((node) => node.address === peer.address);
      if (before) Object.assign(before, { ok: false, error: peer.error });
      else known.set(peer.node, { name: peer.node, address: peer.address, ok: false, error: peer.error, role: "edge", origins: [], pulls: [], addresses: [], seen: now });
    }
    // What does not even have a name any more.
    const said = new Set([...answer.nodes.map((one) => one.node), ...answer.peers.filter((one) => !one.ok).map((one) => one.address)]);
    for (const [name, node] of known) {
      if (said.has(name) || said.has(node.address)) continue;
      if (now - node.seen > REMEMBERED) known.delete(name);
      else Object.assign(node, { ok: false, error: node.error ?? t("cluster.lost") });
    }
    draw();
  }

  follow(() => NODES, { signal, every: EVERY, take, fail: (why) => announce(why.status ? why.message : t("offline"), true) });
}
