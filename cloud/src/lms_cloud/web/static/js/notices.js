/**
 * Banners above the values: one for each cause, replaced when it changes, gone when it is over.
 */

/**
 * Shows, changes or (with no title) removes the banner of one cause.
 * @param {string} cause such as "connection"
 * @param {string} [title] what happened
 * @param {string} [text] what it means, and what to do
 * @param {{href: string, text: string}} [link] where to go
 */
export function notice(cause, title, text = "", link) {
  const place = document.querySelector("[data-notices]");
  const template = /** @type {HTMLTemplateElement|null} */ (document.getElementById("notice-template"));
  if (!place || !template) return;
  let banner = place.querySelector(`[data-cause="${cause}"]`);
  if (!title) {
    banner?.remove();
    return;
  }
  if (!banner) {
    banner = /** @type {HTMLElement} */ (template.content.firstElementChild?.cloneNode(true));
    banner.setAttribute("data-cause", cause);
    place.append(banner);
  }
  write(banner.querySelector("[data-part=title]"), title);
  const body = banner.querySelector("[data-part=text]");
  write(body, text);
  if (link && body && !body.querySelector("a")) {
    const anchor = document.createElement("a");
    anchor.href = link.href;
    anchor.textContent = link.text;
    body.append(" ", anchor);
  }
}

/** Writes only what changed: a screen reader says a banner once. @param {Element|null} element @param {string} text */
function write(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}
