import { screen, within } from "@testing-library/react";
import { expect, test } from "vitest";
import { api, FIRST_PAGE, open, page, press, PROJECT, type } from "./testing";

test("an empty list says what to do", async () => {
  api[FIRST_PAGE] = page([]);
  open();

  expect(await screen.findByText(/There are no projects yet/)).toBeTruthy();
});

test("a scan that failed shows why", async () => {
  api[FIRST_PAGE] = page([{ ...PROJECT, scan_error: "repository not found" }]);
  open();

  expect(await screen.findByText("repository not found")).toBeTruthy();
});

test("a list that fails to load can be requested again", async () => {
  open();
  expect((await screen.findByRole("alert")).textContent).toContain("is not responding");

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
  await screen.findByText(/There are no projects yet/);

  press("Add a project");
  type("Repository", PROJECT.url);
  type("Tags (optional)", "money, old");
  press("Add project");

  expect(await screen.findByRole("row", { name: /ledger/ })).toBeTruthy();
  expect(screen.getByText("Added ledger. The worker will scan it soon.")).toBeTruthy();
});

test("when the API refuses a project, the error is shown and the input stays", async () => {
  api[FIRST_PAGE] = page([]);
  api["POST /api/projects"] = [409, { detail: "project 3 already has the name ledger" }];
  open();

  press("Add a project");
  type("Repository", PROJECT.url);
  press("Add project");

  expect((await screen.findByRole("alert")).textContent).toContain("project 3 already has the name ledger");
  expect(screen.getByLabelText<HTMLInputElement>("Repository").value).toBe(PROJECT.url);
});

test("a project's page shows its details", async () => {
  api["GET /api/projects/7"] = [200, PROJECT];
  const scan = { id: 1, started_at: PROJECT.created_at, finished_at: PROJECT.created_at, error: "not found" };
  const nothing = { last_commit: null, commits: null, contributors: null, files: null, size_bytes: null, todos: null };
  api["GET /api/projects/7/scans?limit=20"] = [200, { items: [{ ...scan, ...nothing }], next: null }];
  open({ path: "/projects/7" });

  const article = within(await screen.findByRole("article", { name: "ledger" }));
  expect(article.getByText("MIT")).toBeTruthy();
  expect(article.getByText("1.5 KiB")).toBeTruthy();
  expect(article.getByText("Python 75.0%")).toBeTruthy();
  expect(article.getByRole("img", { name: "3 commits in 3 weeks, at most 2 in one week" })).toBeTruthy();
  expect(await article.findByText("not found")).toBeTruthy();
});

test("a project is deleted only after confirmation", async () => {
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
  press("Cancel");
  expect(deleted).toBe(0);

  press("Delete");
  press("Yes, delete");
  expect(await screen.findByText(/There are no projects yet/)).toBeTruthy();
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

test("job runs are shown, older ones on request", async () => {
  const run = { id: 9, job: "scan", project_id: 7, worker: "w", release: "r1", outcome: "failed" };
  const times = { started_at: "2026-01-01T00:00:00Z", finished_at: "2026-01-01T00:00:02Z" };
  api["GET /api/runs?limit=50"] = [200, { items: [{ ...run, ...times }], next: 9 }];
  api["GET /api/runs?limit=50&before=9"] = [200, { items: [{ ...run, ...times, id: 8, job: "clean" }], next: null }];
  open({ path: "/runs" });
  expect((await screen.findByRole("row", { name: /scan/ })).textContent).toContain("2.0 s");

  press("Older");

  expect(await screen.findByRole("row", { name: /clean/ })).toBeTruthy();
});

test("the list can be paged", async () => {
  api[FIRST_PAGE] = page([PROJECT], 21);
  api["GET /api/projects?sort=created&archived=false&offset=20&limit=20"] = page([{ ...PROJECT, id: 8, name: "last" }], 21, 20);
  open();
  expect(await screen.findByText("1–20 of 21")).toBeTruthy();

  press("Next");

  expect(await screen.findByRole("row", { name: /last/ })).toBeTruthy();
  expect(screen.getByRole<HTMLButtonElement>("button", { name: "Next" }).disabled).toBe(true);
});
