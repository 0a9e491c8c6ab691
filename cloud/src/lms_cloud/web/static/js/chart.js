/**
 * The trend chart: uPlot with one axis for each unit, set points as steps, a shared cursor. Knows how to draw, not
 * what: trend.js gives it the traces, the aligned data and the window. uPlot comes as a global (vendored script).
 * Every drawing is told as the event "drawn" on its place, with what was drawn.
 *
 * @typedef {object} Trace
 * @property {string} name of the tag
 * @property {string} unit
 * @property {number|null} decimals
 * @property {number|null} low end of the normal range
 * @property {number|null} high
 * @property {number} colour 1 … 8
 * @property {"line"|"steps"|"dots"} style measured, set point, output
 */

import { number } from "./format.js";

const DASHES = { line: undefined, steps: [6, 4], dots: [2, 3] };
const NARROW_PX = 560;
const HIGHEST_PX = 560;
const LEAST_PX = 255;
const BELOW_PX = 36;
const LEAST_PART = 0.4;
/** Steps between the labels of an axis: never 2.5, which a label of as many decimals as the step's first figure would round. */
const STEPS = Array.from({ length: 20 }, (_, k) => [1, 2, 5].map((n) => Number(`${n}e${k - 8}`))).flat();

/** @param {string} name @returns {string} the colour of the theme in use */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** @param {number} n @returns {string} */
function two(n) {
  return String(n).padStart(2, "0");
}

/** Labels of the time axis in the viewer's zone; the day where it changes. @param {number[]} splits @param {number} step */
function timeLabels(splits, step) {
  let lastDay = "";
  return splits.map((ms) => {
    const d = new Date(ms);
    const day = `${two(d.getDate())}.${two(d.getMonth() + 1)}.`;
    const time = `${two(d.getHours())}:${two(d.getMinutes())}${step < 60000 ? `:${two(d.getSeconds())}` : ""}`;
    const text = lastDay && day !== lastDay ? `${time}\n${day}` : time;
    lastDay = day;
    return text;
  });
}

export class TrendChart {
  /** @type {any} */
  #plot = null;
  /** @type {Trace[]} */
  #traces = [];
  #envelope = false;

