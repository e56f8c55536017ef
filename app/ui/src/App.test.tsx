import { act, cleanup, fireEvent, render, screen, within } from "@testing-library/react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Project, ProjectDetail, System, Worker } from "./api";
import { App } from "./App";

const PROJECT: ProjectDetail = {
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

const WORKER: Worker = {
  name: "w",
  release: "r1",
  since: "2026-01-01T00:00:00Z",
  heartbeat: new Date().toISOString(),
  alive: true,
  standby: false,
};

const SYSTEM: System = {
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
};

/** The browser's stream of events, with a test at the other end. */
class Stream extends EventTarget {
  static readonly CLOSED = 2;
  static last: Stream;
  readyState = 1;

  constructor(readonly url: string) {
    super();
    Stream.last = this;
  }

  send(system: System) {
    act(() => void this.dispatchEvent(new MessageEvent("system", { data: JSON.stringify(system) })));
  }

  break() {
    this.readyState = Stream.CLOSED;
    act(() => void this.dispatchEvent(new Event("error")));
  }

  close() {
    this.readyState = Stream.CLOSED;
  }
}

type Answer = [status: number, body?: unknown];
/** What the API answers by "METHOD path"; anything else is a network error. Filled by each test. */
let api: Record<string, Answer | ((request: Request) => Answer | Promise<Answer>)>;

async function answer(request: Request): Promise<Response> {
  const { pathname, search } = new URL(request.url);
  const found = api[`${request.method} ${pathname}${search}`];
  if (!found) throw new TypeError("no route");
  const [status, body] = typeof found === "function" ? await found(request) : found;
  const type = status < 400 ? "application/json" : "application/problem+json";
  return new Response(body === undefined ? null : JSON.stringify(body), { status, headers: { "Content-Type": type } });
}

const FIRST_PAGE = "GET /api/projects?sort=created&archived=false&offset=0&limit=20";
const page = (items: Project[], total = items.length, offset = 0): Answer => [
  200,
  { items, total, limit: 20, offset },
];

function open({ token = "secret", path = "/" } = {}) {
  if (token) sessionStorage.setItem("ppm.token", token);
  history.replaceState(null, "", path);
  render(<App />);
}

function type(label: string, value: string) {
  fireEvent.change(screen.getByLabelText(label), { target: { value } });
}

const press = (name: string) => fireEvent.click(screen.getByRole("button", { name }));

beforeEach(() => {
  api = { "GET /api/tags": [200, [{ tag: "money", projects: 1 }]] };
  history.replaceState(null, "", "/");
  // What the component library asks of a browser, and jsdom has not.
  vi.stubGlobal("matchMedia", () => ({ matches: false, addEventListener() {}, removeEventListener() {} }));
  vi.stubGlobal("ResizeObserver", class { observe() {} unobserve() {} disconnect() {} });
  vi.stubGlobal("fetch", answer);
  vi.stubGlobal("EventSource", Stream);
});

afterEach(() => {
  cleanup();
  sessionStorage.clear();
  vi.unstubAllGlobals();
});

test("without a token the page says how to get one, and asks for no project", () => {
  open({ token: "" });

  expect(screen.getByText("ppmctl exec api -- ppm token create NAME")).toBeTruthy();
  expect(screen.queryByRole("alert")).toBeNull();
});

test("a token that is typed in shows the projects, and stays in this tab", async () => {
  let sent: string | null = null;
  api[FIRST_PAGE] = (request) => {
    sent = request.headers.get("Authorization");
    return page([PROJECT]);
  };
  open({ token: "" });

  type("API token", "typed");
  press("Use token");

  const row = await screen.findByRole("row", { name: /ledger/ });
  expect(row.textContent).toContain("money");
  expect(row.textContent).toContain("1,234");
  expect(sent).toBe("Bearer typed");
  expect(sessionStorage.getItem("ppm.token")).toBe("typed");
});

test("a person who has logged in sees the projects, and can log out", async () => {
  api["GET /api/me"] = [200, { name: "ann", scope: "write" }];
  api["POST /api/logout"] = [204];
  api[FIRST_PAGE] = page([PROJECT]);
  open({ token: "" });
  Stream.last.send(SYSTEM);
  expect(await screen.findByRole("row", { name: /ledger/ })).toBeTruthy();
  expect(screen.getByText("ann (write)")).toBeTruthy();

  press("Log out");

  expect(await screen.findByLabelText("API token")).toBeTruthy();
});

test("where people can log in, the page leads there", () => {
  open({ token: "" });
  expect(screen.queryByRole("link", { name: "Log in with GitHub" })).toBeNull();

  Stream.last.send(SYSTEM);

  expect(screen.getByRole("link", { name: "Log in with GitHub" }).getAttribute("href")).toBe("/api/login");
});

test("a refused token is explained", async () => {
  api[FIRST_PAGE] = [401, { detail: "the token is unknown or revoked" }];
  open();

  const alert = await screen.findByRole("alert");
  expect(alert.textContent).toContain("the token is unknown or revoked");
  expect(alert.textContent).toContain("ppmctl exec api -- ppm token create NAME");
});

test("an empty list says what to do", async () => {
  api[FIRST_PAGE] = page([]);
  open();

  expect(await screen.findByText(/There is no project yet/)).toBeTruthy();
});

test("a scan that failed shows why", async () => {
  api[FIRST_PAGE] = page([{ ...PROJECT, scan_error: "repository not found" }]);
  open();

  expect(await screen.findByText("repository not found")).toBeTruthy();
});

test("a list that does not come can be asked for again", async () => {
  open();
  expect((await screen.findByRole("alert")).textContent).toContain("does not answer");

  api[FIRST_PAGE] = page([PROJECT]);
  press("Try again");

  expect(await screen.findByRole("row", { name: /ledger/ })).toBeTruthy();
  expect(screen.queryByRole("alert")).toBeNull();
});

test("a project is added, and the list shows it", async () => {
  api[FIRST_PAGE] = page([]);
  api["POST /api/projects"] = async (request) => {
    expect(await request.json()).toEqual({ url: PROJECT.url, tags: ["money", "old"] });
    api[FIRST_PAGE] = page([PROJECT]);
    return [201, PROJECT];
  };
  open();
  await screen.findByText(/There is no project yet/);

  press("Add a project");
  type("Repository", PROJECT.url);
  type("Tags (optional)", "money, old");
  press("Add project");

  expect(await screen.findByRole("row", { name: /ledger/ })).toBeTruthy();
  expect(screen.getByText("Added ledger; the worker scans it soon.")).toBeTruthy();
});

test("what the API has against a project is shown, and what was typed stays", async () => {
  api[FIRST_PAGE] = page([]);
  api["POST /api/projects"] = [409, { detail: "project 3 has the name ledger already" }];
  open();

  press("Add a project");
  type("Repository", PROJECT.url);
  press("Add project");

  expect((await screen.findByRole("alert")).textContent).toContain("project 3 has the name ledger already");
  expect(screen.getByLabelText<HTMLInputElement>("Repository").value).toBe(PROJECT.url);
});

test("a project shows what is known of it", async () => {
  api["GET /api/projects/7"] = [200, PROJECT];
  const scan = { id: 1, started_at: PROJECT.created_at, finished_at: PROJECT.created_at, error: "not found" };
  const nothing = { last_commit: null, commits: null, contributors: null, files: null, size_bytes: null, todos: null };
  api["GET /api/projects/7/scans?limit=20"] = [200, { items: [{ ...scan, ...nothing }], next: null }];
  open({ path: "/projects/7" });

  const article = within(await screen.findByRole("article", { name: "ledger" }));
  expect(article.getByText("MIT")).toBeTruthy();
  expect(article.getByText("1.5 KiB")).toBeTruthy();
  expect(article.getByText("Python 75.0 %")).toBeTruthy();
  expect(article.getByRole("img", { name: "3 commits in 3 weeks, 2 at most" })).toBeTruthy();
  expect(await article.findByText("not found")).toBeTruthy();
});

test("a project is deleted only after a yes", async () => {
  let deleted = 0;
  api["GET /api/projects/7"] = [200, PROJECT];
  api[FIRST_PAGE] = page([]);
  api["DELETE /api/projects/7"] = () => {
    deleted += 1;
    return [204];
  };
  open({ path: "/projects/7" });
  await screen.findByRole("article", { name: "ledger" });

  press("Delete");
  press("Keep");
  expect(deleted).toBe(0);

  press("Delete");
  press("Yes, delete");
  expect(await screen.findByText(/There is no project yet/)).toBeTruthy();
  expect(deleted).toBe(1);
});

test("a project is changed", async () => {
  let sent: unknown;
  api["GET /api/projects/7"] = [200, PROJECT];
  api["PATCH /api/projects/7"] = async (request) => {
    sent = await request.json();
    api["GET /api/projects/7"] = [200, { ...PROJECT, name: "renamed" }];
    return [200, PROJECT];
  };
  open({ path: "/projects/7" });
  await screen.findByRole("article", { name: "ledger" });

  press("Edit");
  type("Name", "renamed");
  press("Save");

  expect(await screen.findByRole("article", { name: "renamed" })).toBeTruthy();
  expect(sent).toEqual({ url: PROJECT.url, name: "renamed", tags: ["money"] });
});

test("runs of jobs are shown, older ones when asked for", async () => {
  const run = { id: 9, job: "scan", project_id: 7, worker: "w", release: "r1", outcome: "failed" };
  const times = { started_at: "2026-01-01T00:00:00Z", finished_at: "2026-01-01T00:00:02Z" };
  api["GET /api/runs?limit=50"] = [200, { items: [{ ...run, ...times }], next: 9 }];
  api["GET /api/runs?limit=50&before=9"] = [200, { items: [{ ...run, ...times, id: 8, job: "clean" }], next: null }];
  open({ path: "/runs" });
  expect((await screen.findByRole("row", { name: /scan/ })).textContent).toContain("2.0 s");

  press("Older");

  expect(await screen.findByRole("row", { name: /clean/ })).toBeTruthy();
});

test("pages are turned", async () => {
  api[FIRST_PAGE] = page([PROJECT], 21);
  api["GET /api/projects?sort=created&archived=false&offset=20&limit=20"] = page([{ ...PROJECT, id: 8, name: "last" }], 21, 20);
  open();
  expect(await screen.findByText("1–20 of 21")).toBeTruthy();

  press("Next");

  expect(await screen.findByRole("row", { name: /last/ })).toBeTruthy();
  expect(screen.getByRole<HTMLButtonElement>("button", { name: "Next" }).disabled).toBe(true);
});

test("the system panel follows the stream of events", () => {
  open({ token: "", path: "/system" });
  expect(screen.getByText("connecting")).toBeTruthy();

  Stream.last.send(SYSTEM);

  expect(Stream.last.url).toBe("/api/events");
  expect(screen.getByText("live")).toBeTruthy();
  const system = within(screen.getByRole("region", { name: "System" }));
  expect(system.getByText("alive")).toBeTruthy();
  expect(system.getByText("0001")).toBeTruthy();
});

test("while a worker takes over from another, both are shown", () => {
  open({ token: "", path: "/system" });

  Stream.last.send({ ...SYSTEM, workers: [WORKER, { ...WORKER, name: "next", release: "r2", standby: true }] });

  expect(screen.getAllByText("alive")).toHaveLength(2);
  expect(screen.getByText(/on standby/).textContent).toContain("r2");
});

test("a release that names no workers but one is shown too", () => {
  const { workers: _, ...before } = SYSTEM;
  open({ token: "", path: "/system" });

  Stream.last.send(before);

  expect(screen.getByText("alive")).toBeTruthy();
});

test("where the stream does not get through, the page asks", async () => {
  api["GET /api/system"] = [200, SYSTEM];
  open({ token: "", path: "/system" });

  Stream.last.break();

  expect(await screen.findByText("updates every few seconds")).toBeTruthy();
  expect(screen.getByText("alive")).toBeTruthy();
  Stream.last.break();
  expect(screen.getByText("updates every few seconds")).toBeTruthy();
});

test("a stream that breaks is said to be connecting, and what was seen stays", () => {
  open({ token: "", path: "/system" });
  Stream.last.send(SYSTEM);

  Stream.last.break();

  expect(screen.getByText("connecting")).toBeTruthy();
  expect(screen.getByText("alive")).toBeTruthy();
});

test("an API that does not answer is said to be so", async () => {
  open({ token: "" });

  Stream.last.break();

  expect(await screen.findByText("the API does not answer")).toBeTruthy();
});

test("a page of the release before offers to load the new one", () => {
  open({ token: "" });
  Stream.last.send(SYSTEM);
  expect(screen.queryByText(/was upgraded/)).toBeNull();

  Stream.last.send({ ...SYSTEM, release: "r2" });

  expect(screen.getByText(/was upgraded to release r2/)).toBeTruthy();
  expect(screen.getByRole("button", { name: "Load its page" })).toBeTruthy();
});
