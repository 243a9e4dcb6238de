// The live wall: a tile for each stream. Only the tiles that are seen are there.

import { h, icon, mark, write } from "./dom.js";
import { codec, count, frames, rate } from "./format.js";
import { colour, rank, reason, word } from "./health.js";
import { t } from "./i18n.js";
import { moving } from "./moving.js";
import { draw as drawSpark, spark } from "./spark.js";
import { stills } from "./stills.js";
import { place, streams, title } from "./streams.js";

const SIZES = { small: 210, medium: 300, large: 430 };
const GAP = 16;
/** Beneath the picture, in rem: as in the style. */
const TEXT = { small: 4.94, medium: 6.4, large: 6.4 };
const AHEAD = 1;
const KEPT = "weir.wall";

const SORTS = {
  name: (a, b) => a.url.localeCompare(b.url),
  viewers: (a, b) => b.viewers - a.viewers || a.url.localeCompare(b.url),
  rate: (a, b) => b.kbps - a.kbps || a.url.localeCompare(b.url),
  age: (a, b) => b.since_ms - a.since_ms || a.url.localeCompare(b.url),
  health: (a, b) => rank(a.health) - rank(b.health) || a.url.localeCompare(b.url),
};

const choice = { search: "", vhost: "", sort: "name", size: "medium", trouble: false, moving: true };
try {
  const kept = JSON.parse(localStorage.getItem(KEPT) ?? "{}");
  if (kept.sort in SORTS) choice.sort = kept.sort;
  if (kept.size in SIZES) choice.size = kept.size;
  if (kept.moving === false) choice.moving = false;
} catch {
  // As it is.
}

function keep() {
  try {
    localStorage.setItem(KEPT, JSON.stringify({ sort: choice.sort, size: choice.size, moving: choice.moving }));
  } catch {
    // For this page only.
  }
}

const PROTOCOLS = ["rtmp", "flv", "hls", "ws", "other"];

function split(by) {
  const all = Object.entries(by ?? {}).sort((a, b) => b[1] - a[1]);
  return all.map(([name, many]) => `${name} ${many}`).join(" · ");
}

/** A tile, without a stream yet. */
function tile() {
  const canvas = h("canvas", { width: 16, height: 9, "aria-hidden": "true" });
  const nothing = h("span", { class: "nothing" });
  const state = h("span", { class: "health" });
  const viewers = h("span", { class: "chip people" }, icon("people"), h("b"), h("span", { class: "outside" }, ` ${t("wall.total.viewers")}`));
  const record = h("span", { class: "chip rec" }, t("wall.recording"));
  const what = h("span", { class: "chip what" });
  const name = h("span", { class: "name" });
  const where = h("span", { class: "where" });
  const speed = h("span", { class: "speed" });
  const pace = h("span", { class: "pace" });
  const line = spark();
  const bar = h("span", { class: "split", "aria-hidden": "true" });
  const screen = h("span", { class: "picture" }, canvas, nothing, state, " ", viewers, " ", record, " ", what);
  const link = h("a", { class: "tile" },
    h("span", { class: "about" }, h("span", { class: "names" }, name, " ", where), " ", h("span", { class: "figures" }, speed, " ", pace), line, bar), " ", screen);
  const item = h("div", { role: "listitem" }, link);
  const self = { item, link, canvas, screen, id: "", row: null, isShown: false, isMoving: false };
  self.painted = (isShown) => {
    self.isShown ||= isShown;
    mark(canvas, "class", self.isShown ? "shown" : null);
    write(nothing, self.isShown ? "" : t(self.hasVideo ? "wall.no.picture" : "wall.sound.only"));
  };
  self.show = (row, at, of) => {
    if (self.id !== row.id) {
      self.id = row.id;
      self.isShown = self.isMoving = false;
      canvas.width = 16;
      self.hasVideo = Boolean(row.video);
      mark(canvas, "class", null);
      write(nothing, row.video ? "" : t("wall.sound.only"));
      mark(link, "href", `#/stream/${encodeURIComponent(row.id)}`);
      mark(link, "title", row.url);
      write(name, title(row));
      write(where, place(row));
    }
    self.row = row;
    self.hasVideo = Boolean(row.video);
    mark(item, "aria-posinset", at + 1);
    mark(item, "aria-setsize", of);
    mark(state, "class", `health ${colour(row.health)}`);
    write(state, word(row.health));
    mark(state, "title", reason(row.health));
    write(viewers.children[1], count(row.viewers));
    mark(viewers, "title", split(row.by));
    record.hidden = !row.recording;
    const size = row.video?.height ? `${row.video.width}×${row.video.height}` : "";
    write(what, [codec(row.video?.codec ?? row.audio?.codec), size].filter(Boolean).join(" · "));
    write(speed, rate(row.kbps));
    write(pace, row.video ? `${frames(row.fps)} fps` : codec(row.audio?.codec));
    drawSpark(line, row.spark);
    const parts = PROTOCOLS.map((protocol) => [protocol, row.by?.[protocol] ?? 0]).filter(([, many]) => many > 0);
    bar.replaceChildren(...parts.map(([protocol, many]) => {
      const piece = h("i", { class: `p-${protocol}` });
      piece.style.flexGrow = String(many);
      return piece;
    }));
  };
  return self;
}

