// The console: what is around its pages, and which page is shown.

import { hasToken, refusals, right, useToken } from "./api.js";
import { cluster } from "./cluster.js";
import { config } from "./config.js";
import { h, icon, mark } from "./dom.js";
import { events } from "./events.js";
import { shown, t, use } from "./i18n.js";
import { signIn } from "./signin.js";
import { stream } from "./stream.js";
import { live } from "./wall.js";

const PAGES = { live, stream, cluster, events, config };
const TABS = ["live", "cluster", "events", "config"];
const THEMES = ["auto", "light", "dark"];
const KEPT = "weir.theme";

const keep = (name, value) => {
  try {
    localStorage.setItem(name, value);
  } catch {
    // For this page only.
  }
};
const kept = (name) => {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
};

/** What all pages share. */
const context = { right: "none", media: null, announce, signIn: ask, needAdmin, redraw: () => draw() };

let ending = new AbortController();
let theme = THEMES.includes(kept(KEPT)) ? kept(KEPT) : "auto";

const said = h("div", { class: "toast", role: "status", "aria-live": "polite" });
let silence = 0;

/** Says something that has happened, for a moment. */
function announce(text, isBad = false) {
  said.textContent = text;
  said.className = isBad ? "toast shown bad" : "toast shown";
  clearTimeout(silence);
  silence = setTimeout(() => (said.className = "toast"), 4000);
}

function dress() {
  mark(document.documentElement, "data-theme", theme === "auto" ? null : theme);
}

/** Asks for a token; true if one was accepted. */
async function ask(why) {
  const got = await signIn(why);
  if (!got) return false;
  context.right = got;
  announce(t(got === "admin" ? "sign.as.admin" : "sign.as.read"));
  draw();
  return true;
}

/** Whether who sits here may change things; asks for a token if it cannot be so yet. */
async function needAdmin() {
  if (context.right === "admin") return true;
  return (await ask(t("sign.need.admin"))) && context.right === "admin";
}

function route() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  const page = name in PAGES ? name : "live";
  let id = "";
  try {
    id = decodeURIComponent(rest.join("/"));
  } catch {
    // No name of anything.
  }
  return { page, id };
}

function tab(name, page) {
  const isHere = page === name || (name === "live" && page === "stream");
  const long = h("span", { class: "long" }, t(`nav.${name}`));
  const short = h("span", { class: "short", "aria-hidden": "true" }, t(name === "config" ? "nav.short.config" : `nav.${name}`));
  return h("a", { href: `#/${name}`, "aria-current": isHere ? "page" : null, "aria-label": t(`nav.${name}`) }, icon(name), long, short);
}

function turnTheme() {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  keep(KEPT, theme);
  dress();
  announce(t(`theme.${theme}`));
  draw();
}

function turnLanguage() {
  use(shown() === "en" ? "zh" : "en");
  draw();
}

function leave() {
  useToken("", false);
  context.right = "none";
  begin();
}

function bar(page) {
  const sign = hasToken()
    ? h("button", { class: "quiet", onclick: leave }, icon("key"), h("span", { class: "long" }, t("sign.out")))
    : h("button", { class: "quiet", onclick: () => ask("") }, icon("key"), h("span", { class: "long" }, t("sign.in")));
  mark(sign, "aria-label", t(hasToken() ? "sign.out" : "sign.in"));
  return h("header", { class: "bar" },
    h("a", { class: "skip", href: "#content", onclick: skip }, t("skip")),
    h("a", { class: "brand", href: "#/live", "aria-label": "Weir" }, h("img", { src: "/console/icon.svg", alt: "", width: 28, height: 28 }),
      h("span", null, "Weir")),
    h("nav", { "aria-label": t("nav.label") }, TABS.map((name) => tab(name, page))),
    h("div", { class: "tools" },
      h("button", { class: "quiet", onclick: turnLanguage, "aria-label": t("language.label"), lang: shown() === "en" ? "zh-CN" : "en" },
        t("language")),
      h("button", { class: "quiet", onclick: turnTheme, "aria-label": t(`theme.${theme}`), title: t(`theme.${theme}`) }, icon("sun")),
      sign));
}

function skip(event) {
  event.preventDefault();
  document.getElementById("content").focus();
}

function draw() {
  ending.abort();
  ending = new AbortController();
  const { page, id } = route();
  const content = h("main", { id: "content", tabindex: "-1", class: `page-${page}` });
  document.getElementById("app").replaceChildren(bar(page), content, said);
  document.title = `${t(page === "stream" ? "nav.live" : `nav.${page}`)} · Weir`;
  PAGES[page](content, { ...context, id, signal: ending.signal, rights: () => context.right });
}

/** Finds out what may be seen, and shows it, or the way to sign in. */
async function begin() {
  dress();
  try {
    context.right = await right();
    draw();
  } catch (why) {
    if (why.status === 401) {
      if (hasToken()) useToken("", false);
      return door(why.message);
    }
    if (why.status === 503 || why.status === undefined) setTimeout(begin, 2000);
    draw();
    announce(why.status ? why.message : t("offline"), true);
  }
}

/** Where nobody may look without a token. */
function door(why) {
  ending.abort();
  const content = h("main", { id: "content", tabindex: "-1", class: "door" },
    h("img", { src: "/console/icon.svg", alt: "", width: 64, height: 64 }),
    h("h1", null, t("app.title")),
    h("p", null, t("sign.why")),
    h("button", { class: "strong", onclick: () => ask("") }, icon("key"), t("sign.in")),
    h("p", { class: "faint" }, why));
  document.getElementById("app").replaceChildren(bar("door"), content, said);
  document.title = `${t("sign.title")} · Weir`;
}

let isAsking = false;
refusals.addEventListener("refused", async () => {
  // Many calls may be refused at once.
  if (isAsking || document.querySelector("main.door")) return;
  isAsking = true;
  if (hasToken()) announce(t("sign.expired"), true);
  useToken("", false);
  context.right = "none";
  await begin();
  isAsking = false;
});
window.addEventListener("hashchange", () => {
  if (document.querySelector("main.door")) return;
  draw();
  document.getElementById("content").focus({ preventScroll: true });
  window.scrollTo(0, 0);
});
begin();
