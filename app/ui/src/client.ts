import { createContext, use } from "react";
import { type Client, clientOf } from "./api";

interface Context {
  client: Client;
  /** Changes when the data may have changed; part of the query keys. */
  news: string;
}

export const ClientContext = createContext<Context>({ client: clientOf(""), news: "" });

export const useClient = (): Context => use(ClientContext);
