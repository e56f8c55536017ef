import { Button, Group, Modal, Stack, TextInput } from "@mantine/core";
import { type FormEvent, useState } from "react";
import type { ProjectDetail } from "./api";
import { Problem } from "./Problem";

export interface Values {
  url: string;
  name: string;
  tags: string[];
}

interface Props {
  /** The project to change. Without it, the form adds a project. */
  project?: ProjectDetail;
  onSend: (values: Values) => Promise<unknown>;
  onClose: () => void;
}

/** A dialog to add or edit a project. When the API refuses the input, it shows the error and keeps the input. */
export function ProjectForm({ project, onSend, onClose }: Props) {
  const [url, setUrl] = useState(project?.url ?? "");
  const [name, setName] = useState(project?.name ?? "");
  const [tags, setTags] = useState(project?.tags.join(", ") ?? "");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);

  async function send(event: FormEvent) {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await onSend({ url: url.trim(), name: name.trim(), tags: tags.split(/[\s,]+/).filter(Boolean) });
      onClose();
    } catch (reason) {
      setError(reason);
      setBusy(false);
    }
  }

  return (
    <Modal
      opened
      onClose={onClose}
      title={project ? `Edit ${project.name}` : "Add a project"}
      lockScroll={false} // a locked scroll would add a <style> element, which the Content-Security-Policy forbids
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <form onSubmit={(event) => void send(event)}>
        <Stack>
          <TextInput
            label="Repository"
            inputMode="url" // not type="url": git's short form, user@host:path, is not a URL
            required
            withAsterisk={false}
            data-autofocus
            maxLength={1000}
            placeholder="https://…/repository.git"
            value={url}
            onChange={(event) => setUrl(event.target.value)}
          />
          <TextInput
            label={project ? "Name" : "Name (optional)"}
            maxLength={200}
            value={name}
            onChange={(event) => setName(event.target.value)}
          />
          <TextInput label="Tags (optional)" value={tags} onChange={(event) => setTags(event.target.value)} />
          {error !== null && <Problem error={error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={busy}>
              {project ? "Save" : "Add project"}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
