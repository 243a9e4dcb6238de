// The page of the player: `?stream=app/name`, and `autoplay`, `muted`, `controls` (0 or 1). What else stands in its
// address are parameters of the stream, such as a token, and is passed on.

import { h, icon, mark } from "./dom.js";
import { t } from "./i18n.js";
import { player } from "./player.js";

const OWN = ["stream", "autoplay", "muted", "controls", "lang"];
const parameters = new URLSearchParams(location.search);
const asked = (parameters.get("stream") ?? "").replace(/^\/+/, "");
const flag = (name, otherwise) => (parameters.has(name) ? !/^(0|false|no|off)$/i.test(parameters.get(name)) : otherwise);
const options = { autoplay: flag("autoplay", true), muted: flag("muted", true), controls: flag("controls", true) };
OWN.forEach((name) => parameters.delete(name));
const query = String(parameters) && `?${parameters}`;
const isFramed = window.top !== window;

/** Where to enter the name of a stream. */
function form(hint) {
  const field = h("input", {
    type: "search", name: "stream", id: "stream", value: asked, placeholder: "live/livestream", "aria-label": t("player.field"),
    autocomplete: "off", autocapitalize: "off", spellcheck: "false", required: true,
  });
  const submit = (event) => {
    event.preventDefault();
    const name = field.value.trim().replace(/^\/+/, "");
    if (name) location.assign(`/player?stream=${name.split("/").map(encodeURIComponent).join("/")}${query.replace("?", "&")}`);
  };
  return h("form", { class: "ask", role: "search", onsubmit: submit },
    h("label", { class: "search" }, icon("search"), field), h("button", { class: "strong" }, t("player.watch")),
    hint && h("p", { class: "faint" }, hint));
}

const app = document.getElementById("app");
const brand = h("a", { class: "brand", href: "/" }, h("img", { src: "/player/icon.svg", alt: "", width: 28, height: 28 }), h("span", null, "Weir"));
document.title = asked ? `${asked} · Weir` : t("player.title");
if (asked) {
  const url = `${location.origin}/${asked.split("/").map(encodeURIComponent).join("/")}`;
  const { element } = player({ ...options, url, query, scripts: "/player", signal: new AbortController().signal });
  mark(document.body, "class", isFramed ? "player-page framed" : "player-page");
  const files = [["HLS", "m3u8"], ["HTTP-FLV", "flv"], ["HTTP-TS", "ts"], ["MP4", "mp4"]];
  const addresses = h("details", { class: "addresses" }, h("summary", null, t("player.addresses")),
    h("dl", { class: "facts" }, files.map(([kind, file]) => [h("dt", null, kind), h("dd", null, h("code", null, `${url}.${file}${query}`))])));
  app.append(isFramed ? element : h("main", { class: "watch" },
    h("header", null, brand, form("")), h("h1", { class: "watched" }, asked), element, addresses));
} else {
  app.append(h("main", { class: "door" }, h("img", { src: "/player/icon.svg", alt: "", width: 64, height: 64 }),
    h("h1", null, "Weir"), form(t("player.quiet"))));
}
