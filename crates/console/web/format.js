// Figures as people read them.

import { locale } from "./i18n.js";

const number = (digits) => new Intl.NumberFormat(locale(), { maximumFractionDigits: digits });

/** A whole number, with separators. */
export const count = (value) => number(0).format(value ?? 0);

/** Kilobits a second. */
export function rate(kbps) {
  if (!(kbps > 0)) return "0 kb/s";
  if (kbps < 1000) return `${number(0).format(kbps)} kb/s`;
  if (kbps < 1e6) return `${number(kbps < 1e4 ? 2 : 1).format(kbps / 1000)} Mb/s`;
  return `${number(2).format(kbps / 1e6)} Gb/s`;
}

/** Bytes. */
export function bytes(value) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let at = 0;
  let left = value ?? 0;
  while (left >= 1000 && at < units.length - 1) {
    left /= 1000;
    at += 1;
  }
  return `${number(left < 10 && at > 0 ? 1 : 0).format(left)} ${units[at]}`;
}

/** Frames a second. */
export const frames = (fps) => (fps > 0 ? number(fps < 10 ? 1 : 0).format(fps) : "–");

/** How long something has lasted: 8 s, 4:07, 3:02:11, 5 d 3 h. */
export function lasting(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value) => String(value).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  if (days > 0) return `${days} d ${hours % 24} h`;
  if (hours > 0) return `${hours}:${two(minutes)}:${two(whole % 60)}`;
  return `${minutes}:${two(whole % 60)}`;
}

/** A moment of today as a time, another one with its day. */
export function moment(millis) {
  const at = new Date(millis);
  const isToday = at.toDateString() === new Date().toDateString();
  const time = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
  const day = isToday ? {} : { month: "short", day: "numeric" };
  return new Intl.DateTimeFormat(locale(), { ...day, ...time }).format(at);
}

/** `h264` as people write it. */
export function codec(name) {
  const known = { h264: "H.264", avc: "H.264", h265: "H.265", hevc: "H.265", aac: "AAC", mp3: "MP3", opus: "Opus",
    av1: "AV1", vp8: "VP8", vp9: "VP9", vvc: "H.266", flac: "FLAC", "ac-3": "AC-3", "e-ac-3": "E-AC-3" };
  return known[String(name ?? "").toLowerCase()] ?? String(name ?? "");
}
