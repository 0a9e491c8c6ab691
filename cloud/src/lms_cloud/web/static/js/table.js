/**
 * The readings behind the trend as a table, for screen readers and for those who want figures.
 */

import { clock, day, number, utc, zone } from "./format.js";
import { lastUntil } from "./series.js";

const ROWS = 60;

/**
 * Fills `place` with a table: evenly spaced times, newest first; each value is the last one read until then.
 * @param {Element} place
 * @param {import("./chart.js").Trace[]} traces
 * @param {import("./readings.js").Readings} readings
 * @param {number} fromMs @param {number} toMs
 */
export function fillTable(place, traces, readings, fromMs, toMs) {
  const table = document.createElement("table");
  table.className = "data";
  const caption = table.createCaption();
  const step = Math.max(1000, Math.round((toMs - fromMs) / ROWS / 1000) * 1000);
  caption.textContent = `From ${day(fromMs)} ${clock(fromMs)} to ${day(toMs)} ${clock(toMs)} ${zone(toMs)}, one row each ${step / 1000} s, the last value read until then`;
  const head = table.createTHead().insertRow();
  head.append(heading("Time", "col"), ...traces.map((t) => heading(t.unit ? `${t.name} (${t.unit})` : t.name, "col", "number")));
  const body = table.createTBody();
  for (let at = toMs; at >= fromMs; at -= step) {
    const row = body.insertRow();
    const time = heading(clock(at), "row");
    time.title = utc(at);
    row.append(time);
    for (const trace of traces) {
      const series = readings.of(trace.name);
      const i = lastUntil(series, at);
      const held = i >= 0 && (trace.style === "steps" || at - series.t[i] <= Math.max(15000, 2 * step));
      const cell = row.insertCell();
      cell.className = "number";
      cell.textContent = number(held ? series.v[i] : null, trace.decimals);
    }
  }
  place.replaceChildren(table);
}

/** @param {string} text @param {"col"|"row"} scope @param {string} [kind] @returns {HTMLTableCellElement} */
function heading(text, scope, kind = "") {
  const th = document.createElement("th");
  th.className = kind;
  th.scope = scope;
  th.textContent = text;
  return th;
}
