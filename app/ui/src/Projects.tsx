import { Anchor, Badge, Button, Checkbox, Group, NativeSelect, Skeleton, Table, Text, TextInput, Title } from "@mantine/core";
import { useDebouncedValue, useHotkeys } from "@mantine/hooks";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useRef, useState } from "react";
import { Link } from "wouter";
import { content, type Page, type Project, type Sort } from "./api";
import { Weeks } from "./charts";
import { useClient } from "./client";
import { count } from "./format";
import { Heads } from "./Heads";
import { Problem } from "./Problem";
import { ProjectForm, type Values } from "./ProjectForm";
import { Ago } from "./time";

const PAGE_SIZE = 20;
const ORDERS: { value: Sort; label: string }[] = [
  { value: "created", label: "Oldest first" },
  { value: "-created", label: "Newest first" },
  { value: "name", label: "Name" },
  { value: "-last_commit", label: "Last commit" },
  { value: "-commits", label: "Most commits" },
  { value: "scanned", label: "Least recently scanned" },
];

interface Filters {
  q: string;
  tag: string;
  sort: Sort;
  archived: boolean;
  offset: number;
}

export function Projects() {
  const { client, news } = useClient();
  const queries = useQueryClient();
  const [filters, setFilters] = useState<Filters>({ q: "", tag: "", sort: "created", archived: false, offset: 0 });
  const [q] = useDebouncedValue(filters.q.trim(), 200);
  const [adding, setAdding] = useState(false);
  const [notice, setNotice] = useState("");

  const { q: _, tag, ...rest } = filters;
  const query = { ...rest, limit: PAGE_SIZE, ...(q && { q }), ...(tag && { tag }) };
  const list = useQuery({
    queryKey: ["projects", query, news],
    queryFn: ({ signal }) => content(client.GET("/projects", { params: { query }, signal })),
  });
  const page = list.data;

  async function add({ url, name, tags }: Values) {
    const project = await content(client.POST("/projects", { body: { url, tags, ...(name && { name }) } }));
    setNotice(`Added ${project.name}. The worker will scan it soon.`);
    if (page && rest.sort === "created") setFilters({ ...filters, offset: lastOffset(page.total + 1) });
    await queries.invalidateQueries();
  }

  // The only project on the last page is gone: go to the new last page.
  if (page && page.items.length === 0 && page.total > 0 && page.offset === filters.offset) {
    setFilters({ ...filters, offset: lastOffset(page.total) });
  }

  return (
    <section aria-labelledby="projects">
      <Group justify="space-between" mb="md">
        <Title order={2} id="projects">
          Projects
        </Title>
        <Button onClick={() => setAdding(true)}>Add a project</Button>
      </Group>
      <Toolbar filters={filters} onChange={(change) => setFilters({ ...filters, offset: 0, ...change })} onNew={() => setAdding(true)} />
      <p role="status">{notice}</p>
      {list.error && <Problem error={list.error} onRetry={() => void list.refetch()} />}
      {list.isPending && <Skeleton height={200} aria-label="Loading projects" aria-busy="true" />}
      {page?.total === 0 && <Empty filtered={Boolean(q || tag || filters.archived)} />}
      {page && page.items.length > 0 && <Rows page={page} />}
      {page && page.total > page.limit && <Pager page={page} onTurn={(offset) => setFilters({ ...filters, offset })} />}
      {adding && <ProjectForm onSend={add} onClose={() => setAdding(false)} />}
    </section>
  );
}

/** Given the number of projects, return the offset of the last page. */
function lastOffset(total: number): number {
  return Math.floor((total - 1) / PAGE_SIZE) * PAGE_SIZE;
}

interface ToolbarProps {
  filters: Filters;
  onChange: (change: Partial<Filters>) => void;
  onNew: () => void;
}

function Toolbar({ filters, onChange, onNew }: ToolbarProps) {
  const { client } = useClient();
  const search = useRef<HTMLInputElement>(null);
  const tags = useQuery({ queryKey: ["tags"], queryFn: ({ signal }) => content(client.GET("/tags", { signal })) });
  useHotkeys([
    ["/", () => search.current?.focus()],
    ["n", onNew],
  ]);
  return (
    <Group align="end" role="search">
      <TextInput
        ref={search}
        label="Search"
        type="search"
        description="Press / to search, n to add a project"
        value={filters.q}
        onChange={(event) => onChange({ q: event.target.value })}
      />
      <NativeSelect
        label="Tag"
        value={filters.tag}
        data={[{ value: "", label: "any" }, ...(tags.data ?? []).map(({ tag, projects }) => ({ value: tag, label: `${tag} (${projects})` }))]}
        onChange={(event) => onChange({ tag: event.target.value })}
      />
      <NativeSelect label="Sort by" value={filters.sort} data={ORDERS} onChange={(event) => onChange({ sort: event.target.value as Sort })} />
      <Checkbox
        label="Archived"
        mb={8}
        checked={filters.archived}
        onChange={(event) => onChange({ archived: event.target.checked })}
      />
    </Group>
  );
}

function Empty({ filtered }: { filtered: boolean }) {
  return <p>{filtered ? "No matching projects." : "There are no projects yet. Add the URL of a git repository."}</p>;
}

function Rows({ page }: { page: Page }) {
  return (
    <Table.ScrollContainer minWidth={720} scrollAreaProps={{ viewportProps: { tabIndex: 0 } }}>
      <Table verticalSpacing="sm">
        <Heads names={["Name", "Activity", "Last commit", "Language", "Commits", "Scanned"]} />
        <Table.Tbody>
          {page.items.map((project) => (
            <Row key={project.id} project={project} />
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

function Row({ project }: { project: Project }) {
  return (
    <Table.Tr>
      <Table.Th scope="row">
        <Anchor component={Link} href={`/projects/${project.id}`}>
          {project.name}
        </Anchor>{" "}
        {project.tags.map((tag) => (
          <Badge key={tag} variant="default" tt="none" mr={4}>
            {tag}
          </Badge>
        ))}
        <Text size="sm" className="address">
          {project.url}
        </Text>
      </Table.Th>
      <Table.Td>{project.activity ? <Weeks activity={project.activity} small /> : "–"}</Table.Td>
      <Table.Td>{project.last_commit_at ? <Ago at={project.last_commit_at} /> : "–"}</Table.Td>
      <Table.Td>{project.language ?? "–"}</Table.Td>
      <Table.Td>{count(project.commits)}</Table.Td>
      <Table.Td>
        {project.scanned_at ? <Ago at={project.scanned_at} /> : "not yet"}
        {project.scan_error && (
          <Text size="sm" c="var(--mantine-color-error)" className="address">
            {project.scan_error}
          </Text>
        )}
      </Table.Td>
    </Table.Tr>
  );
}

function Pager({ page, onTurn }: { page: Page; onTurn: (offset: number) => void }) {
  const { offset, limit, total } = page;
  return (
    <Group component="nav" aria-label="Project pages" justify="center" mt="md">
      <Button variant="default" disabled={offset === 0} onClick={() => onTurn(Math.max(0, offset - limit))}>
        Previous
      </Button>
      <span>
        {offset + 1}–{Math.min(offset + limit, total)} of {total}
      </span>
      <Button variant="default" disabled={offset + limit >= total} onClick={() => onTurn(offset + limit)}>
        Next
      </Button>
    </Group>
  );
}
