// Signing in with a token of the API, and other questions.

import { right, useToken } from "./api.js";
import { h, write } from "./dom.js";
import { t } from "./i18n.js";

function open(dialog) {
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => (dialog.remove(), resolve(dialog.returnValue)), { once: true });
    document.body.append(dialog);
    dialog.returnValue = "";
    dialog.showModal();
  });
}

/** Asks for a token until one is accepted, or not given; what it gives, or nothing. */
export async function signIn(why) {
  let got = null;
  const fault = h("p", { class: "fault", role: "alert" });
  const token = h("input", { type: "password", id: "token", name: "token", autocomplete: "off", required: true, spellcheck: "false" });
  const keep = h("input", { type: "checkbox", id: "keep" });
  const button = h("button", { class: "strong", type: "submit" }, t("sign.in"));
  const dialog = h("dialog", { "aria-labelledby": "sign-title" },
    h("form", {
      onsubmit: async (event) => {
        event.preventDefault();
        const shown = token.value.trim();
        button.disabled = true;
        try {
          got = await right(shown);
          useToken(shown, keep.checked);
          dialog.close("done");
        } catch (refusal) {
          write(fault, refusal.status === 401 ? t("sign.wrong") : refusal.message);
          token.select();
        }
        button.disabled = false;
      },
    },
    h("h2", { id: "sign-title" }, t("sign.title")),
    h("p", null, why || t("sign.why")),
    h("label", { for: "token" }, t("sign.token")), token,
    h("label", { class: "check", for: "keep" }, keep, t("sign.keep")),
    fault,
    h("p", { class: "faint" }, t("sign.where")),
    h("div", { class: "actions" },
      h("button", { type: "button", onclick: () => dialog.close() }, t("cancel")), button)));
  await open(dialog);
  return got;
}

/** Asks whether something is to be done; whether it is. */
export async function confirm(title, text, action) {
  const dialog = h("dialog", { "aria-labelledby": "ask-title", "aria-describedby": "ask-text" },
    h("form", { method: "dialog" },
      h("h2", { id: "ask-title" }, title),
      h("p", { id: "ask-text" }, text),
      h("div", { class: "actions" },
        h("button", { value: "", autofocus: true }, t("cancel")),
        h("button", { value: "yes", class: "danger" }, action))));
  return (await open(dialog)) === "yes";
}

/** Shows `content` until it is closed. */
export async function show(title, ...content) {
  const dialog = h("dialog", { "aria-labelledby": "show-title" },
    h("form", { method: "dialog" }, h("h2", { id: "show-title" }, title), content,
      h("div", { class: "actions" }, h("button", { autofocus: true }, t("close")))));
  await open(dialog);
}
