/**
 * The fleet page: says so when the cards can no longer be renewed. The ages go on by themselves (page.js), so that
 * what nobody renews goes stale.
 */

import { now } from "./age.js";
import { clock } from "./format.js";
import { notice } from "./notices.js";

let renewedMs = now();

document.addEventListener("htmx:after:request", (event) => {
  const ctx = /** @type {CustomEvent} */ (event).detail.ctx;
  if (!(ctx?.sourceElement instanceof Element) || !ctx.sourceElement.hasAttribute("data-polled")) return;
  const status = ctx.response?.status;
  if (status === 200) {
    renewedMs = now();
    notice("connection");
  } else if (status === 401 || status === 403) {
    notice("connection", "You are signed out.", "Sign in again to see current values.", { href: "/app/login", text: "Sign in" });
  } else if (status !== undefined) {
    lost(`The server answered ${status}.`);
  }
});

document.addEventListener("htmx:error", (event) => {
  const source = /** @type {CustomEvent} */ (event).detail.ctx?.sourceElement;
  if (source instanceof Element && source.hasAttribute("data-polled")) lost("The server does not answer.");
});

/** @param {string} why */
function lost(why) {
  notice("connection", "Connection lost", `${why} Values are from ${clock(renewedMs)}; trying again.`);
}
