/**
 * Geometry of range bars and sparklines; the same as pages/shapes.py on the server.
 * Pure: gives numbers and paths, draws nothing.
 */

import { breaksAfter, figure } from "./series.js";

const WIDTH = 100;
const HEIGHT = 28;
const MARGIN = 2;
const BUCKETS = 80;

/** Where a value stands between its limits, in percent. @param {number} value @param {number} low @param {number} high */
export function place(value, low, high) {
  return Math.min(100, Math.max(0, ((value - low) / (high - low)) * 100));
}

/**
 * Draws the last minutes of a measurement into a box of 100 × 28.
 * @param {import("./series.js").Series} trace
 * @param {import("./series.js").Series|null} setTrace
 * @param {number} beginMs @param {number} endMs
 * @param {number} leastSpan smallest height of the box in the tag's unit
 * @returns {{line: string, set: string}}
 */
export function sparkline(trace, setTrace, beginMs, endMs, leastSpan) {
  const read = within(trace, beginMs, endMs, false);
  const points = thinned(read, (endMs - beginMs) / BUCKETS);
  const steps = setTrace ? within(setTrace, beginMs, endMs, true) : [];
  const seen = [...points, ...steps].flatMap((p) => (p.y === null ? [] : [p.y]));
  if (seen.length === 0) return { line: "", set: "" };
  const highest = Math.max(...seen);
  const lowest = Math.min(...seen);
  const middle = (highest + lowest) / 2;
  const half = Math.max(highest - lowest, leastSpan, 1e-9) / 2;
  /** @param {number} t */
  const x = (t) => (((Math.max(t, beginMs) - beginMs) / (endMs - beginMs)) * WIDTH).toFixed(1);
  /** @param {number} v */
  const y = (v) => (HEIGHT / 2 - ((v - middle) / half) * (HEIGHT / 2 - MARGIN)).toFixed(1);

  let line = "";
  let penDown = false;
  for (const p of points) {
    if (p.y === null) penDown = false;
    else {
      line += `${penDown ? "L" : "M"}${x(p.t)} ${y(p.y)}`;
      penDown = true;
    }
  }
  let set = "";
  for (const p of steps) if (p.y !== null) set += set ? `H${x(p.t)}V${y(p.y)}` : `M${x(p.t)} ${y(p.y)}`;
  return { line, set: set ? `${set}H${WIDTH}` : "" };
}

/**
 * The mean of each bucket, so that the line shows the trend and not the noise; broken where nothing was read.
 * @param {{t: number, y: number|null}[]} points @param {number} bucketMs
 * @returns {{t: number, y: number|null}[]}
 */
function thinned(points, bucketMs) {
  const times = points.map((p) => p.t);
  /** @type {{t: number, y: number|null}[]} */
  const out = [];
  let [bucket, sum, count, sumT] = [NaN, 0, 0, 0];
  const flush = () => {
    if (count > 0) out.push({ t: sumT / count, y: sum / count });
    [sum, count, sumT] = [0, 0, 0];
  };
  points.forEach((p, i) => {
    const own = Math.floor(p.t / bucketMs);
    const broken = i > 0 && breaksAfter(times, i - 1);
    if (own !== bucket || broken || p.y === null) flush();
    if (broken || p.y === null) out.push({ t: p.t, y: null });
    bucket = own;
    if (p.y !== null) [sum, count, sumT] = [sum + p.y, count + 1, sumT + p.t];
  });
  flush();
  return out;
}

/**
 * @param {import("./series.js").Series} s @param {number} beginMs @param {number} endMs
 * @param {boolean} held also the last point before the begin, which holds until the next
 * @returns {{t: number, y: number|null}[]}
 */
function within(s, beginMs, endMs, held) {
  const out = [];
  for (let i = s.t.length - 1; i >= 0; i--) {
    if (s.t[i] > endMs) continue;
    if (s.t[i] < beginMs && !held) break;
    out.push({ t: s.t[i], y: figure(s.v[i]) });
    if (s.t[i] < beginMs) break;
  }
  return out.reverse();
}
