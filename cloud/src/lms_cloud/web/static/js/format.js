/**
 * Numbers and times as a person reads them; says the same as pages/wording.py on the server.
 * Times are ms UTC; they are shown in the viewer's zone.
 */

export const ABSENT = "–";

/**
 * Writes one value with the precision of its instrument.
 * @param {number|string|boolean|null|undefined} value
 * @param {number|null} [decimals] digits after the point; null gives four significant ones
 * @returns {string}
 */
export function number(value, decimals = null) {
  if (value === null || value === undefined) return ABSENT;
  if (typeof value === "boolean") return value ? "on" : "off";
  if (typeof value === "string") return value;
  if (!Number.isFinite(value)) return ABSENT;
  let text = decimals === null ? significant(value) : value.toFixed(decimals);
  if (Number(text) === 0) text = text.replace("-", "");
  return text.replace("-", "−");
}

/** @param {number} value @returns {string} */
function significant(value) {
  if (value === 0 || Number.isInteger(value)) return String(value);
  const digits = Math.min(12, Math.max(0, 3 - Math.floor(Math.log10(Math.abs(value)))));
  const text = value.toFixed(digits);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

/**
 * Says a span of time: "35 s", "12 min", "3 h 20 min", "5 d 4 h".
 * @param {number} spanMs
 * @returns {string}
 */
export function age(spanMs) {
  const seconds = Math.max(0, Math.floor(spanMs / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** @param {number} n @param {number} [width] @returns {string} */
function pad(n, width = 2) {
  return String(n).padStart(width, "0");
}

/** Time of day in the viewer's zone, "14:03:22". @param {number} atMs @returns {string} */
export function clock(atMs) {
  const d = new Date(atMs);
  return `${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}`;
}

/** Day in the viewer's zone, "2026-11-23". @param {number} atMs @returns {string} */
export function day(atMs) {
  const d = new Date(atMs);
  return `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())}`;
}

/** Day and time in UTC, saying so. @param {number} atMs @returns {string} */
export function utc(atMs) {
  return `${new Date(atMs).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** The viewer's zone as one says it: "CET", or "GMT+1". @param {number} atMs @returns {string} */
export function zone(atMs) {
  const parts = new Intl.DateTimeFormat("en-GB", { timeZoneName: "short" }).formatToParts(new Date(atMs));
  return parts.find((part) => part.type === "timeZoneName")?.value ?? "";
}
