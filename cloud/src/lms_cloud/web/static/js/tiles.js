/**
 * Keeps the tiles that the server drew (templates/components/measurement.html) up to date: value, state, range bar,
 * sparkline. Before it: readings.js.
 */

import { judge, now } from "./age.js";
import { number } from "./format.js";
import { figure } from "./series.js";
import { place, sparkline } from "./shapes.js";

const SPARK_MS = 10 * 60 * 1000;
const STATES = ["is-stale", "is-absent", "is-outside", "is-doubtful"];

export class Tiles {
  /** @type {HTMLElement[]} */
  #tiles = [];

  /**
   * @param {HTMLElement} root
   * @param {import("./readings.js").Readings} readings
   */
  constructor(root, readings) {
    this.root = root;
    this.readings = readings;
    this.bind();
  }

  /** Finds the tiles, after the server drew them anew. */
  bind() {
    this.#tiles = [...this.root.querySelectorAll(".tile")].map((tile) => /** @type {HTMLElement} */ (tile));
  }

  /** Names of the tags whose last minutes the tiles draw. @returns {string[]} */
  get names() {
    return this.#tiles.flatMap(({ dataset }) => [dataset.main, dataset.set].flatMap((name) => (name ? [name] : [])));
  }

  /** Whether every tag is on a tile. @param {{name: string}[]} tags @returns {boolean} */
  cover(tags) {
    const shown = new Set(this.#tiles.flatMap(({ dataset }) => [dataset.main, dataset.set, dataset.out]));
    return tags.every((tag) => shown.has(tag.name));
  }

  /** The tags of the tile around an element. @param {Element} element @returns {string[]} */
  static tagsAround(element) {
    const tile = /** @type {HTMLElement|null} */ (element.closest(".tile"));
    return tile ? [tile.dataset.main, tile.dataset.set].flatMap((name) => (name ? [name] : [])) : [];
  }

  /** Shows the newest readings of the tags named. @param {Set<string>} changed */
  show(changed) {
    for (const tile of this.#tiles) {
      const { main, set, out } = tile.dataset;
      if (main && changed.has(main)) this.#showMain(tile, main);
      if (set && changed.has(set)) this.#showPart(tile, "set", set);
      if (out && changed.has(out)) this.#showPart(tile, "out", out);
      if ((main && changed.has(main)) || (set && changed.has(set))) this.#showRange(tile, main ?? "", set);
    }
  }

  /** Judges every tile by the time, whether or not anything came; redraws the sparklines. */
  tick() {
    const nowMs = now();
    for (const tile of this.#tiles) {
      if (!tile.hasAttribute("data-live")) continue;
      const name = tile.dataset.main ?? "";
      const tag = this.readings.tags.get(name);
      const latest = this.readings.latest(name);
      if (!tag || latest.takenAtMs === null) continue;
      const { state, flag } = judge(latest, tag, Number(tile.dataset.staleAfterS) * 1000, nowMs);
      for (const other of STATES) tile.classList.toggle(other, other === `is-${state}`);
      write(tile, "flag", flag);
      this.#showSpark(tile, tag, nowMs);
    }
  }

  /**
   * Marks which tiles are in the trend, and by which trace.
   * @param {Map<string, number>} traces trace number by tag name
   */
  mark(traces) {
    for (const tile of this.#tiles) {
      const trace = traces.get(tile.dataset.main ?? "");
      for (let k = 1; k <= 8; k++) tile.classList.toggle(`trace-${k}`, k === trace);
      tile.classList.toggle("is-charted", trace !== undefined);
      tile.querySelector(".tile-pick")?.setAttribute("aria-pressed", String(trace !== undefined));
    }
  }

  /** @param {HTMLElement} tile @param {string} name */
  #showMain(tile, name) {
    const latest = this.readings.latest(name);
    if (latest.takenAtMs === null) return;
    tile.setAttribute("data-live", "");
    tile.dataset.takenAtMs = String(latest.takenAtMs);
    write(tile, "number", number(latest.value, this.readings.tags.get(name)?.decimals ?? null));
  }

  /** @param {HTMLElement} tile @param {"set"|"out"} part @param {string} name */
  #showPart(tile, part, name) {
    write(tile, part, number(this.readings.latest(name).value, this.readings.tags.get(name)?.decimals ?? null));
  }

  /** @param {HTMLElement} tile @param {string} main @param {string|undefined} set */
  #showRange(tile, main, set) {
    const tag = this.readings.tags.get(main);
    if (!tag || tag.low === null || tag.high === null || tag.high <= tag.low) return;
    const value = figure(this.readings.latest(main).value);
    const target = set ? figure(this.readings.latest(set).value) : null;
    const at = value === null ? null : place(value, tag.low, tag.high);
    const targetAt = target === null ? null : place(target, tag.low, tag.high);
    if (at !== null) tile.querySelector("[data-part=now-mark]")?.setAttribute("x", `${at}%`);
    if (targetAt !== null) tile.querySelector("[data-part=set-mark]")?.setAttribute("x", `${targetAt}%`);
    if (at === null || targetAt === null) return;
    const apart = tile.querySelector("[data-part=apart]");
    apart?.setAttribute("x", `${Math.min(at, targetAt)}%`);
    apart?.setAttribute("width", `${Math.abs(at - targetAt)}%`);
  }

  /** @param {HTMLElement} tile @param {import("./readings.js").Tag} tag @param {number} nowMs */
  #showSpark(tile, tag, nowMs) {
    const set = tile.dataset.set ? this.readings.of(tile.dataset.set) : null;
    const paths = sparkline(this.readings.of(tag.name), set, nowMs - SPARK_MS, nowMs, leastSpan(tag));
    tile.querySelector("[data-part=spark-line]")?.setAttribute("d", paths.line);
    tile.querySelector("[data-part=spark-set]")?.setAttribute("d", paths.set);
  }
}

/**
 * The smallest height of a sparkline in the tag's unit, so that noise in the last digits does not look like an event.
 * @param {import("./readings.js").Tag} tag @returns {number}
 */
function leastSpan(tag) {
  if (tag.decimals !== null) return 20 * 10 ** -tag.decimals;
  return tag.low !== null && tag.high !== null ? (tag.high - tag.low) / 20 : 0;
}

/** @param {HTMLElement} tile @param {string} part @param {string} text */
function write(tile, part, text) {
  const element = tile.querySelector(`[data-part=${part}]`);
  if (element && element.textContent !== text) element.textContent = text;
}
