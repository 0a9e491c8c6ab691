/**
 * The live connection of one bioreactor: subscribes, keeps the cursor, comes back after every loss and goes on from
 * where it was. Tells what arrives as events; knows nothing of how it is shown.
 *
 * Events: "message" (detail: the server's message), "up", "down" (detail: {sinceMs}), "refused" (detail: {reason}).
 */

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15000;
/** A bioreactor that is watched says something at least this often, or the line is taken as dead and made anew. */
const SILENCE_MS = 30000;
const POLICY_VIOLATION = 1008;

export class LiveSocket extends EventTarget {
  /** @type {WebSocket|null} */
  #socket = null;
  #attempts = 0;
  /** @type {number|undefined} */
  #retry;
  #lastHeardMs = Date.now();
  #closed = false;
  #wasUp = false;

  /**
   * @param {string} bioreactor id
   * @param {number} windowS seconds of history
   * @param {number} maxPoints points of history per tag
   */
  constructor(bioreactor, windowS, maxPoints) {
    super();
    this.bioreactor = bioreactor;
    this.windowS = windowS;
    this.maxPoints = maxPoints;
    /** @type {number|null} */
    this.cursor = null;
    addEventListener("online", () => this.#hurry());
    addEventListener("offline", () => this.#socket?.close());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#hurry();
    });
    setInterval(() => {
      if (this.#socket?.readyState === WebSocket.OPEN && Date.now() - this.#lastHeardMs > SILENCE_MS) this.#drop();
    }, 5000);
  }

  get isUp() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  open() {
    this.#closed = false;
    const url = new URL("/ws/live-data", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    this.#socket = socket;
    socket.addEventListener("open", () => {
      this.#lastHeardMs = Date.now();
      this.#subscribe();
    });
    socket.addEventListener("message", (event) => {
      if (socket === this.#socket) this.#hear(JSON.parse(event.data));
    });
    socket.addEventListener("close", (event) => {
      if (socket === this.#socket) this.#lost(event);
    });
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#socket?.close();
  }

  /** Asks for the whole window anew. @param {number} [windowS] */
  refetch(windowS = this.windowS) {
    this.windowS = windowS;
    this.cursor = null;
    if (this.isUp) this.#subscribe();
  }

  #subscribe() {
    this.#socket?.send(
      JSON.stringify({
        type: "subscribe",
        bioreactor: this.bioreactor,
        window_s: this.windowS,
        max_points: this.maxPoints,
        cursor: this.cursor,
      }),
    );
  }

  /** @param {any} message */
  #hear(message) {
    this.#lastHeardMs = Date.now();
    if (typeof message.cursor === "number") this.cursor = message.cursor;
    if (message.type === "history" && !this.#wasUp) {
      this.#wasUp = true;
      this.#attempts = 0;
      this.dispatchEvent(new CustomEvent("up"));
    }
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
  }

  /** @param {CloseEvent} event */
  #lost(event) {
    this.#socket = null;
    this.#wasUp = false;
    if (this.#closed) return;
    if (event.code === POLICY_VIOLATION) {
      this.#closed = true;
      this.dispatchEvent(new CustomEvent("refused", { detail: { reason: event.reason } }));
      return;
    }
    this.dispatchEvent(new CustomEvent("down", { detail: { sinceMs: this.#lastHeardMs } }));
    const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#attempts++);
    this.#retry = setTimeout(() => this.open(), wait * (0.5 + Math.random() / 2));
  }

  /** A line that is open but silent: leave it without waiting for its end. */
  #drop() {
    const dead = this.#socket;
    this.#socket = null;
    dead?.close();
    this.#lost(new CloseEvent("close", { code: 1006 }));
  }

  /** The network or the viewer is back: try now, not when the wait is over. */
  #hurry() {
    if (this.#closed || this.#socket) return;
    clearTimeout(this.#retry);
    this.#attempts = 0;
    this.open();
  }
}
