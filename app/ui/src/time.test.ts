import { expect, test } from "vitest";
import { ago, ahead } from "./time";

const NOW = Date.parse("2026-03-01T12:00:00Z");

test.each([
  ["2026-03-01T12:00:05Z", "now"],
  ["2026-03-01T11:59:48Z", "12 seconds ago"],
  ["2026-03-01T09:10:00Z", "2 hours ago"],
  ["2026-02-28T11:00:00Z", "yesterday"],
])("%s is %s", (moment, words) => {
  expect(ago(moment, NOW)).toBe(words);
});

test.each([
  ["2026-03-01T11:59:48Z", "now"],
  ["2026-03-01T14:30:00Z", "in 2 hours"],
  ["2026-03-21T12:00:00Z", "in 20 days"],
])("%s will be %s", (moment, words) => {
  expect(ahead(moment, NOW)).toBe(words);
});
