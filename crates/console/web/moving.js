// Moving pictures in the tiles where few are seen, muted; stills do where many are. Each that moves is a viewer of its
// stream, so none does on a page that nobody looks at, or whose reader does not want things to move.

import { call } from "./api.js";
import { h, mark } from "./dom.js";
import { addresses } from "./links.js";

const MOST = 4;
const TURN = 500;
/** What may not be played, or cannot be, is not asked for again before this has passed. */
const AGAIN = 60000;

const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

/**
 * Plays what is in `seen()` while that is few and `isOn()`, until `signal`: objects with `id`, `row`, `screen` (where the
 * video goes) and `isMoving`. `few` is told whether they could move.
 */
export function moving(seen, { isOn, few, signal }) {
  const playing = new Map();
  const refused = new Map();
  let media = null;

  async function begin(one) {
    const { id, row } = one;
    const ending = new AbortController();
    const video = h("video", { muted: true, playsinline: true, disablepictureinpicture: true, "aria-hidden": "true" });
    const end = () => {
      ending.abort();
      video.remove();
      // Another one may play the same stream by now.
      if (playing.get(id)?.end === end) playing.delete(id);
      if (one.id === id) one.isMoving = false;
    };
    playing.set(id, { one, end });
    video.addEventListener("playing", () => {
      if (ending.signal.aborted) return;
      mark(video, "class", "shown");
      one.isMoving = true;
    });
    one.screen.insertBefore(video, one.screen.children[1] ?? null);
    try {
      media ??= (await call("nodes", { signal })).data.media;
      const url = addresses(row, media).play.find(([kind]) => kind === "HTTP-FLV")?.[1];
      const { flv, hasSource } = await import("./player.js");
      if (ending.signal.aborted) return;
      if (!url || !hasSource()) throw new Error("it cannot be played here");
      await flv(video, url, { signal: ending.signal, scripts: "/console", started: () => video.play().catch(() => {}) });
    } catch {
      if (!ending.signal.aborted) refused.set(id, Date.now() + AGAIN);
    } finally {
      end();
    }
  }

  const turn = () => {
    const all = signal.aborted ? [] : seen();
    const canMove = !calm.matches && all.length > 0 && all.length <= MOST;
    few(canMove);
    const wanted = canMove && isOn() && !document.hidden ? all.filter((one) => one.row.status === "live") : [];
    for (const [id, { one, end }] of [...playing]) if (!wanted.includes(one) || one.id !== id) end();
    for (const one of wanted) if (!playing.has(one.id) && (refused.get(one.id) ?? 0) < Date.now()) begin(one);
  };
  const timer = setInterval(turn, TURN);
  document.addEventListener("visibilitychange", turn, { signal });
  signal.addEventListener("abort", () => (clearInterval(timer), turn()), { once: true });
  return { turn };
}
