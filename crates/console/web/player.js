// A player: it takes the way that this browser plays best, and says in words what goes wrong.
//
//   HTTP-FLV by mpegts.js   the shortest delay where there is a MediaSource
//   HLS by hls.js           low-latency HLS where the playlist has parts; several qualities
//   HLS by the browser      where there is no MediaSource: iPhones

import { h, icon, mark, write } from "./dom.js";
import { t } from "./i18n.js";

const SCRIPTS = new Map();
const POLL = 1000;
const RETRY = 3000;
/** Chromium gives a live playlist up that has less than this many segments. */
const SEGMENTS_MIN = 3;
const LATENCY_MAX = 3;
const LATENCY_TARGET = 1.2;

/** Loads a script of this server once. */
function load(url) {
  if (!SCRIPTS.has(url)) {
    SCRIPTS.set(url, new Promise((resolve, reject) => {
      const script = h("script", { src: url, onload: resolve, onerror: () => (SCRIPTS.delete(url), reject(new Error(t("offline")))) });
      document.head.append(script);
    }));
  }
  return SCRIPTS.get(url);
}

/** Whether scripts can play here. */
export const hasSource = () => "MediaSource" in window || "ManagedMediaSource" in window;

/** Why a stream is not to be had, by the answer to a request for it; nothing if it may be tried again. */
function refusal(status, text) {
  if (status === 401 || status === 403) return { text: t("player.denied"), isFinal: true };
  if (status === 400) return { text: t("player.bad"), isFinal: true };
  if (status === 404) return { text: t("player.not.found"), isFinal: false };
  if (status === 406) return { text: t("player.unsupported", { codecs: text.trim().slice(0, 200) }), isFinal: true };
  if (status === 503) return { text: t("player.full"), isFinal: false };
  return { text: t("player.again"), isFinal: false };
}

class Trouble extends Error {
  constructor(text, { isFinal = false, isOther = false } = {}) {
    super(text);
    Object.assign(this, { isFinal, isOther });
  }
}

/** What is at `url` before a player is bothered with it. */
async function probe(url, signal) {
  const ending = new AbortController();
  const end = () => ending.abort();
  signal.addEventListener("abort", end, { once: true });
  try {
    const answer = await fetch(url, { signal: ending.signal, cache: "no-store", credentials: "omit" });
    if (answer.ok) return answer;
    const { text, isFinal } = refusal(answer.status, await answer.text());
    throw new Trouble(text, { isFinal, isOther: answer.status === 404 || answer.status === 406 });
  } catch (why) {
    if (why instanceof Trouble || signal.aborted) throw why;
    throw new Trouble(t("player.again"));
  }
}

/** Plays `url` (HTTP-FLV); resolves with why it has ended. */
export async function flv(video, url, { signal, scripts, started }) {
  await load(`${scripts}/vendor/mpegts.js`);
  // Whoever has gone meanwhile is no viewer.
  if (signal.aborted) return;
  const { mpegts } = window;
  if (!mpegts.isSupported()) throw new Trouble("", { isOther: true });
  mpegts.LoggingControl.enableAll = false;
  const source = { type: "flv", isLive: true, url, cors: true };
  const options = {
    enableWorker: false, enableStashBuffer: false, lazyLoad: false, autoCleanupSourceBuffer: true, liveSync: true,
    liveSyncMaxLatency: LATENCY_MAX, liveSyncTargetLatency: LATENCY_TARGET, liveSyncPlaybackRate: 1.1,
  };
  const player = mpegts.createPlayer(source, options);
  const played = new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
    player.on(mpegts.Events.LOADING_COMPLETE, () => reject(new Trouble(t("player.again"))));
    player.on(mpegts.Events.ERROR, (kind, detail, info) => {
      const status = info?.code ?? 0;
      if (kind === mpegts.ErrorTypes.NETWORK_ERROR) {
        const { text, isFinal } = refusal(status, info?.msg ?? "");
        return reject(new Trouble(text, { isFinal, isOther: status === 404 || status === 406 }));
      }
      reject(new Trouble(t("player.failed", { why: detail }), { isOther: true }));
    });
    video.onerror = () => reject(new Trouble(t("player.failed", { why: video.error?.message ?? "" }), { isOther: true }));
  });
  try {
    player.attachMediaElement(video);
    player.load();
    started({ name: "HTTP-FLV", delay: () => (video.buffered.length ? video.buffered.end(video.buffered.length - 1) - video.currentTime : NaN) });
    await played;
  } finally {
    video.onerror = null;
    player.destroy();
  }
}

