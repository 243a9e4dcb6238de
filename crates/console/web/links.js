// Addresses at which a stream is published and played, and how they are copied.

import { h, icon } from "./dom.js";
import { t } from "./i18n.js";
import { qr } from "./qr.js";
import { show } from "./signin.js";

/** A host as it stands in an address. */
export const host = location.hostname;

/** The path of a stream in addresses, `app/name`. */
const path = (row) => `${row.app}/${row.name}`.split("/").map(encodeURIComponent).join("/");

/** Parameters as they stand behind the `?`, with the vhost that a name of the host does not say. */
function query(row, params) {
  const all = params.replace(/^\?/, "");
  const vhost = row.vhost === "__defaultVhost__" || row.vhost === host ? "" : `vhost=${encodeURIComponent(row.vhost)}`;
  const whole = [vhost, all].filter(Boolean).join("&");
  return whole && `?${whole}`;
}

/** All addresses of a stream: `media` says which ports there are. */
export function addresses(row, media, params = "") {
  const [name, more] = [path(row), query(row, params)];
  const rtmp = media.rtmp ? `rtmp://${host}${media.rtmp === 1935 ? "" : `:${media.rtmp}`}` : null;
  const rtmps = media.rtmps ? `rtmps://${host}${media.rtmps === 443 ? "" : `:${media.rtmps}`}` : null;
  const http = base(media);
  const play = [];
  if (http) {
    play.push(["HLS", `${http}/${name}.m3u8${more}`], ["HTTP-FLV", `${http}/${name}.flv${more}`]);
    play.push(["HTTP-TS", `${http}/${name}.ts${more}`], ["WebSocket-FLV", `${http.replace(/^http/, "ws")}/${name}.flv${more}`]);
    play.push(["MP4", `${http}/${name}.mp4${more}`]);
  }
  if (rtmp) play.push(["RTMP", `${rtmp}/${name}${more}`]);
  if (rtmps) play.push(["RTMPS", `${rtmps}/${name}${more}`]);
  const publish = [];
  if (rtmp) publish.push(["RTMP", `${rtmp}/${name}${query(row, "")}`]);
  if (rtmps) publish.push(["RTMPS", `${rtmps}/${name}${query(row, "")}`]);
  const page = http ? `${http}/player?stream=${name}${more.replace("?", "&")}` : null;
  return { play, publish, page };
}

/** Where the media are, as seen from here. */
export function base(media) {
  if (location.protocol === "https:" && media.https) return `https://${host}${media.https === 443 ? "" : `:${media.https}`}`;
  if (media.http) return `http://${host}${media.http === 80 ? "" : `:${media.http}`}`;
  return media.https ? `https://${host}${media.https === 443 ? "" : `:${media.https}`}` : null;
}

/** Puts `text` on the clipboard; a page without TLS has only the old way. */
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = h("textarea", { "aria-hidden": "true", tabindex: "-1", class: "outside" });
  field.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

/** An address with its buttons. */
export function address(kind, url, announce) {
  const code = qr(url, t("qr.of", { what: kind }));
  return h("div", { class: "address" },
    h("span", { class: "kind" }, kind), h("code", null, url),
    h("button", {
      class: "quiet", "aria-label": `${t("copy")}: ${kind}`, title: t("copy"),
      onclick: () => copy(url).then(() => announce(t("copied")), (why) => announce(why.message, true)),
    }, icon("copy")),
    code && h("button", {
      class: "quiet", "aria-label": `${t("qr.show")}: ${kind}`, title: t("qr.show"), onclick: () => show(kind, code.cloneNode(true), h("code", { class: "wide" }, url)),
    }, icon("qr")));
}
