import { type KeyboardEvent, useState } from "react";
import type { Project } from "./api";
import { Problem } from "./Problem";
import { Ago } from "./time";

export function ProjectRow({ project, onDelete }: { project: Project; onDelete: () => Promise<void> }) {
  return (
    <tr>
      <th scope="row">
        {project.name}
        <Address url={project.url} />
      </th>
      <td data-label="Last commit">
        {project.last_commit ? <code title={project.last_commit}>{project.last_commit.slice(0, 10)}</code> : "–"}{" "}
        {project.last_commit_at && <Ago at={project.last_commit_at} />}
      </td>
      <td data-label="Commits" className="number">
        {project.commits?.toLocaleString() ?? "–"}
      </td>
      <td data-label="Contributors" className="number">
        {project.contributors?.toLocaleString() ?? "–"}
      </td>
      <td data-label="Scanned">
        {project.scanned_at ? <Ago at={project.scanned_at} /> : "not yet"}
        {project.scan_error && <span className="error">{project.scan_error}</span>}
      </td>
      <td>
        <Delete name={project.name} onDelete={onDelete} />
      </td>
    </tr>
  );
}

function Address({ url }: { url: string }) {
  return /^https?:/.test(url) ? (
    <a className="address" href={url} rel="noreferrer">
      {url}
    </a>
  ) : (
    <span className="address">{url}</span>
  );
}

/** A button that asks before it deletes. The focus goes to the harmless answer, and back. */
function Delete({ name, onDelete }: { name: string; onDelete: () => Promise<void> }) {
  const [state, setState] = useState<"new" | "asking" | "deleting" | "kept">("new");
  const [error, setError] = useState<unknown>(null);

  async function confirmed() {
    setState("deleting");
    try {
      await onDelete();
    } catch (reason) {
      setError(reason);
      setState("kept");
    }
  }

  function keepAtEscape(event: KeyboardEvent) {
    if (event.key === "Escape") setState("kept");
  }

  if (state === "asking" || state === "deleting") {
    return (
      <div role="group" aria-label={`Delete ${name}?`} className="question" onKeyDown={keepAtEscape}>
        <span>Delete it and the record of its scans?</span>
        <button type="button" className="danger" disabled={state === "deleting"} onClick={() => void confirmed()}>
          Yes, delete
        </button>
        <button type="button" autoFocus disabled={state === "deleting"} onClick={() => setState("kept")}>
          Keep
        </button>
      </div>
    );
  }
  return (
    <>
      <button
        type="button"
        className="quiet"
        aria-label={`Delete ${name}`}
        autoFocus={state === "kept"}
        onClick={() => {
          setError(null);
          setState("asking");
        }}
      >
        Delete
      </button>
      {error !== null && <Problem error={error} />}
    </>
  );
}
