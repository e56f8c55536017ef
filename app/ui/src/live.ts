import { EventSource } from "eventsource"; // the browser's own sends no token
import { useEffect, useState } from "react";
import { ApiError, BASE, bearer, getSystem, type PublicSystem, type System } from "./api";

/** live: events arrive. polling: they do not, but the API answers when asked. offline: it does not answer. */
export type Connection = "connecting" | "live" | "polling" | "offline";

export interface Live {
  system: System | PublicSystem | null;
  /** The release that served when the page was loaded; the page is of that release. */
  loaded: string | null;
  connection: Connection;
}

/** Every so often: no event since the last look means asking. Events come every second. */
const WATCH_MILLISECONDS = 3000;

/**
 * Report the state of the whole until the returned function is called: from the stream of events, and by
 * asking for it where the stream does not get through. An EventSource reopens a stream that ends by itself,
 * but gives up on one that was answered with an error, so that one is opened again here. A token that is
 * refused is left out: what is public is told without.
 */
export function watchSystem(
  token: string,
  report: (connection: Connection, system?: System | PublicSystem) => void,
): () => void {
  const stop = new AbortController();
  let source: EventSource;
  let heard = false; // since the last look
  let live = false; // since the last error: those that follow change nothing

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

/** Follow what the API tells of itself to a token or a session; it is asked again for another token, and after a logout. */
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
