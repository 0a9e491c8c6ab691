/**
 * The legend above the trend: which line is what, and its value at the cursor, or now.
 */

import { clock, day, number, utc, zone } from "./format.js";
import { isBrokenAfter, lastUntil } from "./series.js";

const SVG = "http://www.w3.org/2000/svg";
const DASH = { line: "", steps: "6 4", dots: "2 3" };

export class Legend {
  /** @type {Map<string, HTMLElement>} */
  #values = new Map();

  /** @param {HTMLElement} place */
  constructor(place) {
    this.place = place;
    this.when = document.createElement("time");
    this.zone = document.createElement("small");
  }

  /** @param {import("./chart.js").Trace[]} traces */
  setTraces(traces) {
    this.#values.clear();
    const when = document.createElement("p");
    when.className = "trend-when";
    when.append(this.when, this.zone);
    const keys = traces.map((trace) => {
      const key = document.createElement("p");
      key.className = "trend-key";
      const name = document.createElement("small");
      name.textContent = trace.name;
      const value = document.createElement("b");
      key.append(swatch(trace), value, name);
      this.#values.set(trace.name, value);
      return key;
    });
    this.place.replaceChildren(when, ...keys);
  }

  /**
   * @param {import("./chart.js").Trace[]} traces
   * @param {import("./readings.js").Readings} readings
   * @param {number} atMs
   * @param {boolean} isNow
   */
  show(traces, readings, atMs, isNow) {
    this.when.textContent = isNow ? `Now ${clock(atMs)}` : `${day(atMs)} ${clock(atMs)}`;
    this.when.dateTime = new Date(atMs).toISOString();
    this.when.title = utc(atMs);
    this.zone.textContent = zone(atMs);
    for (const trace of traces) {
      const series = readings.of(trace.name);
      const i = lastUntil(series, atMs);
      const held = i >= 0 && (isNow || trace.style === "steps" || !isBrokenAfter(series, i, atMs));
      const value = held ? series.v[i] : null;
      const element = this.#values.get(trace.name);
      if (element) element.textContent = `${number(value, trace.decimals)} ${trace.unit}`;
    }
  }
}

/** @param {import("./chart.js").Trace} trace @returns {SVGElement} */
function swatch(trace) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 10");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", "M0 5H24");
  path.setAttribute("class", `trace-stroke-${trace.colour}`);
  path.setAttribute("stroke-dasharray", DASH[trace.style]);
  svg.append(path);
  return svg;
}
