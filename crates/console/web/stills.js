// Pictures for the tiles: the newest key frame of each stream that is seen, one after the other, and not often.

import { file, part } from "./api.js";

const AT_ONCE = 2;
/** A picture is fetched this often at most for each stream, and all pictures together about five times a second. */
const EVERY_MIN = 2500;
const EVERY_OF_MANY = 400;
const EVERY_MAX = 20000;
const AGAIN = 15000;
const DECODE = 3000;

/** A picture of the MP4 in `blob`, drawn on `canvas`. */
function paint(blob, canvas) {
  return new Promise((resolve, reject) => {
    const video = document.createElement("video");
    const url = URL.createObjectURL(blob);
    let timer = 0;
    const done = (then, value) => {
      clearTimeout(timer);
      video.removeAttribute("src");
      video.load();
      URL.revokeObjectURL(url);
      then(value);
    };
    timer = setTimeout(() => done(reject, new Error("late")), DECODE);
    video.muted = true;
    video.playsInline = true;
    video.preload = "auto";
    video.onloadeddata = () => {
      const { videoWidth: width, videoHeight: height } = video;
      if (!width || !height) return done(reject, new Error("empty"));
      const scale = Math.min(1, 640 / width);
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
      canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
      done(resolve);
    };
    video.onerror = () => done(reject, new Error("unknown"));
    video.src = url;
  });
}

/** Paints what is in `wanted()`: objects with `id`, `canvas` and `painted(isShown)`, until `signal`. */
export function stills(wanted, signal) {
  const due = new Map();
  let busy = 0;
  const turn = () => {
    if (signal.aborted || document.hidden) return;
    const all = wanted();
    const every = Math.min(EVERY_MAX, Math.max(EVERY_MIN, all.length * EVERY_OF_MANY));
    const now = Date.now();
    const next = all.filter((it) => (due.get(it.id) ?? 0) <= now).sort((a, b) => (due.get(a.id) ?? 0) - (due.get(b.id) ?? 0));
    for (const it of next) {
      if (busy >= AT_ONCE) return;
      busy += 1;
      due.set(it.id, now + every);
      file(`streams/${part(it.id)}/still`, { signal })
        .then((blob) => paint(blob, it.canvas))
        .then(() => it.painted(true), () => (due.set(it.id, Date.now() + AGAIN), it.painted(false)))
        .finally(() => ((busy -= 1), turn()));
    }
  };
  const timer = setInterval(turn, 250);
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  return { soon: (id) => due.delete(id) };
}
