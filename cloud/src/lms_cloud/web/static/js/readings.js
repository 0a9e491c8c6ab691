/**
 * All readings of one bioreactor that the page holds, by tag: history and live, merged by tag and time.
 * Before it: socket.js. After it: tiles.js, chart.js, table.js.
 *
 * @typedef {object} Tag
 * @property {string} id
 * @property {string} name such as "pH/PV"
 * @property {string} unit
 * @property {number|null} low
 * @property {number|null} high
 * @property {number|null} decimals
 */

import { add, empty, merge, trim } from "./series.js";

export class Readings {
  constructor() {
    /** @type {Map<string, Tag>} by name */
    this.tags = new Map();
    /** @type {Map<string, string>} name by id */
    this.names = new Map();
    /** @type {Map<string, import("./series.js").Series>} by name */
    this.series = new Map();
    /** Points came in since the last `takeChanged`, by name. @type {Set<string>} */
    this.changed = new Set();
    /** Points appended since the last whole history. */
    this.appended = 0;
    /** @type {number|null} for how long, in s, some of it has waited to be summed up */
    this.behindS = null;
  }

  /** Takes a history message; `reset` forgets what was there. @param {any} message */
  takeHistory(message) {
    if (message.reset) this.series.clear();
    for (const tag of message.tags) {
      this.tags.set(tag.name, tag);
      this.names.set(tag.id, tag.name);
    }
    for (const [id, points] of Object.entries(message.series)) {
      const name = this.names.get(id);
      if (name === undefined) continue;
      const told = message.reset && points.t.length > 0 ? { told: points.t[points.t.length - 1] } : {};
      const series = { t: points.t, v: points.v, q: points.q, ...told, ...envelopeOf(points) };
      this.series.set(name, merge(this.series.get(name) ?? empty(), series));
      this.changed.add(name);
    }
    this.appended = 0;
  }

  /**
   * Takes live readings; of tags that no history has named there are none.
   * @param {[string, number, import("./series.js").Value, number][]} readings
   */
  takeLive(readings) {
    for (const [id, t, value, quality] of readings) {
      const name = this.names.get(id);
      if (name === undefined) continue;
      let series = this.series.get(name);
      if (!series) this.series.set(name, (series = empty()));
      add(series, t, value, quality);
      this.changed.add(name);
    }
    this.appended += readings.length;
  }

  /** Takes what others hold of the tags known here. @param {Readings} others */
  takeAll(others) {
    for (const [name, series] of others.series) {
      if (this.tags.has(name)) this.series.set(name, merge(this.of(name), series));
    }
  }

  /** Forgets what is older. @param {number} fromMs */
  forgetBefore(fromMs) {
    for (const series of this.series.values()) trim(series, fromMs);
  }

  /** @param {string} name @returns {import("./series.js").Series} */
  of(name) {
    return this.series.get(name) ?? empty();
  }

  /** The latest reading of a tag. @param {string} name */
  latest(name) {
    const s = this.of(name);
    const i = s.t.length - 1;
    return i < 0 ? { takenAtMs: null, value: null, quality: 0 } : { takenAtMs: s.t[i], value: s.v[i], quality: s.q[i] };
  }

  /** @returns {Set<string>} names of tags with new points since the last call */
  takeChanged() {
    const changed = this.changed;
    this.changed = new Set();
    return changed;
  }
}

/** @param {any} points */
function envelopeOf(points) {
  const lo = points.lo ?? points.minimum;
  const hi = points.hi ?? points.maximum;
  return lo && hi ? { lo, hi } : {};
}
