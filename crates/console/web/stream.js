// One stream: how it looks, who sends it, who watches it, and where else it goes.

import { call, follow, part } from "./api.js";
import { chart } from "./charts.js";
import { h, icon, mark, write } from "./dom.js";
import { list as listEvents } from "./events.js";
import { bytes, codec, count, frames, lasting, rate } from "./format.js";
import { badge, reason } from "./health.js";
import { t } from "./i18n.js";
import { address, addresses, base } from "./links.js";
import { player } from "./player.js";
import { confirm } from "./signin.js";

const VIEWERS_MAX = 200;
const EVERY = 3000;
/** Seconds: a viewer who takes everything as it comes is 0 behind. */
const BEHIND = 2;

function card(title, ...content) {
  return h("section", { class: "card" }, h("h2", null, title), content);
}

function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
}

/** Shows the stream `id` in `content`. */
export function stream(content, { id, signal, announce, needAdmin, redraw }) {
  const name = h("h1", { class: "elide" });
  const state = h("span", { class: "state-of" });
  const why = h("p", { class: "why" });
  const screen = h("div", { class: "card stage" });
  const [publisher, tracks, viewers, links, record, forward, log] = Array.from({ length: 7 }, () => h("div"));
  const charts = h("div", { class: "charts" });
  content.append(
    h("div", { class: "head" }, h("a", { class: "back", href: "#/live" }, icon("back"), t("stream.back")),
      h("div", { class: "titles" }, name, state), why),
    h("div", { class: "columns" },
      h("div", { class: "wide" }, screen, card(t("stream.charts"), charts), card(t("stream.viewers"), viewers)),
      h("div", { class: "narrow" }, card(t("stream.publisher"), publisher), card(t("stream.tracks"), tracks),
        card(t("stream.links"), links), card(t("stream.record"), record), card(t("stream.forward"), forward),
        card(t("stream.events"), log))));
  let shown = null;
  let media = null;
  let draws = null;

  const act = async (what, ask) => {
    if (!(await needAdmin())) return;
    if (ask && !(await confirm(...ask))) return;
    try {
      await what();
    } catch (refusal) {
      announce(refusal.message, true);
    }
  };

  function stage(row) {
    const params = h("input", { placeholder: t("stream.params"), "aria-label": t("stream.params"), autocomplete: "off", spellcheck: "false" });
    const go = () => {
      const query = params.value.trim().replace(/^\?/, "");
      const path = `${row.app}/${row.name}`.split("/").map(encodeURIComponent).join("/");
      const vhost = row.vhost_name === "__defaultVhost__" ? "" : `vhost=${encodeURIComponent(row.vhost_name)}`;
      const all = [vhost, query].filter(Boolean).join("&");
      const { element } = player({ url: `${base(media)}/${path}`, query: all && `?${all}`, scripts: "/console", signal });
      screen.replaceChildren(element);
      showLinks(row, query);
    };
    const button = h("button", { class: "strong big", onclick: go }, icon("play"), t("stream.play"));
    screen.replaceChildren(h("div", { class: "curtain" }, h("canvas", { class: "poster", "aria-hidden": "true" }), h("div", { class: "call" }, button, params,
      h("p", null, t("stream.play.hint")))));
    poster(screen.querySelector("canvas"));
  }

  async function poster(canvas) {
    const { stills } = await import("./stills.js");
    let isDone = false;
    stills(() => (isDone || !canvas.isConnected ? [] : [{ id, canvas, painted: () => (isDone = true) }]), signal);
  }

  function showLinks(row, params = "") {
    const { play, publish, page } = addresses({ ...row, vhost: row.vhost_name }, media, params);
    const embed = page && `<iframe src="${page}" width="640" height="360" allow="autoplay; fullscreen" allowfullscreen></iframe>`;
    const each = (all) => all.map(([kind, url]) => address(kind, url, announce));
    links.replaceChildren(
      h("h3", null, t("stream.links.play")), ...(page ? [address(t("stream.links.page"), page, announce)] : []), ...each(play),
      h("h3", null, t("stream.links.publish")), ...each(publish),
      ...(embed ? [h("h3", null, t("stream.links.embed")), media.embeds ? "" : h("p", { class: "faint" }, t("stream.links.embed.off")), address("HTML", embed, announce)] : []));
  }

  function showPublisher(row, who) {
    const source = row.publish.source;
    if (!row.publish.active) return publisher.replaceChildren(h("p", { class: "faint" }, t("stream.publisher.none")));
    publisher.replaceChildren(facts([
      [t("stream.address"), who?.ip], [t("stream.protocol"), who ? [who.type.replace("-publish", ""), who.tls].filter(Boolean).join(" · ") : ""],
      [t("stream.source"), source], [t("stream.since"), lasting(row.live_ms / 1000)],
      [t("stream.received"), bytes(row.recv_bytes)], [t("stream.sent"), bytes(row.send_bytes)],
    ]), ...(row.publish.cid ? [h("button", {
      class: "danger", onclick: () => act(() => call(`streams/${part(id)}/publisher`, { method: "DELETE" }),
        [t("stream.end.publisher"), t("stream.end.publisher.ask"), t("stream.end.publisher")]),
    }, t("stream.end.publisher"))] : []));
  }

  function showTracks(row, past) {
    const { video, audio } = row;
    const size = video?.width ? `${video.width}×${video.height}` : "";
    const group = past?.group_ms?.findLast?.((value) => value > 0);
    const fps = past?.fps?.at(-1);
    tracks.replaceChildren(facts([
      [t("stream.video"), video && [codec(video.codec), video.profile, video.level, size, fps ? `${frames(fps)} fps` : ""].filter(Boolean).join(" · ")],
      [t("stream.gop"), group ? `${(group / 1000).toFixed(1)} s` : ""],
      [t("stream.audio"), audio && [codec(audio.codec), audio.sample_rate ? `${audio.sample_rate / 1000} kHz` : "", audio.channel ? t("stream.channels", { count: audio.channel }) : "", audio.profile].filter(Boolean).join(" · ")],
      [t("stream.hls"), row.hls && [t(`state.${row.hls.state}`), row.hls.reason].filter(Boolean).join(": ")],
      [t("stream.repairs"), row.timestamp_repairs ? count(row.timestamp_repairs) : ""],
    ]));
  }

  function showRecord(row) {
    const now = row.recording;
    const isOn = now && !["stopped", "unsupported"].includes(now.state);
    const button = h("button", {
      class: isOn ? "" : "record",
      onclick: () => act(() => call(`streams/${part(id)}/record`, { method: isOn ? "DELETE" : "POST" }).then(refresh)),
    }, icon("record"), t(isOn ? "stream.record.stop" : "stream.record.start"));
    record.replaceChildren(now
      ? facts([[t("cluster.pull.state"), [t(`state.${now.state}`), now.reason].filter(Boolean).join(": ")], ["", now.file ? h("code", null, now.file) : ""], [t("stream.viewer.bytes"), now.bytes ? bytes(now.bytes) : ""]])
      : h("p", { class: "faint" }, t("stream.record.none")), button);
  }

  function showForward(row) {
    if (!row.forwards.length) return forward.replaceChildren(h("p", { class: "faint" }, t("stream.forward.none")));
    forward.replaceChildren(h("ul", { class: "plain" }, row.forwards.map((one) => h("li", null,
      h("code", null, one.target), " ", h("span", { class: `pill ${one.state}` }, t(`state.${one.state}`)),
      h("div", { class: "faint" }, [bytes(one.bytes), one.skips ? t("stream.forward.missed", { count: count(one.skips) }) : "", one.error].filter(Boolean).join(" · "))))));
  }

  function showViewers(all, of) {
    if (!all.length) return viewers.replaceChildren(h("p", { class: "faint" }, t("stream.viewers.none")));
    const head = ["stream.address", "stream.protocol", "stream.viewer.since", "stream.viewer.rate", "stream.viewer.behind", "stream.viewer.skips", "stream.viewer.bytes"];
    const rows = all.slice(0, VIEWERS_MAX).map((one) => h("tr", { "data-client": one.id },
      h("td", null, one.ip, one.is_edge ? h("span", { class: "pill" }, t("cluster.edge")) : ""),
      h("td", null, [one.type.replace("-play", ""), one.tls].filter(Boolean).join(" · ")), h("td", { class: "number" }, lasting(one.alive)),
      h("td", { class: "number" }, rate(one.kbps.send_30s)),
      h("td", { class: one.behind_s >= BEHIND ? "number ill" : "number", title: one.behind_s === null ? t("stream.viewer.behind.unknown") : null },
        one.behind_s === null ? "–" : `${one.behind_s.toFixed(1)} s`),
      h("td", { class: one.skips ? "number ill" : "number" }, count(one.skips)),
      h("td", { class: "number" }, bytes(one.send_bytes)),
      h("td", null, h("button", {
        class: "small danger", "aria-label": t("stream.viewer.end.of", { id: one.id, ip: one.ip }),
        onclick: () => act(() => call(`clients/${part(one.id)}`, { method: "DELETE" }).then(refresh)),
      }, t("stream.viewer.end")))));
    // Whoever is about to press a button finds it again.
    const focused = viewers.contains(document.activeElement) ? document.activeElement.closest("tr")?.dataset.client : null;
    viewers.replaceChildren(h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("stream.viewers") }, h("table", null,
      h("thead", null, h("tr", null, head.map((key) => h("th", { scope: "col" }, t(key))), h("th", { scope: "col" }, h("span", { class: "outside" }, t("stream.viewer.end"))))),
      h("tbody", null, rows))),
    of > VIEWERS_MAX ? h("p", { class: "faint" }, t("stream.viewers.more", { shown: count(VIEWERS_MAX), count: count(of) })) : "");
    if (focused) viewers.querySelector(`tr[data-client="${CSS.escape(focused)}"] button`)?.focus();
  }

  async function plots() {
    const one = (title, lines, say) => {
      const into = h("div", { class: "plot" });
      charts.append(h("figure", null, h("figcaption", null, title), into));
      return chart(into, { lines, say, signal });
    };
    const [inn, out] = [{ label: t("stream.chart.in"), tone: "--accent" }, { label: t("stream.chart.out"), tone: "--second" }];
    draws = await Promise.all([
      one(t("stream.chart.rate"), [inn, out], rate),
      one(t("stream.chart.frames"), [{ label: t("stream.chart.frames"), tone: "--accent" }], count),
      one(t("stream.chart.viewers"), [{ label: t("stream.chart.viewers"), tone: "--second" }, { label: t("stream.chart.skips"), tone: "--bad" }], count),
      one(t("stream.chart.gop"), [{ label: t("stream.chart.gop"), tone: "--accent" }], (value) => `${value.toFixed(1)} s`),
    ]);
  }

  function showPast(past) {
    if (!draws) return;
    const times = past.kbps.map((_, index) => (past.until_ms - (past.kbps.length - 1 - index) * past.interval_ms) / 1000);
    draws[0]([times, past.kbps, past.send_kbps]);
    draws[1]([times, past.fps]);
    draws[2]([times, past.viewers, past.skips]);
    draws[3]([times, past.group_ms.map((value) => (value ? value / 1000 : null))]);
  }

  async function refresh() {
    const [{ stream: row }, past] = await Promise.all([call(`streams/${part(id)}`, { signal }), call(`streams/${part(id)}/history`, { signal })]);
    media ??= (await call("nodes", { signal })).data.media;
    const all = await call(`streams/${part(id)}/clients`, { signal });
    if (signal.aborted) return;
    const mine = all.clients;
    if (!shown) {
      stage(row);
      showLinks(row);
      plots().then(() => showPast(past));
    }
    shown = row;
    write(name, row.url);
    state.replaceChildren(badge(past.health));
    write(why, past.health.word === "good" ? "" : reason(past.health));
    const viewing = mine.filter((client) => !client.type.endsWith("-publish"));
    showPublisher(row, mine.find((client) => client.id === row.publish.cid));
    showTracks(row, past);
    showRecord(row);
    showForward(row);
    showViewers(viewing, all.total - (mine.length - viewing.length));
    showPast(past);
  }

  function gone() {
    write(state, "");
    write(why, t("stream.gone"));
    mark(content, "class", "page-stream gone");
    if (!shown) {
      write(name, t("stream.gone"));
      content.querySelector(".columns").hidden = true;
      write(why, "");
    }
  }

  let isGone = false;
  (async () => {
    while (!signal.aborted) {
      if (!document.hidden) {
        try {
          await refresh();
          if (isGone) return redraw();
        } catch (refusal) {
          if (signal.aborted) return;
          if (refusal.status === 404) {
            gone();
            isGone = true;
          } else if (refusal.status !== 401) announce(refusal.status ? refusal.message : t("offline"), true);
        }
      }
      await new Promise((resolve) => setTimeout(resolve, EVERY));
    }
  })();
  const seen = new Map();
  let after = 0;
  follow(() => `events?after=${after}&wait=${after ? 20 : 0}&stream=${part(id)}`, {
    signal, every: 1000,
    take(answer) {
      after = answer.last;
      for (const event of answer.events) seen.set(event.id, event);
      log.replaceChildren(listEvents([...seen.values()].sort((a, b) => b.number - a.number).slice(0, 30), { short: true }));
    },
  });
}
