import { useEffect, useRef, useState } from "react";
import { AddProject } from "./AddProject";
import { deleteProject, listProjects, type Page, type Project } from "./api";
import { Problem } from "./Problem";
import { ProjectRow } from "./ProjectRow";

const PAGE_SIZE = 20;

interface Props {
  token: string;
  /** Changes when there may be something new to see. */
  news: string;
}

export function Projects({ token, news }: Props) {
  const [offset, setOffset] = useState(0);
  const [turn, setTurn] = useState(0);
  const [page, setPage] = useState<Page | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [said, setSaid] = useState("");
  const heading = useRef<HTMLHeadingElement>(null);

  useEffect(() => {
    const stop = new AbortController();
    listProjects(token, PAGE_SIZE, offset, stop.signal)
      .then((found) => {
        setPage(found);
        setError(null);
        // The last project of the last page was deleted.
        if (found.items.length === 0 && found.total > 0) setOffset(lastOffset(found.total));
      })
      .catch((reason: unknown) => {
        if (!stop.signal.aborted) setError(reason);
      });
    return () => stop.abort();
  }, [token, offset, turn, news]);

  const reload = () => setTurn((last) => last + 1);

  function added(project: Project) {
    setSaid(`Added ${project.name}; the worker scans it soon.`);
    if (page) setOffset(lastOffset(page.total + 1)); // the newest is the last
    reload();
  }

  async function remove(project: Project) {
    await deleteProject(token, project.id);
    setSaid(`Deleted ${project.name}.`);
    heading.current?.focus(); // what had the focus is gone with its row
    reload();
  }

  return (
    <section aria-labelledby="projects">
      <h2 id="projects" ref={heading} tabIndex={-1}>
        Projects
      </h2>
      <AddProject token={token} onAdded={added} />
      <p className="said" role="status">
        {said}
      </p>
      {error !== null && <Problem error={error} onRetry={reload} />}
      {page === null && error === null && <p aria-busy="true">Loading projects…</p>}
      {page?.total === 0 && <p>There is no project yet. Add the address of a git repository above.</p>}
      {page !== null && page.items.length > 0 && <Table page={page} onDelete={remove} />}
      {page !== null && page.total > page.limit && <Pager page={page} onTurn={setOffset} />}
    </section>
  );
}

/** Given how many there are, return where the last page begins. */
function lastOffset(total: number): number {
  return Math.floor((total - 1) / PAGE_SIZE) * PAGE_SIZE;
}

function Table({ page, onDelete }: { page: Page; onDelete: (project: Project) => Promise<void> }) {
  return (
    <table className="projects">
      <thead>
        <tr>
          <th scope="col">Name</th>
          <th scope="col">Last commit</th>
          <th scope="col" className="number">
            Commits
          </th>
          <th scope="col" className="number">
            Contributors
          </th>
          <th scope="col">Scanned</th>
          <th scope="col">
            <span className="hidden">Delete</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {page.items.map((project) => (
          <ProjectRow key={project.id} project={project} onDelete={() => onDelete(project)} />
        ))}
      </tbody>
    </table>
  );
}

function Pager({ page, onTurn }: { page: Page; onTurn: (offset: number) => void }) {
  const { offset, limit, total } = page;
  return (
    <nav aria-label="Pages of projects">
      <button type="button" disabled={offset === 0} onClick={() => onTurn(Math.max(0, offset - limit))}>
        Previous
      </button>
      <span>
        {offset + 1}–{Math.min(offset + limit, total)} of {total}
      </span>
      <button type="button" disabled={offset + limit >= total} onClick={() => onTurn(offset + limit)}>
        Next
      </button>
    </nav>
  );
}
