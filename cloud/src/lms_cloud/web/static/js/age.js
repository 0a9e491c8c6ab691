/**
 * What time it is for the server, and what is old by it. Works without any connection: a value that nobody renews
 * goes stale before the viewer's eyes. Used by page.js (ages on every page) and tiles.js.
 */

import { age } from "./format.js";

/** Below this the two clocks are taken as equal: the difference is the way of the page, not of the clocks. */
const CLOCK_TOLERANCE_MS = 2000;

let offsetMs = 0;

/** Learns the server's time from something just received. @param {number} serverMs */
export function setServerTime(serverMs) {
  const difference = serverMs - Date.now();
  offsetMs = Math.abs(difference) > CLOCK_TOLERANCE_MS ? difference : 0;
}

/** The server's time by the viewer's clock, ms UTC. @returns {number} */
export function now() {
  return Date.now() + offsetMs;
}

/**
 * The state of a latest reading, worst first; the same rule as `judge` in pages/measurements.py.
 * @param {{takenAtMs: number|null, value: number|string|boolean|null, quality: number}} latest
 * @param {{low: number|null, high: number|null}} limits
 * @param {number} staleAfterMs
 * @param {number} nowMs
 * @returns {{state: "fresh"|"stale"|"absent"|"outside"|"doubtful", flag: string}}
 */
export function judge(latest, limits, staleAfterMs, nowMs) {
  if (latest.takenAtMs === null) return { state: "absent", flag: "no reading" };
  const old = nowMs - latest.takenAtMs;
  if (old > staleAfterMs) return { state: "stale", flag: `stale ${age(old)}` };
  if (latest.value === null || latest.quality === 0) return { state: "absent", flag: "no reading" };
  if (latest.quality === 500) return { state: "stale", flag: "stale" };
  if (typeof latest.value === "number") {
    if (limits.high !== null && latest.value > limits.high) return { state: "outside", flag: "above range" };
    if (limits.low !== null && latest.value < limits.low) return { state: "outside", flag: "below range" };
  }
  if (latest.quality === 64) return { state: "doubtful", flag: "uncertain" };
  return { state: "fresh", flag: "" };
}

/**
 * Renews every told age below `root`, and marks what the server drew as fresh but nobody renewed since.
 * @param {ParentNode} root
 */
export function renewAges(root) {
  const nowMs = now();
  for (const element of root.querySelectorAll("[data-since-ms]")) {
    element.textContent = age(nowMs - Number(element.getAttribute("data-since-ms")));
  }
  for (const element of root.querySelectorAll("[data-stale-after-s]:not([data-live])")) {
    const takenAt = element.getAttribute("data-taken-at-ms");
    if (!takenAt) continue;
    const old = nowMs - Number(takenAt);
    if (old <= Number(element.getAttribute("data-stale-after-s")) * 1000) continue;
    element.classList.remove("is-absent", "is-outside", "is-doubtful");
    element.classList.add("is-stale");
    const flag = element.querySelector("[data-part=flag]");
    if (flag) flag.textContent = `stale ${age(old)}`;
  }
}
