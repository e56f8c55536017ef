import { Anchor, Button, Group, NativeSelect, Skeleton, Table, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { content, type Run } from "./api";
import { useClient } from "./client";
import { Heads } from "./Heads";
import { Problem } from "./Problem";
import { Ago } from "./time";

const OUTCOMES = ["any", "ok", "unchanged", "failed"];

export function Runs() {
  const { client, news } = useClient();
  const [outcome, setOutcome] = useState("any");
  const [before, setBefore] = useState<number | null>(null);
  const query = { limit: 50, ...(outcome !== "any" && { outcome }), ...(before && { before }) };
  const list = useQuery({
    queryKey: ["runs", query, before ?? news],
    queryFn: ({ signal }) => content(client.GET("/runs", { params: { query }, signal })),
  });
  return (
    <section aria-labelledby="runs">
      <Title order={2} id="runs">
        Job runs
      </Title>
      <NativeSelect
        label="Outcome"
        w={200}
        my="md"
        value={outcome}
        data={OUTCOMES}
        onChange={(event) => {
          setOutcome(event.target.value);
          setBefore(null);
        }}
      />
      {list.error && <Problem error={list.error} onRetry={() => void list.refetch()} />}
      {list.isPending && <Skeleton height={200} aria-label="Loading runs" aria-busy="true" />}
      {list.data && <RunTable runs={list.data.items} />}
      <Group mt="md">
        {before !== null && (
          <Button variant="default" onClick={() => setBefore(null)}>
            Newest
          </Button>
        )}
        {list.data?.next && (
          <Button variant="default" onClick={() => setBefore(list.data.next)}>
            Older
          </Button>
        )}
      </Group>
    </section>
  );
}

export function RunTable({ runs }: { runs: Run[] }) {
  if (runs.length === 0) return <p>No jobs have run yet.</p>;
  return (
    <Table>
      <Heads names={["Job", "Project", "Outcome", "Ended", "Duration", "Release"]} />
      <Table.Tbody>
        {runs.map((run) => (
          <Table.Tr key={run.id ?? `${run.job} ${run.started_at}`}>
            <Table.Td>{run.job}</Table.Td>
            <Table.Td>
              {run.project_id === null ? (
                "–"
              ) : (
                <Anchor component={Link} href={`/projects/${run.project_id}`} underline="always">
                  {run.project_id}
                </Anchor>
              )}
            </Table.Td>
            <Table.Td {...(run.outcome === "failed" && { c: "var(--mantine-color-error)" })}>{run.outcome}</Table.Td>
            <Table.Td>
              <Ago at={run.finished_at} />
            </Table.Td>
            <Table.Td>{((Date.parse(run.finished_at) - Date.parse(run.started_at)) / 1000).toFixed(1)} s</Table.Td>
            <Table.Td>
              <code>{run.release}</code>
            </Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}
