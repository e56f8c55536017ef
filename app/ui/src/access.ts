import { useEffect, useState } from "react";
import { clientOf, content, type Me } from "./api";

/** For this tab only: a token that was typed in is gone when the tab is. */
const TOKEN_KEY = "ppm.token";

export interface Access {
  token: string;
  /** Who has logged in; null while that is not known, or when nobody has. */
  me: Me | null;
  /** Whether there is anything to ask the API with. */
  open: boolean;
  /** Whether a session has ended here: what it was told is to be asked for again, without. */
  loggedOut: boolean;
  keep: (token: string) => void;
  logOut: () => Promise<void>;
}

/** What this browser may ask the API with: a token that was typed in, or the session of a login, if there are such. */
export function useAccess(login: boolean): Access {
  const [token, setToken] = useState(() => sessionStorage.getItem(TOKEN_KEY) ?? "");
  const [me, setMe] = useState<Me | null>(null);
  const [loggedOut, setLoggedOut] = useState(false);

  useEffect(() => {
    if (!login) return;
    const stop = new AbortController();
    content(clientOf("").GET("/me", { signal: stop.signal }))
      .then(setMe)
      .catch(() => setMe(null)); // nobody has logged in
    return () => stop.abort();
  }, [login]);

  function keep(value: string) {
    if (value) sessionStorage.setItem(TOKEN_KEY, value);
    else sessionStorage.removeItem(TOKEN_KEY);
    setToken(value);
  }

  async function logOut() {
    await content(clientOf("").POST("/logout"));
    setMe(null);
    setLoggedOut(true);
  }

  return { token, me, open: token !== "" || me !== null, loggedOut, keep, logOut };
}
