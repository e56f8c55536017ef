import { useEffect, useState } from "react";
import { clientOf, content, type Me } from "./api";

/** In the session storage: closing the tab deletes the token. */
const TOKEN_KEY = "ppm.token";

export interface Access {
  token: string;
  /** The logged-in user; null while unknown, or when no user has logged in. */
  me: Me | null;
  /** Whether there is a token or a session to call the API with. */
  open: boolean;
  /** Whether the user has logged out here: data that was loaded with the session must be loaded again without it. */
  loggedOut: boolean;
  keep: (token: string) => void;
  logOut: () => Promise<void>;
}

/** This browser's API credentials, if any: a token that the user typed in, or a login session. */
export function useAccess(login: boolean): Access {
  const [token, setToken] = useState(() => sessionStorage.getItem(TOKEN_KEY) ?? "");
  const [me, setMe] = useState<Me | null>(null);
  const [loggedOut, setLoggedOut] = useState(false);

  useEffect(() => {
    if (!login) return;
    const stop = new AbortController();
    content(clientOf("").GET("/me", { signal: stop.signal }))
      .then(setMe)
      .catch(() => setMe(null)); // no user has logged in
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
