/**
 * The trend of one bioreactor: which tags, which window, live, paused or zoomed; the address says all of it.
 * Before it: readings.js. It drives chart.js, legend.js and table.js.
 */

import { now } from "./age.js";
import { TrendChart } from "./chart.js";
import { clock, day, zone } from "./format.js";
import { Legend } from "./legend.js";
import { align } from "./series.js";
import { fillTable } from "./table.js";

const COLOURS = 8;
const DAY_MS = 24 * 60 * 60 * 1000;
const TABLE_EVERY_MS = 10000;

export class Trend extends EventTarget {
  /** @type {import("./chart.js").Trace[]} */
  #traces = [];
  /** @type {{from: number, to: number}|null} */
  #zoom = null;
  #paused = false;
  /** @type {number|null} */
  #pausedAtMs = null;
  /** @type {number|null} */
  #cursorMs = null;
  #tableMs = 0;
  /** Readings of the zoomed part, finer than those of the window. @type {import("./readings.js").Readings|null} */
  #fine = null;
  /** @type {Map<string, number>} colour by measurement, kept while it is chosen */
  #colours = new Map();

  /**
   * @param {HTMLElement} root
   * @param {import("./readings.js").Readings} readings
   * @param {string[]} chosen names of tags
   * @param {number} windowS
   */
  constructor(root, readings, chosen, windowS) {
    super();
    this.root = root;
    this.readings = readings;
    this.chosen = chosen;
    this.windowS = windowS;
    this.chart = new TrendChart(this.part("plot"), {
      onCursor: (atMs) => this.#cursorMoved(atMs),
      onZoom: (from, to) => this.zoom(from, to),
    });
    this.legend = new Legend(this.part("legend"));
    this.#listen();
  }

  /** @param {string} name @returns {HTMLElement} */
  part(name) {
    return /** @type {HTMLElement} */ (this.root.querySelector(`[data-trend=${name}]`));
  }

