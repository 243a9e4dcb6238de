// Languages: a table of strings for each, and which of them is shown.

import { en, zh } from "./strings.js";

const TABLES = { en, zh };
const KEPT = "weir.language";

function first() {
  const wanted = new URLSearchParams(location.search).get("lang") ?? localStorage.getItem(KEPT);
  if (wanted in TABLES) return wanted;
  return navigator.languages?.some((it) => /^zh\b/i.test(it)) && /^zh\b/i.test(navigator.language) ? "zh" : "en";
}

let language = "en";
try {
  language = first();
} catch {
  // Storage may be forbidden: the browser's language, then.
}
document.documentElement.lang = language === "zh" ? "zh-CN" : "en";

/** The language that is shown. */
export const shown = () => language;

/** What `Intl` calls it. */
export const locale = () => (language === "zh" ? "zh-CN" : "en");

/** The string `key`, with `{name}` replaced by what `values` has. */
export function t(key, values = {}) {
  const text = TABLES[language][key] ?? en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** Whether there is such a string. */
export const has = (key) => key in en;

/** Shows another language from now on. */
export function use(next) {
  try {
    localStorage.setItem(KEPT, next);
  } catch {
    // Only for this page, then.
  }
  language = next;
  document.documentElement.lang = next === "zh" ? "zh-CN" : "en";
}
