/** The ppm HTTP API, typed by its OpenAPI description: `npm run types` makes schema.d.ts from openapi.json. */

import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

export const BASE = (import.meta.env.VITE_API_BASE_URL || "/api").replace(/\/$/, "");

type Schemas = components["schemas"];
export type Project = Schemas["ProjectOut"];
export type ProjectDetail = Schemas["ProjectDetail"];
export type NewProject = Schemas["NewProject"];
export type Change = Schemas["Change"];
export type Page = Schemas["ProjectPage"];
export type Scan = Schemas["ScanOut"];
export type Run = Schemas["RunOut"];
export type Worker = Schemas["WorkerOut"];
export type Certificate = Schemas["CertificateOut"];
export type Backups = Schemas["BackupsOut"];
export type Deploy = Schemas["DeployOut"];
/** After a rollback, an older release may not report all fields. */
export type System = Omit<Schemas["SystemOut"], Newer> & Partial<Pick<Schemas["SystemOut"], Newer>>;
/** The fields that are public without a login. */
export type PublicSystem = Pick<System, "release" | "login">;
type Newer = "workers" | "color" | "disk_free_bytes" | "disk_bytes" | "login" | "certificate" | "backups" | "deploys";
export type Me = Schemas["MeOut"];
export type Sort = NonNullable<NonNullable<paths["/api/projects"]["get"]["parameters"]["query"]>["sort"]>;

/** The paths relative to BASE. */
type Below = { [Path in keyof paths as Path extends `/api${infer Rest}` ? Rest : never]: paths[Path] };

/** An error with a message for the user: the `detail` of a problem document (RFC 9457) if there is one. */
export class ApiError extends Error {
  /** The HTTP status, or 0 when there was no response. */
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export type Client = ReturnType<typeof clientOf>;

export function bearer(token: string): Record<string, string> {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** Return a client that sends a token with each request. */
export function clientOf(token: string) {
  return createClient<Below>({
    baseUrl: new URL(BASE, location.href).href,
    headers: bearer(token),
    fetch: (request) => fetch(request), // looked up at each call, because tests replace it
  });
}

/** Given a pending response, return its content. Throws an ApiError when it fails or never arrives. */
export async function content<T>(pending: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  let answer: Awaited<typeof pending>;
  try {
    answer = await pending;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "The API is not responding. Check your network connection.");
  }
  const { data, error, response } = answer;
  if (!response.ok) throw new ApiError(response.status, detail(error, response));
  return data as T;
}

function detail(problem: unknown, response: Response): string {
  if (typeof problem === "object" && problem !== null && "detail" in problem && typeof problem.detail === "string") {
    return problem.detail;
  }
  return `The API responded with ${response.status} ${response.statusText}`.trim(); // an error page of a proxy
}

export function getSystem(token: string, signal: AbortSignal): Promise<System | PublicSystem> {
  return content(clientOf(token).GET("/system", { signal }));
}

/** Given the reported state, return it if it is the full state; null if it is the public part only. */
export function whole(system: System | PublicSystem | null): System | null {
  return system && "database" in system ? system : null;
}
