// The live socket: the newest figures as they change. It reconnects by itself, and each connection begins with the
// current figures, so nothing of the latest state is lost in between.

import { token } from "./client.js";

const PROTOCOL = "analytics.live.v1";
const RETRY_MS = [500, 1_000, 2_000, 5_000, 10_000];
// The server says something every 15 seconds: when it has not for so long, the connection is dead.
const SILENCE_MS = 40_000;
const CLOSED = { unauthorised: 4401, unknownCompany: 4404 };

/**
 * Keep a socket open for a company (null: all of them), a currency and a time zone.
 *
 * `onFigures` gets each message of figures, `onState` "connecting", "on", "off", and `onSignedOut` is called when the
 * token is not valid any more. Returns a function that ends it.
 */
export function connectLive({ companyId, currency, timeZone, onFigures, onState, onSignedOut }) {
  let socket = null;
  let failures = 0;
  let silence = null;
  let retry = null;
  let ended = false;

  const heard = () => {
    clearTimeout(silence);
    silence = setTimeout(() => socket.close(), SILENCE_MS);
  };

  const open = () => {
    clearTimeout(retry);
    onState("connecting");
    const address = new URL("analytics/live", document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    if (companyId !== null) address.searchParams.set("companyId", companyId);
    if (currency) address.searchParams.set("currency", currency);
    if (timeZone) address.searchParams.set("timeZone", timeZone);
    address.searchParams.set("numbers", "string");
    // The token travels as a sub-protocol: an address is written into logs and histories.
    socket = new WebSocket(address, [PROTOCOL, `bearer.${token.get()}`]);
    socket.addEventListener("message", ({ data }) => {
      heard();
      failures = 0;
      const message = JSON.parse(data);
      if (message.type !== "figures") return;
      onState("on");
      onFigures(message);
    });
    socket.addEventListener("close", ({ code }) => {
      clearTimeout(silence);
      if (ended) return;
      onState("off");
      if (code === CLOSED.unauthorised) return onSignedOut();
      if (code === CLOSED.unknownCompany) return;
      const wait = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)];
      failures += 1;
      // Not all pages at the same instant, when a server comes back.
      retry = setTimeout(open, wait * (0.5 + Math.random()));
    });
    heard();
  };

  const online = () => {
    if (socket.readyState === WebSocket.CLOSED) open();
  };

  open();
  addEventListener("online", online);
  return () => {
    ended = true;
    removeEventListener("online", online);
    clearTimeout(retry);
    clearTimeout(silence);
    socket.close();
    onState("off");
  };
}
