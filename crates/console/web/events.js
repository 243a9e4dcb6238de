// Events: what has happened lately, in words.

import { call, follow } from "./api.js";
import { detail } from "./details.js";
import { h, icon } from "./dom.js";
import { count, moment } from "./format.js";
import { shown, t } from "./i18n.js";

const KINDS = ["publisher_came", "publisher_left", "publish_refused", "play_refused", "client_ended", "origin_lost", "origin_back",
  "pull_lost", "push_lost", "reloaded", "reload_failed", "recording_began", "recording_ended", "drain_began"];

/** How bad it is. */
const TONE = { publish_refused: "bad", play_refused: "warn", origin_lost: "bad", pull_lost: "bad", push_lost: "bad", reload_failed: "bad",
  origin_back: "good", publisher_came: "good", drain_began: "warn", recording_began: "good" };

/** The page of the guide about it. */
const GUIDE = { publish_refused: "auth.md", play_refused: "auth.md", origin_lost: "edge.md", origin_back: "edge.md", pull_lost: "edge.md",
  push_lost: "edge.md", reloaded: "operations.md", reload_failed: "operations.md", recording_began: "recording.md",
  recording_ended: "recording.md", drain_began: "operations.md", client_ended: "api.md" };

const SHOWN_MAX = 500;

/** Events as a list, the newest first. */
export function list(events, { short = false } = {}) {
  if (!events.length) return h("p", { class: "faint" }, t("events.none"));
  return h("ol", { class: short ? "events short" : "events" }, events.map((event) => h("li", { class: TONE[event.kind] ?? "plain" },
    h("time", { datetime: new Date(event.at_ms).toISOString() }, moment(event.at_ms)),
    h("div", { class: "what" },
      h("b", null, t(`event.${event.kind}`)), event.count > 1 ? h("span", { class: "pill" }, t("events.times", { count: count(event.count) })) : "",
      !short && event.stream ? h("a", { href: `#/stream/${encodeURIComponent(event.stream)}` }, event.url) : "",
      h("span", { class: "detail", title: event.detail }, [event.peer, detail(event, shown())].filter(Boolean).join(" · ")),
      !short && event.node ? h("span", { class: "faint" }, event.node) : "",
      !short && GUIDE[event.kind] ? h("span", { class: "faint guide" }, t("events.guide", { page: `docs/guide/${GUIDE[event.kind]}` })) : ""))));
}

/** Shows all events in `content`. */
export function events(content, { signal, announce }) {
  const all = new Map();
  let following = null;
  const search = h("input", { type: "search", placeholder: t("events.search"), "aria-label": t("events.search"), autocomplete: "off", oninput: () => draw() });
  const kind = h("select", { "aria-label": t("events.kind"), onchange: () => draw() },
    h("option", { value: "" }, t("events.kind.all")), KINDS.map((one) => h("option", { value: one }, t(`event.${one}`))));
  const scope = h("select", { "aria-label": t("events.node"), onchange: () => begin() },
    h("option", { value: "" }, t("events.node.all")), h("option", { value: "cluster" }, t("events.cluster")));
  const out = h("div", { class: "card" }, h("p", { class: "faint" }, t("loading")));
  content.append(h("div", { class: "head" }, h("h1", null, t("events.title"))),
    h("div", { class: "toolbar" }, h("label", { class: "search" }, icon("search"), search), kind, scope), out);

  function draw() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const text = (event) => `${event.url ?? ""} ${event.peer ?? ""} ${event.detail} ${detail(event, shown())} ${t(`event.${event.kind}`)} ${event.node ?? ""}`.toLowerCase();
    const found = [...all.values()].filter((event) => (!kind.value || event.kind === kind.value) && words.every((word) => text(event).includes(word)));
    found.sort((a, b) => b.at_ms - a.at_ms || b.number - a.number);
    if (all.size && !found.length) return out.replaceChildren(h("p", { class: "faint" }, t("events.none.match")));
    out.replaceChildren(list(found.slice(0, SHOWN_MAX)));
  }

  function begin() {
    following?.abort();
    following = new AbortController();
    signal.addEventListener("abort", () => following.abort(), { once: true });
    all.clear();
    const isCluster = scope.value === "cluster";
    let after = 0;
    follow(() => (isCluster ? "events?scope=cluster" : `events?after=${after}&wait=${after ? 20 : 0}`), {
      signal: following.signal, every: isCluster ? 5000 : 1000, fail: (why) => announce(why.message || t("offline"), true),
      take(answer) {
        after = answer.last;
        for (const event of answer.events) all.set(`${event.node ?? ""}${event.id}`, event);
        draw();
      },
    });
  }
  begin();
}

/** The events of one kind so far. */
export const ofKinds = async (kinds, signal) => (await call("events?after=0", { signal })).events.filter((event) => kinds.includes(event.kind));