/** Plays the playlist at `url` with hls.js. */
async function hlsjs(video, url, { signal, scripts, started }) {
  await load(`${scripts}/vendor/hls.min.js`);
  const { Hls } = window;
  if (!Hls.isSupported()) throw new Trouble("", { isOther: true });
  const answer = await probe(url, signal);
  await answer.body?.cancel();
  if (signal.aborted) return;
  const hls = new Hls({ enableWorker: false, lowLatencyMode: true, backBufferLength: 30, liveDurationInfinity: true });
  const played = new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
    let recoveries = 0;
    hls.on(Hls.Events.ERROR, (_, what) => {
      if (!what.fatal) return;
      if (what.type === Hls.ErrorTypes.MEDIA_ERROR && recoveries < 2) {
        recoveries += 1;
        return hls.recoverMediaError();
      }
      if (what.type === Hls.ErrorTypes.NETWORK_ERROR) {
        const { text, isFinal } = refusal(what.response?.code ?? 0, "");
        return reject(new Trouble(text, { isFinal }));
      }
      reject(new Trouble(t("player.failed", { why: what.details }), { isOther: true }));
    });
    hls.on(Hls.Events.MANIFEST_PARSED, (_, { levels }) => started({
      name: "HLS",
      delay: () => hls.latency || NaN,
      levels: levels.map((level, index) => ({ index, text: level.height ? `${level.height}p` : `${Math.round(level.bitrate / 1000)} kb/s` })),
      level: () => hls.currentLevel,
      choose: (index) => (hls.nextLevel = index),
    }));
    video.addEventListener("ended", () => reject(new Trouble(t("player.ended"))), { signal });
  });
  try {
    hls.attachMedia(video);
    hls.loadSource(url);
    await played;
  } finally {
    hls.destroy();
  }
}

/** Plays the playlist at `url` as the browser itself does. */
async function native(video, url, { signal, started }) {
  if (!video.canPlayType("application/vnd.apple.mpegurl")) throw new Trouble("", { isOther: true });
  for (;;) {
    const text = await (await probe(url, signal)).text();
    if (/#EXT-X-(STREAM-INF|ENDLIST)/.test(text) || text.split("#EXTINF:").length > SEGMENTS_MIN) break;
    await new Promise((resolve) => setTimeout(resolve, POLL));
    if (signal.aborted) return;
  }
  if (signal.aborted) return;
  const played = new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
    video.onerror = () => reject(new Trouble(t("player.failed", { why: video.error?.message ?? "" })));
    video.onended = () => reject(new Trouble(t("player.ended")));
  });
  try {
    video.src = url;
    started({ name: "HLS", delay: () => (video.seekable.length ? video.seekable.end(video.seekable.length - 1) - video.currentTime : NaN) });
    await played;
  } finally {
    video.onerror = video.onended = null;
    video.removeAttribute("src");
    video.load();
  }
}

/** The ways, the best first. */
const WAYS = [
  { name: "flv", file: "flv", play: flv, isThere: hasSource },
  { name: "hls", file: "m3u8", play: hlsjs, isThere: hasSource },
  { name: "native", file: "m3u8", play: native, isThere: () => true },
];

/**
 * A player of `url` (without its extension) with `query`, until `signal`. `scripts` is where the files of this player
 * are. It begins with `play`.
 */
