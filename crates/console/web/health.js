// The health of a stream: one word, and its reason.

import { h } from "./dom.js";
import { t } from "./i18n.js";

/** Green, yellow or red; where nothing is known, grey. */
export const colour = (health) => ({ good: "good", relayed: "plain", stalled: "bad", away: "bad" })[health.word] ?? "warn";

const RANK = { bad: 0, warn: 1, plain: 2, good: 3 };

/** The worse, the lower. */
export const rank = (health) => RANK[colour(health)];

export const word = (health) => t(`health.${health.word}`);

export const reason = (health) => t(`reason.${health.word}`, { value: health.value ?? "" });

/** The word, with its colour, and a sign for who does not see that. */
export const badge = (health) => h("span", { class: `health ${colour(health)}`, title: reason(health) }, word(health));
