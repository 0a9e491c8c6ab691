/**
 * What every page does: ages and clock tick, times are shown in the viewer's zone, polling rests while nobody looks.
 */

import { now, renewAges, setServerTime } from "./age.js";
import { clock, day, utc, zone } from "./format.js";

setServerTime(Number(document.body.dataset.serverNowMs));

/** Turns the server's UTC texts into the viewer's zone; UTC stays on hover. @param {ParentNode} root */
function localise(root) {
  for (const element of root.querySelectorAll("time[data-clock], time[data-date]")) {
    const atMs = Date.parse(element.getAttribute("datetime") ?? "");
    if (Number.isNaN(atMs)) continue;
    element.textContent = element.hasAttribute("data-date") || now() - atMs > 86400000 ? day(atMs) : clock(atMs);
  }
}

function tickClock() {
  const wall = document.querySelector("[data-wall-clock]");
  const time = wall?.querySelector("time");
  const zoneText = wall?.querySelector(".wall-clock-zone");
  if (!time || !zoneText) return;
  const nowMs = now();
  time.textContent = clock(nowMs);
  time.title = utc(nowMs);
  zoneText.textContent = zone(nowMs);
}

function tick() {
  if (document.visibilityState === "hidden") return;
  renewAges(document);
  tickClock();
}

localise(document);
tick();
setInterval(tick, 1000);
document.addEventListener("visibilitychange", tick);
document.addEventListener("htmx:after:swap", () => {
  localise(document);
  renewAges(document);
});
document.addEventListener("htmx:config:request", (event) => {
  const request = /** @type {CustomEvent} */ (event).detail.ctx?.request;
  if (document.visibilityState === "hidden" && request?.method === "GET") event.preventDefault();
});

/** The account menu closes when one turns elsewhere. */
document.addEventListener("click", (event) => {
  const menu = /** @type {HTMLDetailsElement|null} */ (document.querySelector("details.account[open]"));
  if (menu && event.target instanceof Node && !menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  const menu = /** @type {HTMLDetailsElement|null} */ (document.querySelector("details.account[open]"));
  if (event.key === "Escape" && menu) menu.open = false;
});