export function player({ url, query = "", scripts, signal, muted = true, autoplay = true, controls = true, poster = true }) {
  const video = h("video", { controls, muted, playsinline: true, "aria-label": t("player.label") });
  video.muted = muted;
  const state = h("p", { class: "state", role: "status" });
  const delay = h("span", { class: "delay" });
  const how = h("select", { "aria-label": t("player.how") },
    [["", t("player.how.auto")], ["flv", "HTTP-FLV"], ["hls", "HLS"]].map(([key, text]) => h("option", { value: key }, text)));
  const quality = h("select", { "aria-label": t("player.quality"), hidden: true });
  const sound = h("button", { class: "sound", hidden: true, onclick: () => ((video.muted = false), (sound.hidden = true)) }, t("player.unmute"));
  const start = h("button", { class: "start", hidden: true, "aria-label": t("player.watch"), onclick: () => ((start.hidden = true), begin()) }, icon("play"));
  const screen = h("div", { class: "screen" }, video, state, start, sound);
  const foot = h("div", { class: "under" }, delay, quality, how);
  const element = h("div", { class: "player" }, screen, controls && foot);
  let running = null;
  let now = null;

  const say = (text) => {
    write(state, text);
    mark(state, "class", text ? "state shown" : "state");
  };

  function started(way) {
    now = way;
    const levels = way.levels ?? [];
    quality.hidden = levels.length < 2;
    quality.replaceChildren(h("option", { value: "-1" }, t("player.quality.auto")),
      ...levels.map(({ index, text }) => h("option", { value: index }, text)));
    quality.onchange = () => way.choose(Number(quality.value));
    if (!autoplay && !begin.isAsked) return;
    video.play().catch(() => {
      if (signal.aborted) return;
      // Sound is not allowed before somebody has touched the page.
      video.muted = true;
      video.play().catch(() => say(t("player.click")));
    });
  }

  async function run(ending) {
    const chosen = how.value;
    for (;;) {
      const ways = WAYS.filter((way) => (!chosen || way.name === chosen || (chosen === "hls" && way.name === "native")) && way.isThere());
      let last = null;
      for (const way of ways) {
        try {
          await way.play(video, `${url}.${way.file}${query}`, { signal: ending.signal, scripts, started });
          return;
        } catch (why) {
          if (ending.signal.aborted) return;
          now = null;
          if (why.message) last = why;
          if (!why.isOther) break;
        }
      }
      say(last?.message ?? t("player.unsupported", { codecs: "HLS" }));
      if (!last || last.isFinal) return;
      await new Promise((resolve) => setTimeout(resolve, RETRY));
      if (ending.signal.aborted) return;
    }
  }

  function begin() {
    begin.isAsked = true;
    running?.abort();
    running = new AbortController();
    const ending = running;
    say(t("player.waiting"));
    start.hidden = true;
    run(ending);
  }

  how.onchange = begin;
  video.addEventListener("playing", () => {
    say("");
    sound.hidden = !video.muted || !controls;
  });
  video.addEventListener("volumechange", () => (sound.hidden = true));
  video.addEventListener("play", () => running || begin());
  const timer = setInterval(() => {
    const seconds = now?.delay();
    write(delay, now && Number.isFinite(seconds) && seconds >= 0 && seconds < 600
      ? `${now.name} · ${t("player.latency", { seconds: seconds.toFixed(1) })}` : now?.name ?? "");
  }, 1000);
  signal.addEventListener("abort", () => (clearInterval(timer), running?.abort()), { once: true });

  if (poster && !autoplay) still(`${url}.mp4?still${query.replace("?", "&")}`, video, signal);
  if (autoplay) begin();
  else start.hidden = false;
  return { element, video };
}

/** Shows the newest key frame before anything is played. */
async function still(url, video, signal) {
  try {
    const blob = await (await fetch(url, { signal, credentials: "omit" })).blob();
    const from = document.createElement("video");
    const address = URL.createObjectURL(blob);
    from.muted = true;
    from.preload = "auto";
    from.onloadeddata = () => {
      const canvas = h("canvas", { width: from.videoWidth, height: from.videoHeight });
      canvas.getContext("2d").drawImage(from, 0, 0);
      canvas.toBlob((picture) => {
        if (picture) video.poster = URL.createObjectURL(picture);
        URL.revokeObjectURL(address);
      }, "image/jpeg", 0.85);
    };
    from.src = address;
  } catch {
    // It plays without.
  }
}
