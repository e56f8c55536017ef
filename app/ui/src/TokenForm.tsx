import { Button, Code, Group, PasswordInput, Text } from "@mantine/core";
import { type FormEvent, useState } from "react";

export function NewToken() {
  return (
    <>
      Where ppm was deployed from, this prints a new one: <Code>ppmctl exec api -- ppm token create NAME</Code>
    </>
  );
}

export function TokenForm({ token, onChange }: { token: string; onChange: (token: string) => void }) {
  const [typed, setTyped] = useState("");

  function use(event: FormEvent) {
    event.preventDefault();
    onChange(typed.trim());
    setTyped("");
  }

  if (token) {
    return (
      <Group justify="flex-end" gap="xs" mb="sm">
        <Text size="sm">This tab has an API token.</Text>
        <Button size="compact-sm" variant="default" onClick={() => onChange("")}>
          Forget it
        </Button>
      </Group>
    );
  }
  return (
    <form onSubmit={use}>
      <Group align="end" mb="md">
        <PasswordInput
          label="API token"
          autoComplete="off"
          required
          withAsterisk={false}
          w={320}
          value={typed}
          visibilityToggleButtonProps={{ "aria-label": "Show it" }}
          onChange={(event) => setTyped(event.target.value)}
        />
        <Button type="submit">Use token</Button>
      </Group>
    </form>
  );
}
