/**
 * Readings of a past interval over REST, finer than the window that the live connection gave; for the zoom.
 */

import { Readings } from "./readings.js";

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
    return readings;
  } catch {
    return null;
  }
}
