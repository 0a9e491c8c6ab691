/**
 * The bioreactor page: joins the live connection to the tiles and the trend.
 * The reading's way ends here: ingest → commit → live → /ws/live-data → this page.
 */

import { now, setServerTime } from "./age.js";
import { clock } from "./format.js";
import { fetchHistory, tellBehind } from "./history.js";
import { notice } from "./notices.js";
import { Readings } from "./readings.js";
import { LiveSocket } from "./socket.js";
import { Tiles } from "./tiles.js";
import { Trend } from "./trend.js";

const MAX_POINTS = 900;
/** Live points are added to a thinned history until they are as many as this, then it is fetched anew, thinned. */
const APPENDED_LIMIT = 60000;
const LATE_WAIT_MS = 1500;
/** Up to here the history holds enough of the last minutes for the tiles. */
const FINE_WINDOW_S = 3600;
/** The tiles draw ten minutes, whatever the trend shows. */
const LEAST_KEPT_MS = 11 * 60 * 1000;

const page = /** @type {HTMLElement} */ (document.querySelector("[data-bioreactor]"));
const bioreactor = page.dataset.bioreactor ?? "";
const current = document.querySelector("[data-window-choice][aria-current]");
const windowS = Number(current?.getAttribute("data-window-s") ?? 900);
const chosen = (page.dataset.tags ?? "").split(",").filter((name) => name !== "");

const readings = new Readings();
const tiles = new Tiles(page, readings);
const trendRoot = /** @type {HTMLElement|null} */ (page.querySelector(".trend"));
const trend = trendRoot ? new Trend(trendRoot, readings, chosen, windowS) : null;
const socket = new LiveSocket(bioreactor, windowS, MAX_POINTS);

/** @type {number|undefined} */
let lateTimer;
/** For how long readings of the live window have waited to be counted in; what is zoomed into tells its own. @type {number|null} */
let windowBehindS = null;

/** @param {any} message */
function takeHistory(message) {
  if (message.reset) setServerTime(message.to_ms);
  readings.takeHistory(message);
  if (message.reset) {
    windowBehindS = message.rollups_behind_s;
    if (!trend?.isZoomed) tellBehind(windowBehindS);
  }
  if (!tiles.cover(message.tags)) newTags();
  trend?.retrace();
  show();
  if (socket.windowS > FINE_WINDOW_S) fetchLastMinutes();
}

/** Long windows come thinned; the tiles' lines want the last minutes as they were read. */
async function fetchLastMinutes() {
  const nowMs = now();
  const fine = await fetchHistory(bioreactor, tiles.names, nowMs - LEAST_KEPT_MS, nowMs, MAX_POINTS);
  if (!fine) return;
  readings.takeAll(fine);
  tiles.tick();
}

function show() {
  tiles.show(readings.takeChanged());
  tiles.tick();
  trend?.draw();
}

/** Late readings have been committed: fetch the window again, once for all that come together. @param {any} message */
function takeLate(message) {
  if (message.to_ms < now() - socket.windowS * 1000 || lateTimer !== undefined) return;
  lateTimer = setTimeout(() => {
    lateTimer = undefined;
    socket.refetch();
  }, LATE_WAIT_MS);
}

/** @param {any} message */
function hear(message) {
  if (message.bioreactor !== undefined && message.bioreactor !== bioreactor) return;
  switch (message.type) {
    case "history":
      takeHistory(message);
      break;
    case "live":
      readings.takeLive(message.readings);
      tiles.show(readings.takeChanged());
      trend?.draw();
      if (readings.appended > APPENDED_LIMIT) socket.refetch();
      break;
    case "late":
      takeLate(message);
      break;
    case "alive":
      setServerTime(message.at_ms);
      break;
    case "status":
      document.getElementById("reactor-status")?.dispatchEvent(new CustomEvent("status-changed"));
      break;
    case "error":
      notice("live", message.title ?? "The live values cannot be shown.", message.detail ?? "");
      break;
    default:
      break;
  }
}

/** The agent has told of tags that this page does not know: the server draws the tiles anew. */
function newTags() {
  document.getElementById("tag-tiles")?.dispatchEvent(new CustomEvent("tags-changed"));
}

socket.addEventListener("message", (event) => hear(/** @type {CustomEvent} */ (event).detail));
socket.addEventListener("up", () => {
  notice("connection");
  notice("live");
});
socket.addEventListener("down", (event) => {
  const { sinceMs } = /** @type {CustomEvent} */ (event).detail;
  notice("connection", "Connection lost", `Values are from ${clock(sinceMs)}. Trying again by itself; readings are kept by the agent meanwhile.`);
});
socket.addEventListener("refused", () => {
  notice("connection", "The live connection was refused.", "You may be signed out.", { href: `/app/login?next=${encodeURIComponent(location.pathname + location.search)}`, text: "Sign in again" });
});

trend?.addEventListener("traces", () => tiles.mark(trend.colours));
trend?.addEventListener("zoomed", async (event) => {
  const { from, to } = /** @type {CustomEvent} */ (event).detail;
  const fine = await fetchHistory(bioreactor, trend.chosen, from, to, MAX_POINTS);
  if (!fine || !trend.isZoomed || trend.view.from !== from) return;
  tellBehind(fine.behindS);
  trend.refine(fine);
});
trend?.addEventListener("live", () => tellBehind(windowBehindS));

page.addEventListener("click", (event) => {
  const target = /** @type {Element} */ (event.target);
  const pick = target.closest(".tile-pick");
  if (pick) trend?.choose(Tiles.tagsAround(pick), pick.getAttribute("aria-pressed") !== "true");
  const choice = target.closest("[data-window-choice]");
  if (!choice || /** @type {MouseEvent} */ (event).ctrlKey || /** @type {MouseEvent} */ (event).metaKey) return;
  event.preventDefault();
  const seconds = Number(choice.getAttribute("data-window-s"));
  trend?.setWindow(choice.getAttribute("data-window-choice") ?? "", seconds);
  socket.refetch(seconds);
});

document.addEventListener("htmx:after:swap", () => {
  tiles.bind();
  tiles.show(new Set(readings.tags.keys()));
  if (trend) tiles.mark(trend.colours);
});

setInterval(() => {
  readings.forgetBefore(now() - Math.max(LEAST_KEPT_MS, socket.windowS * 1000));
  show();
}, 1000);

socket.open();

const asked = new URL(location.href).searchParams;
const [from, to] = [Date.parse(asked.get("from") ?? ""), Date.parse(asked.get("to") ?? "")];
if (trend && to > from) trend.zoom(from, to);
