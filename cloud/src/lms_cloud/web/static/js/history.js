/**
 * Readings of a past interval over REST, finer than the window that the live connection gave; for the zoom.
 */

import { notice } from "./notices.js";
import { Readings } from "./readings.js";

/**
 * Says that the trend may lack readings that are stored, or that it does no longer.
 * @param {number|null|undefined} seconds for how long some have waited to be counted in
 */
export function tellBehind(seconds) {
  if (!seconds) return notice("behind");
  const minutes = Math.round(seconds / 60);
  const age = minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
  return notice("behind", "The trend may lack readings.", `All are stored, but some of this time have waited for ${age} to be summed up. It fills in by itself; zoom in to see every reading.`);
}

/**
 * @param {string} bioreactor id
 * @param {string[]} tags names
 * @param {number} fromMs @param {number} toMs
 * @param {number} maxPoints per tag
 * @returns {Promise<Readings|null>} null where the server gives none; what is on view stays then
 */
export async function fetchHistory(bioreactor, tags, fromMs, toMs, maxPoints) {
  if (tags.length === 0) return null;
  const query = new URLSearchParams({
    tags: tags.join(","),
    start: new Date(fromMs).toISOString(),
    end: new Date(toMs).toISOString(),
    max_points: String(maxPoints),
  });
  try {
    const answer = await fetch(`/api/v1/bioreactors/${bioreactor}/history?${query}`, { headers: { Accept: "application/json" } });
    if (!answer.ok) return null;
    const body = await answer.json();
    const readings = new Readings();
    /** @type {any} */
    const message = { tags: [], series: {}, reset: true };
    for (const series of body.series) {
      message.tags.push(series.tag);
      message.series[series.tag.id] = { t: series.taken_at_ms, v: series.value, q: series.quality ?? [], minimum: series.minimum, maximum: series.maximum };
    }
    readings.takeHistory(message);
    readings.behindS = body.rollups_behind_s;
    return readings;
  } catch {
    return null;
  }
}
