import { type FormEvent, useState } from "react";
import { addProject, type Project } from "./api";
import { Problem } from "./Problem";

export function AddProject({ token, onAdded }: { token: string; onAdded: (project: Project) => void }) {
  const [url, setUrl] = useState("");
  const [name, setName] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);

  async function add(event: FormEvent) {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const project = await addProject(token, name.trim() ? { url: url.trim(), name: name.trim() } : { url: url.trim() });
      setUrl("");
      setName("");
      onAdded(project);
    } catch (reason) {
      setError(reason);
    } finally {
      setBusy(false);
    }
  }

  return (
    <form aria-label="Add a project" onSubmit={(event) => void add(event)}>
      <label className="wide">
        Repository
        <input
          type="url"
          required
          maxLength={1000}
          placeholder="https://…/repository.git"
          value={url}
          onChange={(event) => setUrl(event.target.value)}
        />
      </label>
      <label>
        Name (optional)
        <input maxLength={200} value={name} onChange={(event) => setName(event.target.value)} />
      </label>
      <button type="submit" disabled={busy}>
        {busy ? "Adding…" : "Add project"}
      </button>
      {error !== null && <Problem error={error} />}
    </form>
  );
}
