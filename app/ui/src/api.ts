/** The HTTP API of ppm, as app/api/ serves it. */

export const BASE = (import.meta.env.VITE_API_BASE_URL || "/api").replace(/\/$/, "");

export interface Project {
  id: number;
  name: string;
  url: string;
  created_at: string;
  scanned_at: string | null;
  scan_error: string | null;
  last_commit: string | null;
  last_commit_at: string | null;
  commits: number | null;
  contributors: number | null;
}

export interface Page {
  items: Project[];
  total: number;
  limit: number;
  offset: number;
}

export interface Run {
  job: string;
  project_id: number | null;
  release: string;
  started_at: string;
  finished_at: string;
  outcome: string;
}

export interface Worker {
  name: string;
  release: string;
  since: string;
  heartbeat: string;
  alive: boolean;
  standby: boolean;
}

export interface System {
  release: string;
  since: string;
  database: { revision: string | null; head: string };
  projects: number;
  /** The one that works; if none does, the one that gave the last sign of life. */
  worker: Worker | null;
  /** All that live: two, while one takes over from the other. A release that is rolled back to may not name them. */
  workers?: Worker[];
  runs: Run[];
}

/** What went wrong, in words for people: the `detail` of a problem document (RFC 9457) where there is one. */
export class ApiError extends Error {
  /** The HTTP status, or 0 when no answer came. */
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

async function send(path: string, token?: string, init?: RequestInit): Promise<Response> {
  const headers = new Headers(init?.headers);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  let response: Response;
  try {
    response = await fetch(BASE + path, { ...init, headers });
  } catch (error) {
    if (init?.signal?.aborted) throw error;
    throw new ApiError(0, "The API does not answer. Is the network up?");
  }
  if (!response.ok) throw new ApiError(response.status, await detail(response));
  return response;
}

async function detail(response: Response): Promise<string> {
  const fallback = `The API answered ${response.status} ${response.statusText}`.trim();
  if (!response.headers.get("Content-Type")?.includes("json")) return fallback; // a proxy's own page
  const problem = (await response.json().catch(() => null)) as { detail?: unknown } | null;
  return typeof problem?.detail === "string" ? problem.detail : fallback;
}

export async function getSystem(signal: AbortSignal): Promise<System> {
  return (await send("/system", undefined, { signal })).json() as Promise<System>;
}

export async function listProjects(
  token: string,
  limit: number,
  offset: number,
  signal: AbortSignal,
): Promise<Page> {
  return (await send(`/projects?limit=${limit}&offset=${offset}`, token, { signal })).json() as Promise<Page>;
}

export async function addProject(token: string, project: { url: string; name?: string }): Promise<Project> {
  const response = await send("/projects", token, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(project),
  });
  return response.json() as Promise<Project>;
}

export async function deleteProject(token: string, id: number): Promise<void> {
  await send(`/projects/${id}`, token, { method: "DELETE" });
}
