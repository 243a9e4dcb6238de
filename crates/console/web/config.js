// The configuration in force: each key, its value, and where that is from.

import { call } from "./api.js";
import { h, icon } from "./dom.js";
import { list, ofKinds } from "./events.js";
import { count, moment } from "./format.js";
import { t } from "./i18n.js";

/** Shows it in `content`. */
export function config(content, { signal, announce, needAdmin }) {
  let keys = [];
  let isSet = false;
  const search = h("input", { type: "search", placeholder: t("config.search"), "aria-label": t("config.search"), autocomplete: "off", spellcheck: "false", oninput: () => draw() });
  const only = h("button", { class: "toggle", "aria-pressed": "false", onclick: () => {
    isSet = !isSet;
    only.setAttribute("aria-pressed", String(isSet));
    draw();
  } }, t("config.only.set"));
  const state = h("p", { class: "why" });
  const out = h("div");
  const past = h("section", { class: "card" });
  content.append(h("div", { class: "head" }, h("h1", null, t("config.title")), state),
    h("div", { class: "toolbar" }, h("label", { class: "search" }, icon("search"), search), only,
      h("button", { onclick: reload }, t("config.reload"))),
    h("div", { class: "columns" }, h("div", { class: "wide" }, out), h("div", { class: "narrow" }, past)));

  async function reload() {
    if (!(await needAdmin())) return;
    try {
      const { changes } = await call("reload", { method: "POST" });
      announce(t("config.reloaded", { count: count(changes.length) }));
    } catch (why) {
      announce(why.message, true);
    }
    read();
  }

  function draw() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = keys.filter((key) => (!isSet || key.source !== "default") && words.every((word) => `${key.key} ${key.value}`.toLowerCase().includes(word)));
    const sections = new Map();
    for (const setting of found) {
      const name = setting.key.includes(".") ? setting.key.split(".")[0] : t("config.general");
      sections.set(name, [...(sections.get(name) ?? []), setting]);
    }
    out.replaceChildren(...[...sections].map(([name, all]) => h("section", { class: "card keys" }, h("h2", null, name),
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name }, h("table", null,
        h("thead", null, h("tr", null, h("th", { scope: "col" }, t("config.key")), h("th", { scope: "col" }, t("config.value")), h("th", { scope: "col" }, t("config.source")))),
        h("tbody", null, all.map(({ key, value, source, place }) => h("tr", { class: source === "default" ? "default" : "" },
          h("td", null, h("code", null, key)), h("td", null, h("code", null, value)),
          h("td", null, h("span", { class: `pill ${source}` }, t(`config.source.${source}`)), place ? h("span", { class: "faint" }, ` ${place}`) : "")))))))));
    if (!found.length) out.replaceChildren(h("p", { class: "card faint" }, t("config.none")));
  }

  async function read() {
    try {
      const [settings, { reload: last }] = await Promise.all([call("config/sources", { signal }), call("reload", { signal })]);
      keys = settings.keys;
      state.replaceChildren(t("config.applied", { when: moment(last.applied_ms) }), " · ", t("config.secret"),
        last.error ? h("span", { class: "fault" }, ` ${t("config.failed", { why: last.error })}`) : "");
      draw();
      const reloads = await ofKinds(["reloaded", "reload_failed"], signal);
      past.replaceChildren(h("h2", null, t("config.changes")),
        reloads.length ? list(reloads.reverse().slice(0, 20), { short: true }) : h("p", { class: "faint" }, t("config.changes.none")));
    } catch (why) {
      if (!signal.aborted) announce(why.message, true);
    }
  }
  read();
}