  /** Colour number by tag name, for the tiles. @returns {Map<string, number>} */
  get colours() {
    return new Map(this.#traces.map((trace) => [trace.name, trace.colour]));
  }

  get isZoomed() {
    return this.#zoom !== null;
  }

  /** The times on view. @returns {{from: number, to: number}} */
  get view() {
    if (this.#zoom) return this.#zoom;
    const to = this.#pausedAtMs ?? now();
    return { from: to - this.windowS * 1000, to };
  }

  /** Adds or removes tags. @param {string[]} names @param {boolean} on */
  choose(names, on) {
    this.chosen = on ? [...new Set([...this.chosen, ...names])] : this.chosen.filter((name) => !names.includes(name));
    for (const box of this.root.querySelectorAll("[data-trend=choice] input")) {
      const input = /** @type {HTMLInputElement} */ (box);
      input.checked = this.chosen.includes(input.value);
    }
    this.retrace();
    this.#remember();
    this.draw();
  }

  /** Works out the traces again: after a choice, or when the tags became known. */
  retrace() {
    const measures = [...new Set(this.chosen.map(measureOf))];
    for (const measure of this.#colours.keys()) if (!measures.includes(measure)) this.#colours.delete(measure);
    for (const measure of measures) {
      const taken = new Set(this.#colours.values());
      const free = Array.from({ length: COLOURS }, (_, k) => k + 1).find((k) => !taken.has(k)) ?? COLOURS;
      if (!this.#colours.has(measure)) this.#colours.set(measure, free);
    }
    this.#traces = this.chosen.flatMap((name) => {
      const tag = this.readings.tags.get(name);
      if (!tag) return [];
      const style = name.endsWith("/SP") ? "steps" : name.endsWith("/OUT") ? "dots" : "line";
      const { unit, decimals, low, high } = tag;
      return [{ name, unit, decimals, low, high, colour: this.#colours.get(measureOf(name)) ?? 1, style }];
    });
    this.legend.setTraces(this.#traces);
    this.dispatchEvent(new CustomEvent("traces"));
  }

  /** Draws what is on view. Called every second and whenever something changed. */
  draw() {
    const source = this.#fine ?? this.readings;
    const list = this.#traces.map((trace) => source.of(trace.name));
    const envelope = list.some((series) => series.lo !== undefined);
    const view = this.view;
    this.chart.setTraces(this.#traces, envelope);
    const data = align(list, this.#traces.map((trace) => trace.style === "steps"), envelope);
    this.chart.show(data, view.from, view.to);
    this.#say(data[0].length > 0);
    this.#showLegend();
    this.#showTable();
  }

  /** @param {number} from @param {number} to ms UTC */
  zoom(from, to) {
    if (to - from < 2000) return;
    this.#zoom = { from, to };
    this.#fine = null;
    this.part("reset").hidden = false;
    this.dispatchEvent(new CustomEvent("zoomed", { detail: this.#zoom }));
    this.#remember();
    this.draw();
  }

  /** Finer readings of the zoomed part have come. @param {import("./readings.js").Readings} readings */
  refine(readings) {
    this.#fine = readings;
    this.draw();
  }

  backToLive() {
    this.#zoom = null;
    this.#fine = null;
    this.part("reset").hidden = true;
    if (this.#paused) this.pause();
    this.chart.hideCursor();
    this.dispatchEvent(new CustomEvent("live"));
    this.#remember();
    this.draw();
  }

  pause() {
    this.#paused = !this.#paused;
    this.#pausedAtMs = this.#paused ? now() : null;
    const button = this.part("pause");
    button.setAttribute("aria-pressed", String(this.#paused));
    button.textContent = this.#paused ? "Go on" : "Pause";
    this.draw();
  }

  /** @param {string} name @param {number} seconds */
  setWindow(name, seconds) {
    this.windowS = seconds;
    this.windowName = name;
    for (const choice of this.root.querySelectorAll("[data-window-choice]")) {
      if (choice.getAttribute("data-window-choice") === name) choice.setAttribute("aria-current", "true");
      else choice.removeAttribute("aria-current");
    }
    this.backToLive();
  }

  #listen() {
    this.part("pause").addEventListener("click", () => this.pause());
    this.part("reset").addEventListener("click", () => this.backToLive());
    this.part("choice").addEventListener("change", (event) => {
      const box = /** @type {HTMLInputElement} */ (event.target);
      this.choose([box.value], box.checked);
    });
    this.part("table").addEventListener("toggle", () => {
      this.#tableMs = 0;
      this.#showTable();
    });
    this.part("plot").addEventListener("dblclick", () => this.backToLive());
    this.part("plot").addEventListener("keydown", (event) => this.#key(event));
    this.part("plot").addEventListener("blur", () => this.chart.hideCursor());
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const { from, to } = this.view;
    const at = this.#cursorMs ?? (from + to) / 2;
    /** @type {Record<string, () => void>} */
    const acts = {
      ArrowLeft: () => this.chart.moveCursor(event.shiftKey ? -0.1 : -0.01),
      ArrowRight: () => this.chart.moveCursor(event.shiftKey ? 0.1 : 0.01),
      Home: () => this.chart.moveCursor(-Infinity),
      End: () => this.chart.moveCursor(Infinity),
      "+": () => this.zoom(at - (at - from) / 2, at + (to - at) / 2),
      "-": () => this.zoom(at - (at - from) * 2, Math.min(now(), at + (to - at) * 2)),
      Escape: () => this.backToLive(),
    };
    const act = acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  /** @param {number|null} atMs */
  #cursorMoved(atMs) {
    this.#cursorMs = atMs;
    this.#showLegend();
  }

  #showLegend() {
    const at = this.#cursorMs ?? this.view.to;
    this.legend.show(this.#traces, this.#fine ?? this.readings, at, this.#cursorMs === null && !this.#zoom && !this.#paused);
  }

  #showTable() {
    const details = /** @type {HTMLDetailsElement} */ (this.part("table"));
    const place = details.querySelector(".table-scroll");
    if (!details.open || !place || Date.now() - this.#tableMs < TABLE_EVERY_MS) return;
    this.#tableMs = Date.now();
    const { from, to } = this.view;
    fillTable(place, this.#traces, this.#fine ?? this.readings, from, to);
  }

  /** @param {boolean} hasData */
  #say(hasData) {
    const wait = this.part("wait");
    const text = this.#traces.length === 0 && this.readings.tags.size > 0 ? "Choose a tag: press a tile above." : hasData ? "" : "No reading in this window.";
    if (this.readings.tags.size > 0 && wait.textContent !== text) wait.textContent = text;
    const { from, to } = this.view;
    const when = to - from < DAY_MS && day(from) === day(to) ? clock : (/** @type {number} */ at) => `${day(at)} ${clock(at)}`;
    const mode = this.#zoom ? "Zoomed" : this.#paused ? "Paused" : "Live";
    this.part("note").textContent = `${mode}: ${when(from)} to ${when(to)} ${zone(to)}. Dashed: set points. Drag to zoom; double-click or Escape for live.`;
  }

  /** Writes what is on view into the address. */
  #remember() {
    const url = new URL(location.href);
    if (this.windowName) url.searchParams.set("window", this.windowName);
    url.searchParams.set("tags", this.chosen.join(","));
    if (this.#zoom) {
      url.searchParams.set("from", new Date(this.#zoom.from).toISOString());
      url.searchParams.set("to", new Date(this.#zoom.to).toISOString());
    } else {
      url.searchParams.delete("from");
      url.searchParams.delete("to");
    }
    history.replaceState(null, "", url.href.replaceAll("%2F", "/").replaceAll("%2C", ","));
  }
}

/** @param {string} tag @returns {string} */
function measureOf(tag) {
  return tag.replace(/\/(PV|SP|OUT)$/, "");
}
