import { Anchor, Badge, Button, Code, Group, Modal, Progress, Skeleton, Table, Text, Title } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { useLocation } from "wouter";
import { type Change, content, type ProjectDetail } from "./api";
import { Weeks } from "./charts";
import { useClient } from "./client";
import { bytes, count } from "./format";
import { Heads } from "./Heads";
import { Problem } from "./Problem";
import { ProjectForm } from "./ProjectForm";
import { Ago } from "./time";

const COLORS = ["blue", "teal", "orange", "grape", "red", "lime", "cyan", "pink"];

export function Project({ id }: { id: number }) {
  const { client, news } = useClient();
  const details = useQuery({
    queryKey: ["project", id, news],
    queryFn: ({ signal }) => content(client.GET("/projects/{id}", { params: { path: { id } }, signal })),
  });
  if (details.error) return <Problem error={details.error} onRetry={() => void details.refetch()} />;
  if (!details.data) return <Skeleton height={400} aria-label="Loading project" aria-busy="true" />;
  return <Details project={details.data} />;
}

function Details({ project }: { project: ProjectDetail }) {
  return (
    <article aria-labelledby="project">
      <Group mb="xs">
        <Title order={2} id="project">
          {project.name}
        </Title>
        {project.archived && <Badge color="gray" variant="outline" c="var(--mantine-color-text)">archived</Badge>}
        {project.tags.map((tag) => (
          <Badge key={tag} variant="default" tt="none">
            {tag}
          </Badge>
        ))}
      </Group>
      <Address url={project.url} />
      <Actions project={project} />
      {project.scan_error && <Problem error={`The last scan failed: ${project.scan_error}`} />}
      <Facts project={project} />
      <Title order={3} mt="lg">
        Commits per week
      </Title>
      {project.activity ? <Weeks activity={project.activity} /> : <p>Not scanned yet.</p>}
      <Languages languages={project.languages ?? {}} />
      <Manifests paths={project.manifests ?? []} />
      <History id={project.id} />
    </article>
  );
}

function Address({ url }: { url: string }) {
  return /^https?:/.test(url) ? (
    <Anchor className="address" href={url} rel="noreferrer">
      {url}
    </Anchor>
  ) : (
    <span className="address">{url}</span>
  );
}

function Actions({ project }: { project: ProjectDetail }) {
  const { client } = useClient();
  const queries = useQueryClient();
  const [, go] = useLocation();
  const [open, setOpen] = useState<"edit" | "delete" | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [notice, setNotice] = useState("");
  const params = { params: { path: { id: project.id } } };
  const change = (body: Change) => content(client.PATCH("/projects/{id}", { ...params, body }));

  async function act(request: Promise<unknown>, success: string) {
    setError(null);
    try {
      await request;
      setNotice(success);
      await queries.invalidateQueries();
    } catch (reason) {
      setError(reason);
    }
  }

  async function remove() {
    setOpen(null);
    try {
      await content(client.DELETE("/projects/{id}", params));
      go("/");
    } catch (reason) {
      setError(reason);
    }
  }

  return (
    <>
      <Group my="md">
        <Button
          disabled={project.archived}
          onClick={() => void act(content(client.POST("/projects/{id}/scan", params)), "The worker will scan this project soon.")}
        >
          Scan now
        </Button>
        <Button variant="default" onClick={() => setOpen("edit")}>
          Edit
        </Button>
        <Button variant="default" onClick={() => void act(change({ archived: !project.archived }), project.archived ? "Project unarchived." : "Project archived.")}>
          {project.archived ? "Unarchive" : "Archive"}
        </Button>
        <Button variant="default" onClick={() => setOpen("delete")}>
          Delete
        </Button>
      </Group>
      <p role="status">{notice}</p>
      {error !== null && <Problem error={error} />}
      {open === "edit" && (
        <ProjectForm
          project={project}
          onSend={async ({ url, name, tags }) => {
            await change({ url, tags, ...(name && { name }) });
            await queries.invalidateQueries();
          }}
          onClose={() => setOpen(null)}
        />
      )}
      {open === "delete" && <Deletion name={project.name} onKeep={() => setOpen(null)} onDelete={() => void remove()} />}
    </>
  );
}

