// The API of this server: nothing else is asked. The token is in memory or in the session storage of this tab, and goes
// into a field of requests to this very origin only.

const KEPT = "weir.token";
const BACK_OFF_MIN = 1000;
const BACK_OFF_MAX = 15000;

let token = "";
try {
  token = sessionStorage.getItem(KEPT) ?? "";
} catch {
  // In memory only, then.
}

/** What the server has said instead of an answer. */
export class Refused extends Error {
  constructor(status, why) {
    super(why);
    this.status = status;
  }
}

/** Told when a token is not accepted (any more). */
export const refusals = new EventTarget();

export const hasToken = () => token !== "";

/** From now on this token is shown; with `keep` also after this page is loaded again, until the tab is closed. */
export function useToken(next, keep) {
  token = next;
  try {
    if (next && keep) sessionStorage.setItem(KEPT, next);
    else sessionStorage.removeItem(KEPT);
  } catch {
    // In memory only, then.
  }
}

async function ask(path, { method = "GET", signal, as = token, isQuiet = false } = {}) {
  const headers = as ? { authorization: `Bearer ${as}` } : {};
  const options = { method, headers, signal, cache: "no-store", credentials: "same-origin", redirect: "error" };
  const answer = await fetch(`/api/v1/${path}`, options);
  if (answer.ok) return answer;
  const why = await answer.json().then((body) => body.error, () => "");
  if (answer.status === 401 && as === token && !isQuiet) refusals.dispatchEvent(new Event("refused"));
  throw new Refused(answer.status, why || `HTTP ${answer.status}`);
}

/** The answer of a call, as an object. */
export const call = async (path, options) => (await ask(path, options)).json();

/** The answer of a call that is a file. */
export const file = async (path, options) => (await ask(path, options)).blob();

/** What who shows `candidate` may do: `read` or `admin`. */
export const right = async (candidate = token) => (await call("session", { as: candidate, isQuiet: true })).right;

/** A part of a path. */
export const part = (text) => encodeURIComponent(text);

export const pause = (millis, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, millis);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });

/** Until this page is looked at again: who does not look does not ask. */
const looked = (signal) =>
  new Promise((resolve) => {
    if (!document.hidden) return resolve();
    const look = () => document.hidden || (document.removeEventListener("visibilitychange", look), resolve());
    document.addEventListener("visibilitychange", look, { signal });
    signal.addEventListener("abort", resolve, { once: true });
  });

/**
 * Calls again and again, as long as `signal` does not end it: `path` makes the next call, `take` gets its answer, `fail`
 * what went wrong. Between two answers `every` milliseconds pass at least.
 */
export async function follow(path, { take, fail, signal, every = 0 }) {
  let wait = BACK_OFF_MIN;
  while (!signal.aborted) {
    await looked(signal);
    const began = Date.now();
    try {
      const answer = await call(path(), { signal });
      if (signal.aborted) return;
      take(answer);
      wait = BACK_OFF_MIN;
      await pause(Math.max(0, every - (Date.now() - began)), signal);
    } catch (why) {
      if (signal.aborted) return;
      fail?.(why);
      await pause(wait, signal);
      wait = Math.min(wait * 2, BACK_OFF_MAX);
    }
  }
}
