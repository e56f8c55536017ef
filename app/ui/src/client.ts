import { createContext, use } from "react";
import { type Client, clientOf } from "./api";

interface Given {
  client: Client;
  /** Changes when there may be something new to see. */
  news: string;
}

export const ClientContext = createContext<Given>({ client: clientOf(""), news: "" });

export const useClient = (): Given => use(ClientContext);
