// The streams of this node as they are now: the first answer has all of them, the following what has changed since.

import { follow } from "./api.js";

const WAIT_SECONDS = 20;
const SPARK = 60;

/** Follows the streams until `signal`; `changed` is called after each answer. */
export function streams(signal, changed, fail) {
  const known = { all: new Map(), node: null, interval: 5000, answered: false };
  let version = 0;
  follow(() => `wall?after=${version}&wait=${version ? WAIT_SECONDS : 0}`, {
    signal,
    fail,
    every: 900,
    take(answer) {
      if (answer.full) known.all.clear();
      for (const row of answer.streams) {
        const spark = row.spark ?? known.all.get(row.id)?.spark ?? [];
        known.all.set(row.id, { ...row, spark });
      }
      for (const id of answer.gone) known.all.delete(id);
      if (answer.ticks !== known.ticks) {
        // One more point for each that was not given its points.
        const given = new Set(answer.streams.filter((row) => row.spark).map((row) => row.id));
        for (const row of known.all.values()) {
          if (given.has(row.id)) continue;
          const more = Math.min(SPARK, answer.ticks - (known.ticks ?? answer.ticks - 1));
          for (let point = 0; point < more; point += 1) row.spark.push(row.kbps);
          row.spark.splice(0, row.spark.length - SPARK);
        }
        known.ticks = answer.ticks;
      }
      version = answer.version;
      known.node = answer.node;
      known.interval = answer.interval_ms;
      known.answered = true;
      changed(known);
    },
  });
  return known;
}

/** Its name, without the app and the vhost. */
export const title = (row) => row.name;

/** Where it is: app, and the vhost unless that is the default one. */
export const place = (row) => (row.vhost === "__defaultVhost__" ? row.app : `${row.vhost} / ${row.app}`);
