import { screen, waitFor, within } from "@testing-library/react";
import { expect, test } from "vitest";
import { api, FIRST_PAGE, open, page, press, PROJECT, Stream, SYSTEM, type, WORKER } from "./testing";

test("without a token the page says how to get one, and requests no projects", () => {
  open({ token: "" });

  expect(screen.getByText("ppmctl exec api -- ppm token create NAME")).toBeTruthy();
  expect(screen.queryByRole("alert")).toBeNull();
});

test("a token that the user types shows the projects, and stays in this tab", async () => {
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

test("a logged-in user sees the projects, and can log out", async () => {
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

test("when login is available, the page links to it", () => {
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

test("without a login the page shows the release, and says how to see the rest", () => {
  open({ token: "", path: "/system" });

  Stream.last.send({ release: "r1", login: true });

  expect(screen.getByText("live")).toBeTruthy();
  expect(screen.getByText(/Log in or enter an API token to see the rest/).textContent).toContain("r1");
  expect(screen.queryByText("alive")).toBeNull();
  expect(screen.getByRole("link", { name: "Log in with GitHub" })).toBeTruthy();
});

test("the stream is requested with the token, and without it after the token is forgotten", async () => {
  api[FIRST_PAGE] = page([PROJECT]);
  open({ path: "/system" });
  expect((await Stream.last.headers()).get("Authorization")).toBe("Bearer secret");
  expect((await Stream.last.headers()).get("Accept")).toBe("text/event-stream");

  press("Forget token");

  expect((await Stream.last.headers()).get("Authorization")).toBeNull();
});

test("with a refused token the page still shows the release", async () => {
  api["GET /api/system"] = [401, { detail: "the token is unknown" }];
  api[FIRST_PAGE] = [401, { detail: "the token is unknown" }];
  open();
  const refused = Stream.last;

  refused.break();
  await waitFor(() => expect(Stream.last).not.toBe(refused));

  expect((await Stream.last.headers()).get("Authorization")).toBeNull();
  Stream.last.send({ release: "r1", login: false });
  expect(screen.getByText("live")).toBeTruthy();
});

test("after a logout the stream is reopened without the session", async () => {
  api["GET /api/me"] = [200, { name: "ann", scope: "write" }];
  api["POST /api/logout"] = [204];
  api[FIRST_PAGE] = page([PROJECT]);
  open({ token: "" });
  const before = Stream.last;
  before.send(SYSTEM);
  await screen.findByText("ann (write)");
  expect(Stream.last).toBe(before);

  press("Log out");
  await screen.findByLabelText("API token");

  expect(Stream.last).not.toBe(before);
  expect(before.readyState).toBe(2);
});

test("while a worker takes over from another, both are shown", () => {
  open({ token: "", path: "/system" });

  Stream.last.send({ ...SYSTEM, workers: [WORKER, { ...WORKER, name: "next", release: "r2", standby: true }] });

  expect(screen.getAllByText("alive")).toHaveLength(2);
  expect(screen.getByText(/on standby/).textContent).toContain("r2");
});

test("the page shows what the host reports: deploys, backups, the certificate", () => {
  const at = new Date(Date.now() - 2 * 3_600_000).toISOString();
  const soon = new Date(Date.now() + 30.5 * 86_400_000).toISOString();
  open({ token: "", path: "/system" });
  Stream.last.send(SYSTEM);
  expect(screen.getAllByText("none yet")).toHaveLength(2);

  Stream.last.send({
    ...SYSTEM,
    certificate: { names: ["ppm.example.org"], issuer: "CN=a CA", ends: soon },
    backups: {
      last_backup: { id: "b", at, bytes: 2048, verified: true, seconds: 1 },
      last_proven: { id: "b", at, level: "L4", outcome: "ok" },
      next_backup: soon,
      next_drill: null,
      failures: { "copy to offsite": { times: 3 } },
    },
    deploys: [{ kind: "rollback", release: "r0", color: "green", began: at, seconds: 9.53, outcome: "undone" }],
  });

  const fact = (name: string) => screen.getByText(name).parentElement?.textContent;
  expect(fact("Certificate")).toBe("Certificateppm.example.org, issued by CN=a CA, valid for 30 days");
  expect(fact("Last backup")).toBe("Last backup2 hours ago, 2 KiB, verifiednext: next month");
  expect(fact("Last proven restore")).toBe("Last proven restore2 hours ago (L4)");
  expect(fact("Failing: copy to offsite")).toContain("3 times in a row");
  expect(fact("Free space")).toBe("Free space1 GiB of 4 GiB");
  expect(screen.getByRole("row", { name: /rollback r0 green undone 2 hours ago 9.5 s/ })).toBeTruthy();
});

test("a release that reports only one worker is shown too", () => {
  const { workers: _, ...before } = SYSTEM;
  open({ token: "", path: "/system" });

  Stream.last.send(before);

  expect(screen.getByText("alive")).toBeTruthy();
});

test("when the stream does not get through, the page polls", async () => {
  api["GET /api/system"] = [200, SYSTEM];
  open({ token: "", path: "/system" });

  Stream.last.break();

  expect(await screen.findByText("updates every few seconds")).toBeTruthy();
  expect(screen.getByText("alive")).toBeTruthy();
  Stream.last.break();
  expect(screen.getByText("updates every few seconds")).toBeTruthy();
});

test("while a broken stream reconnects, the page says so and keeps the last state", () => {
  open({ token: "", path: "/system" });
  Stream.last.send(SYSTEM);

  Stream.last.break();

  expect(screen.getByText("connecting")).toBeTruthy();
  expect(screen.getByText("alive")).toBeTruthy();
});

test("the page says when the API is not responding", async () => {
  open({ token: "" });

  Stream.last.break();

  expect(await screen.findByText("API not responding")).toBeTruthy();
});

test("a page of the previous release offers to load the new one", () => {
  open({ token: "" });
  Stream.last.send(SYSTEM);
  expect(screen.queryByText(/was upgraded/)).toBeNull();

  Stream.last.send({ ...SYSTEM, release: "r2" });

  expect(screen.getByText(/was upgraded to release r2/)).toBeTruthy();
  expect(screen.getByRole("button", { name: "Reload page" })).toBeTruthy();
});