function choose(label, options, value, change) {
  const select = h("select", { "aria-label": label, onchange: () => change(select.value) },
    options.map(([key, text]) => h("option", { value: key }, text)));
  select.value = value;
  return select;
}

/** Shows the wall in `content`. */
export function live(content, { signal, announce }) {
  let known = { all: new Map(), answered: false, node: null };
  let list = [];
  let first = [0, 0];
  const tiles = new Map();
  const spare = [];
  const totals = h("p", { class: "totals" });
  const grid = h("div", { class: "wall", role: "list", "aria-label": t("wall.list"), onkeydown: move });
  const empty = h("div", { class: "empty" });
  const search = h("input", {
    type: "search", id: "search", placeholder: t("wall.search"), "aria-label": t("wall.search"), value: choice.search,
    autocomplete: "off", spellcheck: "false", oninput: () => ((choice.search = search.value), arrange()),
  });
  const vhost = choose(t("wall.vhost"), [["", t("wall.vhost.all")]], "", (value) => ((choice.vhost = value), arrange()));
  const sorts = Object.keys(SORTS).map((key) => [key, t(`wall.sort.${key}`)]);
  const sort = choose(t("wall.sort"), sorts, choice.sort, (value) => ((choice.sort = value), keep(), arrange()));
  const sizes = Object.keys(SIZES).map((key) => [key, t(`wall.size.${key}`)]);
  const size = choose(t("wall.size"), sizes, choice.size, (value) => ((choice.size = value), keep(), place_()));
  const trouble = h("button", {
    class: "toggle", "aria-pressed": String(choice.trouble),
    onclick: () => ((choice.trouble = !choice.trouble), mark(trouble, "aria-pressed", String(choice.trouble)), arrange()),
  }, t("wall.only.trouble"));
  const move_ = h("button", {
    class: "toggle", "aria-pressed": String(choice.moving), title: t("wall.moving.hint"), hidden: true,
    onclick: () => ((choice.moving = !choice.moving), mark(move_, "aria-pressed", String(choice.moving)), keep(), videos.turn()),
  }, t("wall.moving"));
  content.append(
    h("div", { class: "head" }, h("h1", null, t("wall.title")), totals),
    h("div", { class: "toolbar" }, h("label", { class: "search" }, icon("search"), search), vhost, sort, size, trouble, move_),
    grid, empty);

  function sum() {
    const all = [...known.all.values()];
    const ill = all.filter((row) => rank(row.health) < 2).length;
    const node = known.node ?? {};
    const item = (value, text, kind) => h("span", { class: kind }, h("b", null, value), ` ${text}`);
    totals.replaceChildren(
      item(count(all.length), t("wall.total.live")), item(count(node.viewers), t("wall.total.viewers")),
      item(rate(node.recv_kbps), t("wall.total.in")), item(rate(node.send_kbps), t("wall.total.out")),
      ill ? item(count(ill), t("wall.total.trouble"), "ill") : "");
    const names = [...new Set(all.map((row) => row.vhost))].sort();
    vhost.hidden = names.length < 2;
    if (vhost.options.length !== names.length + 1) {
      vhost.replaceChildren(h("option", { value: "" }, t("wall.vhost.all")), ...names.map((name) => h("option", { value: name }, name)));
      if (!names.includes(choice.vhost)) choice.vhost = "";
      vhost.value = choice.vhost;
    }
  }

  function arrange() {
    const words = choice.search.toLowerCase().split(/\s+/).filter(Boolean);
    const isWanted = (row) =>
      (!choice.vhost || row.vhost === choice.vhost) && (!choice.trouble || rank(row.health) < 2) &&
      words.every((one) => row.url.toLowerCase().includes(one));
    list = [...known.all.values()].filter(isWanted).sort(SORTS[choice.sort]);
    place_();
  }

  function nothing() {
    const hasAny = known.all.size > 0;
    const address = `rtmp://${location.hostname}${known.node?.rtmp_port ? `:${known.node.rtmp_port}` : ""}/live/`;
    empty.hidden = list.length > 0 || !known.answered;
    if (empty.hidden) return;
    empty.replaceChildren(...(hasAny
      ? [h("h2", null, t("wall.none")), h("p", null, t("wall.none.how", { count: count(known.all.size) })),
        h("button", { onclick: clear }, t("wall.clear"))]
      : [icon("live"), h("h2", null, t("wall.empty")), h("p", null, t("wall.empty.how")), h("code", null, `${address}NAME`)]));
  }

  function clear() {
    Object.assign(choice, { search: "", vhost: "", trouble: false });
    search.value = vhost.value = "";
    mark(trouble, "aria-pressed", "false");
    arrange();
  }

  /** Where the tiles are: so many in a row, of this size. */
  function measure() {
    const width = grid.clientWidth;
    const least = Math.min(SIZES[choice.size] * (window.innerWidth >= 2000 ? 1.25 : 1), width);
    const columns = Math.max(1, Math.floor((width + GAP) / (least + GAP)));
    const across = Math.floor((width - GAP * (columns - 1)) / columns);
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const down = Math.round((across * 9) / 16 + TEXT[choice.size] * rem);
    return { columns, across, down };
  }

  function place_() {
    mark(grid, "data-size", choice.size);
    const { columns, across, down } = measure();
    const rows = Math.ceil(list.length / columns);
    grid.style.height = `${Math.max(0, rows * (down + GAP) - GAP)}px`;
    const top = grid.getBoundingClientRect().top;
    const from = Math.max(0, Math.floor(-top / (down + GAP)) - AHEAD);
    const to = Math.ceil((window.innerHeight - top) / (down + GAP)) + AHEAD;
    first = [from * columns, Math.min(list.length, to * columns)];
    const seen = new Map();
    for (let at = first[0]; at < first[1]; at += 1) seen.set(list[at].id, at);
    for (const [id, one] of tiles) {
      if (seen.has(id)) continue;
      one.item.remove();
      tiles.delete(id);
      if (spare.length < 100) spare.push(one);
    }
    for (const [id, at] of seen) {
      const one = tiles.get(id) ?? spare.pop() ?? tile();
      tiles.set(id, one);
      one.show(list[at], at, list.length);
      const [x, y] = [(at % columns) * (across + GAP), Math.floor(at / columns) * (down + GAP)];
      Object.assign(one.item.style, { width: `${across}px`, height: `${down}px`, transform: `translate(${x}px, ${y}px)` });
      one.at = at;
    }
    // In the order in which they are seen, for those who walk from one to the next.
    const ordered = [...tiles.values()].sort((a, b) => a.at - b.at);
    ordered.forEach((one, index) => grid.children[index] !== one.item && grid.insertBefore(one.item, grid.children[index] ?? null));
    mark(grid, "role", list.length ? "list" : null);
    mark(grid, "aria-label", list.length ? t("wall.list") : null);
    nothing();
  }

  function move(event) {
    const { columns } = measure();
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -list.length, End: list.length }[event.key];
    const here = [...tiles.values()].find((one) => one.link === document.activeElement);
    if (!step || !here) return;
    event.preventDefault();
    const at = Math.min(list.length - 1, Math.max(0, here.at + step));
    const { down } = measure();
    const top = grid.getBoundingClientRect().top + window.scrollY + Math.floor(at / columns) * (down + GAP);
    if (!tiles.has(list[at].id)) window.scrollTo(0, top - window.innerHeight / 3);
    place_();
    tiles.get(list[at].id)?.link.focus();
  }

  let isDue = false;
  const later = () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => ((isDue = false), signal.aborted || place_()));
  };
  window.addEventListener("scroll", later, { signal, passive: true });
  const watch = new ResizeObserver(later);
  watch.observe(grid);
  signal.addEventListener("abort", () => watch.disconnect(), { once: true });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || /INPUT|SELECT|TEXTAREA/.test(document.activeElement?.tagName ?? "")) return;
    event.preventDefault();
    search.focus();
  }, { signal });

  const isSeen = (one) => {
    const box = one.item.getBoundingClientRect();
    return box.bottom > 0 && box.top < window.innerHeight;
  };
  const seen = () => [...tiles.values()].filter((one) => one.hasVideo && isSeen(one));
  stills(() => seen().filter((one) => !one.isMoving), signal);
  const videos = moving(seen, { isOn: () => choice.moving, few: (areFew) => (move_.hidden = !areFew), signal });
  grid.classList.add("waiting");
  streams(signal, (now) => {
    known = now;
    grid.classList.remove("waiting");
    sum();
    arrange();
  }, (why) => announce(why.status ? why.message : t("offline"), true));
}
