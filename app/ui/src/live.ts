import { EventSource } from "eventsource"; // the browser's built-in one cannot send a token
import { useEffect, useState } from "react";
import { ApiError, BASE, bearer, getSystem, type PublicSystem, type System } from "./api";

/** live: events arrive. polling: no events arrive, but the API answers requests. offline: the API does not respond. */
export type Connection = "connecting" | "live" | "polling" | "offline";

export interface Live {
  system: System | PublicSystem | null;
  /** The release that served when the page was loaded. The page belongs to that release. */
  loaded: string | null;
  connection: Connection;
}

/** The check interval: if no event has arrived since the last check, request the state. Events come every second. */
const WATCH_MILLISECONDS = 3000;

/**
 * Report the system state until the returned function is called: from the event stream, and by polling where the
 * stream does not get through. An EventSource reopens a stream that ends by itself, but gives up when the response is
 * an error, so this function opens a new stream then. If the token is refused, it continues without a token and
 * reports the public state.
 */
export function watchSystem(
  token: string,
  report: (connection: Connection, system?: System | PublicSystem) => void,
): () => void {
  const stop = new AbortController();
  let source: EventSource;
  let heard = false; // an event arrived since the last check
  let live = false; // an event arrived since the last error: further errors are not reported

  function open() {
    const headers = bearer(token);
    source = new EventSource(`${BASE}/events`, {
      fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, ...headers } }),
    });
    source.addEventListener("system", (event) => {
      heard = live = true;
      report("live", JSON.parse(event.data) as System | PublicSystem);
    });
    source.addEventListener("error", () => {
      if (live) report("connecting");
      heard = live = false;
      if (source.readyState === EventSource.CLOSED) void ask();
    });
  }

  async function ask() {
    try {
      const system = await getSystem(token, AbortSignal.any([stop.signal, AbortSignal.timeout(WATCH_MILLISECONDS)]));
      if (!heard) report("polling", system);
    } catch (error) {
      if (token && error instanceof ApiError && error.status === 401 && !stop.signal.aborted) {
        token = "";
        source.close();
        open();
      } else if (!heard && !stop.signal.aborted) report("offline");
    }
  }

  function look() {
    if (source.readyState === EventSource.CLOSED) open();
    if (!heard) void ask();
    heard = false;
  }

  open();
  const timer = setInterval(look, WATCH_MILLISECONDS);
  return () => {
    clearInterval(timer);
    stop.abort();
    source.close();
  };
}

/** Follow the system state that the token or session may see; start over when the token changes, and after a logout. */
export function useLive(token: string, loggedOut: boolean): Live {
  const [live, setLive] = useState<Live>({ system: null, loaded: null, connection: "connecting" });
  useEffect(
    () => watchSystem(token, (connection, system) => setLive((last) => next(last, connection, system))),
    [token, loggedOut],
  );
  return live;
}

function next(last: Live, connection: Connection, system = last.system): Live {
  return { connection, system, loaded: last.loaded ?? system?.release ?? null };
}