function Deletion({ name, onKeep, onDelete }: { name: string; onKeep: () => void; onDelete: () => void }) {
  return (
    <Modal opened onClose={onKeep} title={`Delete ${name}?`} lockScroll={false} closeButtonProps={{ "aria-label": "Close" }}>
      <p>This deletes the project and its scan history.</p>
      <Group justify="flex-end">
        <Button data-autofocus variant="default" onClick={onKeep}>
          Cancel
        </Button>
        <Button color="red" onClick={onDelete}>
          Yes, delete
        </Button>
      </Group>
    </Modal>
  );
}

function Facts({ project }: { project: ProjectDetail }) {
  return (
    <dl className="facts">
      <Fact name="Last commit">
        {project.last_commit ? <Code>{project.last_commit.slice(0, 10)}</Code> : "–"}{" "}
        {project.last_commit_at && <Ago at={project.last_commit_at} />}
      </Fact>
      <Fact name="Commits">{count(project.commits)}</Fact>
      <Fact name="Contributors">{count(project.contributors)}</Fact>
      <Fact name="License">{project.license ?? "–"}</Fact>
      <Fact name="Files">{count(project.files)}</Fact>
      <Fact name="Code">{project.size_bytes === null ? "–" : bytes(project.size_bytes)}</Fact>
      <Fact name="TODO, FIXME, XXX">{count(project.todos)}</Fact>
      <Fact name="Scanned">{project.scanned_at ? <Ago at={project.scanned_at} /> : "not yet"}</Fact>
    </dl>
  );
}

export function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <Text component="dt" size="sm">
        {name}
      </Text>
      <Text component="dd" m={0} fw={600} className="address">
        {children}
      </Text>
    </div>
  );
}

function Languages({ languages }: { languages: Record<string, number> }) {
  const sorted = Object.entries(languages).sort(([, a], [, b]) => b - a);
  const total = sorted.reduce((sum, [, size]) => sum + size, 0);
  if (total === 0) return null;
  const shares = sorted.slice(0, COLORS.length).map(([name, size], at) => ({ name, share: (100 * size) / total, color: COLORS[at]! }));
  return (
    <>
      <Title order={3} mt="lg" mb="xs">
        Languages
      </Title>
      <Progress.Root size="xl" aria-hidden>
        {shares.map(({ name, share, color }) => (
          <Progress.Section key={name} value={share} color={color} />
        ))}
      </Progress.Root>
      <Group component="ul" p={0} my="xs">
        {shares.map(({ name, share, color }) => (
          <Badge key={name} component="li" variant="dot" tt="none" color={color}>
            {name} {share.toFixed(1)}%
          </Badge>
        ))}
      </Group>
    </>
  );
}

function Manifests({ paths }: { paths: string[] }) {
  if (paths.length === 0) return null;
  return (
    <>
      <Title order={3} mt="lg" mb="xs">
        Manifests
      </Title>
      <Group gap="xs">
        {paths.map((path) => (
          <Code key={path}>{path}</Code>
        ))}
      </Group>
    </>
  );
}

function History({ id }: { id: number }) {
  const { client, news } = useClient();
  const { data, error } = useQuery({
    queryKey: ["scans", id, news],
    queryFn: ({ signal }) => content(client.GET("/projects/{id}/scans", { params: { path: { id }, query: { limit: 20 } }, signal })),
  });
  return (
    <>
      <Title order={3} mt="lg">
        Scans with changes
      </Title>
      {error && <Problem error={error} />}
      {data?.items.length === 0 && <p>None yet.</p>}
      {data && data.items.length > 0 && (
        <Table>
          <Heads names={["When", "Commit", "Commits", "Code", "TODOs"]} />
          <Table.Tbody>
            {data.items.map((scan) => (
              <Table.Tr key={scan.id}>
                <Table.Td>
                  <Ago at={scan.finished_at} />
                </Table.Td>
                <Table.Td className="address">{scan.error ?? <Code>{scan.last_commit?.slice(0, 10) ?? "no commit"}</Code>}</Table.Td>
                <Table.Td>{count(scan.commits)}</Table.Td>
                <Table.Td>{scan.size_bytes === null ? "–" : bytes(scan.size_bytes)}</Table.Td>
                <Table.Td>{count(scan.todos)}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
    </>
  );
}
