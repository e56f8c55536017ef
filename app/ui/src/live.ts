import { useEffect, useState } from "react";
import { BASE, getSystem, type System } from "./api";

/** live: events arrive. polling: they do not, but the API answers when asked. offline: it does not answer. */
export type Connection = "connecting" | "live" | "polling" | "offline";

export interface Live {
  system: System | null;
  /** The release that served when the page was loaded; the page is of that release. */
  loaded: string | null;
  connection: Connection;
}

/** Every so often: no event since the last look means asking. Events come every second. */
const WATCH_MILLISECONDS = 3000;

/**
 * Report the state of the whole until the returned function is called: from the stream of events, and by
 * asking for it where the stream does not get through. The browser reopens a stream that ends by itself,
 * but gives up on one that was answered with an error, so that one is opened anew here.
 */
export function watchSystem(report: (connection: Connection, system?: System) => void): () => void {
  const stop = new AbortController();
  let source: EventSource;
  let heard = false; // since the last look
  let live = false; // since the last error: those that follow change nothing

  function open() {
    source = new EventSource(`${BASE}/events`);
    source.addEventListener("system", (event) => {
      heard = live = true;
      report("live", JSON.parse(event.data) as System);
    });
    source.addEventListener("error", () => {
      if (live) report("connecting");
      heard = live = false;
      if (source.readyState === EventSource.CLOSED) void ask();
    });
  }

  async function ask() {
    try {
      const system = await getSystem(AbortSignal.any([stop.signal, AbortSignal.timeout(WATCH_MILLISECONDS)]));
      if (!heard) report("polling", system);
    } catch {
      if (!heard && !stop.signal.aborted) report("offline");
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

export function useLive(): Live {
  const [live, setLive] = useState<Live>({ system: null, loaded: null, connection: "connecting" });
  useEffect(() => watchSystem((connection, system) => setLive((last) => next(last, connection, system))), []);
  return live;
}

function next(last: Live, connection: Connection, system = last.system): Live {
  return { connection, system, loaded: last.loaded ?? system?.release ?? null };
}
