/**
 * Points of one tag in time order, and how they are merged, thinned and laid side by side. Pure: no page, no clock.
 * Used by readings.js (keeps them), chart.js and tiles.js (draw them).
 *
 * @typedef {number|string|boolean|null} Value
 * @typedef {object} Series
 * @property {number[]} t times, ms UTC, rising
 * @property {Value[]} v values, null where nothing could be read
 * @property {number[]} q qualities
 * @property {(number|null)[]} [lo] lowest value around the point, where many readings became one point
 * @property {(number|null)[]} [hi] highest value around it
 * @property {number} [told] until here the server has put a null wherever the line breaks: pauses between points say
 *   nothing, as it leaves out readings that add nothing to the line
 */

/** @returns {Series} */
export function empty() {
  return { t: [], v: [], q: [] };
}

/**
 * Merges two series by time; where both have a point, the one of `b` stays. Neither is changed.
 * @param {Series} a @param {Series} b
 * @returns {Series}
 */
export function merge(a, b) {
  if (b.t.length === 0) return a;
  if (a.t.length === 0) return b;
  /** @type {Series} */
  const out = empty();
  const told = Math.max(a.told ?? -Infinity, b.told ?? -Infinity);
  if (told > -Infinity) out.told = told;
  const enveloped = a.lo !== undefined || b.lo !== undefined;
  if (enveloped) {
    out.lo = [];
    out.hi = [];
  }
  /** @param {Series} s @param {number} i */
  const take = (s, i) => {
    out.t.push(s.t[i]);
    out.v.push(s.v[i]);
    out.q.push(s.q[i]);
    if (out.lo && out.hi) {
      const v = typeof s.v[i] === "number" ? /** @type {number} */ (s.v[i]) : null;
      out.lo.push(s.lo ? s.lo[i] : v);
      out.hi.push(s.hi ? s.hi[i] : v);
    }
  };
  let i = 0;
  let j = 0;
  while (i < a.t.length || j < b.t.length) {
    if (j >= b.t.length || (i < a.t.length && a.t[i] < b.t[j])) take(a, i++);
    else {
      if (i < a.t.length && a.t[i] === b.t[j]) i++;
      take(b, j++);
    }
  }
  return out;
}

/**
 * Adds one point in place: at the end when it is the newest, else where it belongs.
 * @param {Series} s @param {number} t @param {Value} v @param {number} q
 */
export function add(s, t, v, q) {
  const last = s.t.length - 1;
  const figure = typeof v === "number" ? v : null;
  if (last < 0 || t > s.t[last]) {
    s.t.push(t);
    s.v.push(v);
    s.q.push(q);
    s.lo?.push(figure);
    s.hi?.push(figure);
    return;
  }
  const at = firstAtOrAfter(s.t, t);
  const replace = s.t[at] === t ? 1 : 0;
  s.t.splice(at, replace, t);
  s.v.splice(at, replace, v);
  s.q.splice(at, replace, q);
  s.lo?.splice(at, replace, figure);
  s.hi?.splice(at, replace, figure);
}

/**
 * Drops in place what is older than `fromMs`, but keeps the last point before it: a line enters from the edge.
 * @param {Series} s @param {number} fromMs
 */
export function trim(s, fromMs) {
  const drop = firstAtOrAfter(s.t, fromMs) - 1;
  if (drop <= 0) return;
  for (const list of [s.t, s.v, s.q, s.lo, s.hi]) list?.splice(0, drop);
}

/** Index of the first time not before `t`. @param {number[]} times @param {number} t @returns {number} */
export function firstAtOrAfter(times, t) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < t) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Whether the line breaks between point `i` and the one after it, where no null says so.
 * @param {Series} s @param {number} i
 * @param {number} [untilMs] the end of the stretch, where it is not the next point
 * @returns {boolean}
 */
export function isBrokenAfter(s, i, untilMs = s.t[i + 1]) {
  return untilMs > (s.told ?? -Infinity) && breaksAfter(s.t, i, untilMs);
}

const LEAST_GAP_MS = 5000;
const NEIGHBOURS = 5;

/**
 * Whether the line breaks between point `i` and the one after it: they lie much farther apart than points do there.
 * Judged by the neighbours on both sides, because one line holds points of many seconds each beside single readings.
 * @param {number[]} times @param {number} i
 * @param {number} [untilMs] the end of the stretch, where it is not the next point
 * @returns {boolean}
 */
export function breaksAfter(times, i, untilMs = times[i + 1]) {
  const apart = untilMs - times[i];
  if (!(apart > LEAST_GAP_MS)) return false;
  const usual = Math.max(usualStep(times, i - NEIGHBOURS, i), usualStep(times, i + 1, i + 1 + NEIGHBOURS));
  return usual > 0 && apart > 5 * usual;
}

/** The median distance of the points `first` to `last`, 0 where there is none. @param {number[]} times @param {number} first @param {number} last */
function usualStep(times, first, last) {
  const steps = [];
  for (let i = Math.max(0, first); i < Math.min(last, times.length - 1); i++) steps.push(times[i + 1] - times[i]);
  steps.sort((x, y) => x - y);
  return steps[(steps.length - 1) >> 1] ?? 0;
}

/** @param {Value} v @returns {number|null} */
export function figure(v) {
  if (typeof v === "number") return Number.isFinite(v) ? v : null;
  if (typeof v === "boolean") return v ? 1 : 0;
  return null;
}

/**
 * Lays series side by side on one time axis, as uPlot wants them: `undefined` where a series has no point at that
 * time (the line goes on), `null` where it was interrupted (the line breaks).
 * @param {Series[]} list
 * @param {boolean[]} steps for each series: a value holds until the next one (set points), so only null breaks it
 * @param {boolean} envelope add the lowest and highest of each series behind it
 * @returns {[number[], ...(number|null|undefined)[][]]}
 */
export function align(list, steps, envelope) {
  const columns = list.flatMap((s, k) => columnsOf(s, !steps[k], envelope));
  const times = new Set();
  for (const column of columns) for (const t of column.t) times.add(t);
  const x = [...times].sort((a, b) => a - b);
  const ys = columns.map((column) => {
    const y = new Array(x.length).fill(undefined);
    let j = 0;
    for (let i = 0; i < x.length && j < column.t.length; i++) {
      if (x[i] === column.t[j]) y[i] = column.y[j++];
    }
    return y;
  });
  return [x, ...ys];
}

/**
 * @param {Series} s @param {boolean} breaks whether the line breaks where points are missing @param {boolean} envelope
 * @returns {{t: number[], y: (number|null)[]}[]}
 */
function columnsOf(s, breaks, envelope) {
  /** @type {number[]} */
  const t = [];
  /** @type {(number|null)[][]} */
  const ys = envelope ? [[], [], []] : [[]];
  for (let i = 0; i < s.t.length; i++) {
    if (breaks && i > 0 && isBrokenAfter(s, i - 1)) {
      t.push(s.t[i - 1] + 1);
      for (const y of ys) y.push(null);
    }
    t.push(s.t[i]);
    const v = figure(s.v[i]);
    ys[0].push(v);
    if (envelope) {
      ys[1].push(s.lo?.[i] ?? v);
      ys[2].push(s.hi?.[i] ?? v);
    }
  }
  return ys.map((y) => ({ t, y }));
}

/**
 * Index of the last point not after `t`, or -1.
 * @param {Series} s @param {number} t @returns {number}
 */
export function lastUntil(s, t) {
  const at = firstAtOrAfter(s.t, t);
  return s.t[at] === t ? at : at - 1;
}
