import { useState } from "react";
import { type Connection, useLive } from "./live";
import { Projects } from "./Projects";
import { SystemPanel } from "./SystemPanel";
import { NewToken, TokenForm } from "./TokenForm";

/** For this tab only: a token that was typed in is gone when the tab is. */
const TOKEN_KEY = "ppm.token";

const WORDS: Record<Connection, string> = {
  connecting: "connecting",
  live: "live",
  polling: "updates every few seconds",
  offline: "the API does not answer",
};

export function App() {
  const { system, loaded, connection } = useLive();
  const [token, setToken] = useState(() => sessionStorage.getItem(TOKEN_KEY) ?? "");

  function keep(value: string) {
    if (value) sessionStorage.setItem(TOKEN_KEY, value);
    else sessionStorage.removeItem(TOKEN_KEY);
    setToken(value);
  }

  return (
    <>
      <header>
        <h1>ppm</h1>
        <span className="release" title="release">
          {system?.release ?? "…"}
        </span>
        <span className={`indicator ${connection}`} role="status">
          {WORDS[connection]}
        </span>
      </header>
      <main>
        {system && system.release !== loaded && (
          <p className="notice" role="status">
            ppm was upgraded to release {system.release}.{" "}
            <button type="button" onClick={() => location.reload()}>
              Load its page
            </button>
          </p>
        )}
        <TokenForm token={token} onChange={keep} />
        {token ? (
          <Projects key={token} token={token} news={`${system?.projects} ${system?.runs[0]?.finished_at}`} />
        ) : (
          <section aria-labelledby="projects">
            <h2 id="projects">Projects</h2>
            <p>
              They are for those who have an API token. <NewToken />
            </p>
          </section>
        )}
        <SystemPanel system={system} connection={connection} />
      </main>
    </>
  );
}
