/** A test browser: fake API responses, a fake event stream, and helpers for user input. */

import { act, cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, vi } from "vitest";
import type { Project, ProjectDetail, PublicSystem, System, Worker } from "./api";
import { App } from "./App";

export const PROJECT: ProjectDetail = {
  id: 7,
  name: "ledger",
  url: "https://git.test/ledger.git",
  tags: ["money"],
  archived: false,
  created_at: "2026-01-01T00:00:00Z",
  scanned_at: "2026-01-01T00:01:00Z",
  scan_due_at: "2026-01-01T01:01:00Z",
  scan_error: null,
  last_commit: "0123456789abcdef0123456789abcdef01234567",
  last_commit_at: "2025-12-31T00:00:00Z",
  commits: 1234,
  contributors: 5,
  files: 10,
  size_bytes: 1536,
  todos: 3,
  language: "Python",
  license: "MIT",
  activity: [0, 2, 1],
  languages: { Python: 3, Shell: 1 },
  manifests: ["pyproject.toml"],
};

export const WORKER: Worker = {
  name: "w",
  release: "r1",
  since: "2026-01-01T00:00:00Z",
  heartbeat: new Date().toISOString(),
  alive: true,
  standby: false,
};

export const SYSTEM: System = {
  release: "r1",
  since: "2026-01-01T00:00:00Z",
  color: "blue",
  login: true,
  disk_free_bytes: 2 ** 30,
  database: { revision: "0001", head: "0001" },
  projects: 1,
  worker: WORKER,
  workers: [WORKER],
  runs: [],
  disk_bytes: 2 ** 32,
  certificate: null,
  backups: null,
  deploys: [],
};

type StreamInit = { fetch: (url: URL, init: { headers: Record<string, string> }) => Promise<Response> };

vi.mock("eventsource", () => ({
  EventSource: class {
    static readonly CLOSED = 2;

    constructor(url: string, init: StreamInit) {
      return new Stream(url, init);
    }
  },
}));

/** A fake event stream that a test controls. */
export class Stream extends EventTarget {
  static last: Stream;
  readyState = 1;

  constructor(readonly url: string, private readonly init: StreamInit) {
    super();
    Stream.last = this;
  }

  /** Return the request headers that the stream is opened with. */
  async headers(): Promise<Headers> {
    let sent = new Headers();
    api[`GET ${this.url}`] = (request) => [200, void (sent = request.headers)];
    await this.init.fetch(new URL(this.url, location.href), { headers: { Accept: "text/event-stream" } });
    return sent;
  }

  send(system: System | PublicSystem) {
    act(() => void this.dispatchEvent(new MessageEvent("system", { data: JSON.stringify(system) })));
  }

  break() {
    this.readyState = 2;
    act(() => void this.dispatchEvent(new Event("error")));
  }

  close() {
    this.readyState = 2;
  }
}

type Answer = [status: number, body?: unknown];
/** The API's responses by "METHOD path"; any other request is a network error. Each test fills it. */
export const api: Record<string, Answer | ((request: Request) => Answer | Promise<Answer>)> = {};

async function answer(input: Request | URL, init?: RequestInit): Promise<Response> {
  const request = new Request(input, init);
  const { pathname, search } = new URL(request.url);
  const route = api[`${request.method} ${pathname}${search}`];
  if (!route) throw new TypeError("no route");
  const [status, body] = typeof route === "function" ? await route(request) : route;
  const type = status < 400 ? "application/json" : "application/problem+json";
  return new Response(body === undefined ? null : JSON.stringify(body), { status, headers: { "Content-Type": type } });
}

export const FIRST_PAGE = "GET /api/projects?sort=created&archived=false&offset=0&limit=20";
export const page = (items: Project[], total = items.length, offset = 0): Answer => [
  200,
  { items, total, limit: 20, offset },
];

export function open({ token = "secret", path = "/" } = {}) {
  if (token) sessionStorage.setItem("ppm.token", token);
  history.replaceState(null, "", path);
  render(<App />);
}

export function type(label: string, value: string) {
  fireEvent.change(screen.getByLabelText(label), { target: { value } });
}

export const press = (name: string) => fireEvent.click(screen.getByRole("button", { name }));

beforeEach(() => {
  for (const path of Object.keys(api)) delete api[path];
  api["GET /api/tags"] = [200, [{ tag: "money", projects: 1 }]];
  history.replaceState(null, "", "/");
  // Browser APIs that the component library uses and jsdom lacks.
  vi.stubGlobal("matchMedia", () => ({ matches: false, addEventListener() {}, removeEventListener() {} }));
  vi.stubGlobal("ResizeObserver", class { observe() {} unobserve() {} disconnect() {} });
  vi.stubGlobal("fetch", answer);
});

afterEach(() => {
  cleanup();
  sessionStorage.clear();
  vi.unstubAllGlobals();
});