  /**
   * @param {HTMLElement} place
   * @param {{onCursor: (atMs: number|null) => void, onZoom: (fromMs: number, toMs: number) => void}} listeners
   */
  constructor(place, listeners) {
    this.place = place;
    this.listeners = listeners;
    new ResizeObserver(() => this.#fit()).observe(place);
    for (const query of ["(prefers-color-scheme: dark)", "(prefers-contrast: more)"]) {
      matchMedia(query).addEventListener("change", () => this.#rebuild());
    }
  }

  /** @returns {{min: number, max: number}|null} the times at the edges */
  get view() {
    const x = this.#plot?.scales.x;
    return x && x.min !== null && x.min !== undefined ? { min: x.min, max: x.max } : null;
  }

  /**
   * @param {Trace[]} traces
   * @param {boolean} envelope whether the data hold lowest and highest behind each trace
   */
  setTraces(traces, envelope) {
    const same = envelope === this.#envelope && JSON.stringify(traces) === JSON.stringify(this.#traces);
    this.#traces = traces;
    this.#envelope = envelope;
    if (!same || !this.#plot) this.#rebuild();
  }

  /** @param {any} data aligned @param {number} fromMs @param {number} toMs */
  show(data, fromMs, toMs) {
    if (!this.#plot) return;
    this.#plot.batch(() => {
      this.#plot.setData(data, false);
      this.#plot.setScale("x", { min: fromMs, max: toMs });
    });
    this.place.dispatchEvent(new CustomEvent("drawn", { detail: { traces: this.#traces, data, fromMs, toMs } }));
  }

  /** Moves the cursor by a part of the width, for the keyboard. @param {number} part -1 … 1; ±Infinity for the edges */
  moveCursor(part) {
    if (!this.#plot) return;
    const width = this.#plot.over.clientWidth;
    const from = this.#plot.cursor.left >= 0 ? this.#plot.cursor.left : width;
    const left = Math.min(width - 1, Math.max(0, from + part * width));
    this.#plot.setCursor({ left, top: this.#plot.over.clientHeight / 2 });
  }

  hideCursor() {
    this.#plot?.setCursor({ left: -10, top: -10 });
  }

  #size() {
    const style = getComputedStyle(this.place);
    const width = this.place.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    return { width: Math.max(200, width), height: Math.round(Math.min(HIGHEST_PX, this.#room())) };
  }

  /** Down to the end of the first screen where there is enough room, so that values and trend are seen together. */
  #room() {
    const left = innerHeight - (this.place.getBoundingClientRect().top + scrollY) - BELOW_PX;
    return left >= LEAST_PX ? left : Math.max(300, innerHeight * 0.42);
  }

  #fit() {
    if (!this.#plot) return;
    const size = this.#size();
    if (size.width === this.#plot.width && size.height === this.#plot.height) return;
    if (size.width < NARROW_PX !== this.#plot.width < NARROW_PX) this.#rebuild();
    else this.#plot.setSize(size);
  }

  #rebuild() {
    const data = this.#plot?.data;
    const view = this.view;
    this.#plot?.destroy();
    this.#plot = null;
    if (this.#traces.length === 0) return;
    // @ts-ignore the vendored script's global
    this.#plot = new uPlot(this.#options(), [[]], this.place);
    const columns = 1 + this.#traces.length * (this.#envelope ? 3 : 1);
    if (data?.length === columns && view) this.show(data, view.min, view.max);
  }

  #options() {
    const size = this.#size();
    const narrow = size.width < NARROW_PX;
    const ink = colour("--ink-soft");
    const rule = colour("--rule");
    const units = [...new Set(this.#traces.map((trace) => trace.unit))];
    const font = `${narrow ? 11 : 12}px ${getComputedStyle(document.body).fontFamily}`;
    const stroke = (/** @type {Trace} */ trace) => colour(`--trace-${trace.colour}`);
    return {
      ...size,
      ms: 1,
      padding: [26, narrow || units.length < 2 ? 12 : 4, 0, 4],
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: true, y: false, setScale: false, dist: 8 },
        points: { size: 7, width: 2 },
      },
      scales: {
        x: { time: true, auto: false, range: (/** @type {any} */ _u, /** @type {number} */ min, /** @type {number} */ max) => [min, max] },
        ...Object.fromEntries(units.map((unit) => [scaleOf(unit), { range: (/** @type {any} */ _u, /** @type {any} */ min, /** @type {any} */ max) => this.#padded(unit, min, max) }])),
      },
      series: [{}, ...this.#traces.flatMap((trace) => this.#series(trace, stroke(trace)))],
      bands: this.#envelope ? this.#traces.map((trace, k) => ({ series: [3 * k + 3, 3 * k + 2], fill: `color-mix(in srgb, ${stroke(trace)} 25%, transparent)` })) : [],
      axes: [
        {
          stroke: ink,
          font,
          grid: { stroke: rule, width: 1 },
          ticks: { stroke: rule, width: 1, size: 5 },
          space: narrow ? 64 : 84,
          size: 40,
          values: (/** @type {any} */ _u, /** @type {number[]} */ splits, /** @type {number} */ _a, /** @type {number} */ _s, /** @type {number} */ step) => timeLabels(splits, step),
        },
        ...units.map((unit, k) => this.#axis(unit, k, narrow, font, ink, rule)),
      ],
      hooks: {
        setCursor: [(/** @type {any} */ u) => this.listeners.onCursor(u.cursor.left >= 0 ? u.posToVal(u.cursor.left, "x") : null)],
        setSelect: [(/** @type {any} */ u) => this.#selected(u)],
        draw: [(/** @type {any} */ u) => drawUnits(u, units, font, narrow)],
      },
    };
  }

  /** @param {string} unit @param {number} k @param {boolean} narrow @param {string} font @param {string} ink @param {string} rule */
  #axis(unit, k, narrow, font, ink, rule) {
    const own = this.#traces.filter((trace) => trace.unit === unit);
    const one = new Set(own.map((trace) => trace.colour)).size === 1;
    const tint = one ? colour(`--trace-${own[0].colour}`) : ink;
    return {
      scale: scaleOf(unit),
      unit,
      side: k % 2 === 0 ? 3 : 1,
      show: !narrow || k < 2,
      incrs: STEPS,
      stroke: tint,
      font,
      size: narrow ? 38 : 54,
      gap: 4,
      grid: { show: k === 0, stroke: rule, width: 1 },
      ticks: { stroke: rule, width: 1, size: 5 },
      border: { show: true, stroke: tint, width: 1 },
      values: (/** @type {any} */ _u, /** @type {number[]} */ splits, /** @type {number} */ _a, /** @type {number} */ _s, /** @type {number} */ step) =>
        splits.map((v) => number(v, Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9))))),
    };
  }

  /** @param {Trace} trace @param {string} stroke */
  #series(trace, stroke) {
    // @ts-ignore the vendored script's global
    const paths = trace.style === "steps" ? uPlot.paths.stepped({ align: 1 }) : uPlot.paths.linear();
    const scale = scaleOf(trace.unit);
    const line = { label: trace.name, scale, stroke, paths, width: trace.style === "line" ? 1.75 : 1.5, dash: DASHES[trace.style], points: { show: false } };
    if (!this.#envelope) return [line];
    const edge = { scale, stroke: "transparent", width: 0, points: { show: false }, paths };
    return [line, { ...edge, label: `${trace.name} lowest` }, { ...edge, label: `${trace.name} highest` }];
  }

  /** Room above and below, and never so close that noise fills the chart. @param {string} unit @param {number|null} min @param {number|null} max */
  #padded(unit, min, max) {
    if (min === null || max === null || min === undefined || max === undefined) return [0, 1];
    const least = Math.min(...this.#traces.filter((t) => t.unit === unit).map(leastSpan));
    const half = Math.max((max - min) * 0.58, least / 2);
    const middle = (max + min) / 2;
    return [middle - half, middle + half];
  }

  /** @param {any} u */
  #selected(u) {
    if (u.select.width < 8) return;
    const from = u.posToVal(u.select.left, "x");
    const to = u.posToVal(u.select.left + u.select.width, "x");
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.listeners.onZoom(from, to);
  }
}

/** The smallest height of an axis: a good part of the normal range, or twenty steps of the instrument. @param {Trace} t */
function leastSpan({ low, high, decimals }) {
  const steps = 20 * 10 ** -(decimals ?? 2);
  return low !== null && high !== null && high > low ? Math.max(steps, (high - low) * LEAST_PART) : steps;
}

/** @param {string} unit @returns {string} */
function scaleOf(unit) {
  return `unit ${unit}`;
}

/** Writes each axis's unit above it. @param {any} u @param {string[]} units @param {string} font @param {boolean} narrow */
function drawUnits(u, units, font, narrow) {
  const ratio = u.ctx.canvas.width / u.width;
  const { left, top, width } = u.bbox;
  const size = (narrow ? 38 : 54) * ratio;
  u.ctx.save();
  u.ctx.font = font.replace(/^(\d+)px/, (/** @type {string} */ _m, /** @type {string} */ px) => `600 ${Number(px) * ratio}px`);
  u.ctx.textBaseline = "alphabetic";
  units.forEach((unit, k) => {
    if (narrow && k > 1) return;
    const rank = Math.floor(k / 2);
    u.ctx.fillStyle = u.axes[k + 1]._stroke ?? u.axes[k + 1].stroke();
    u.ctx.textAlign = k % 2 === 0 ? "right" : "left";
    const x = k % 2 === 0 ? left - rank * size - 8 * ratio : left + width + rank * size + 8 * ratio;
    u.ctx.fillText(unit || "–", x, top - 11 * ratio);
  });
  u.ctx.restore();
}
