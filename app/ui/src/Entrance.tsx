import { Button, Code, Group, PasswordInput, Text } from "@mantine/core";
import { type FormEvent, useState } from "react";
import type { Access } from "./access";
import { BASE } from "./api";

export function NewToken() {
  return (
    <>
      To create a token, run this on the machine that ppm was deployed from: <Code>ppmctl exec api -- ppm token create NAME</Code>
    </>
  );
}

/** Show how this browser is authenticated, or how it can authenticate. */
export function Entrance({ access: { token, me, keep, logOut }, login }: { access: Access; login: boolean }) {
  if (token) {
    return (
      <Group justify="flex-end" gap="xs" mb="sm">
        <Text size="sm">This tab uses an API token.</Text>
        <Button size="compact-sm" variant="default" onClick={() => keep("")}>
          Forget token
        </Button>
      </Group>
    );
  }
  if (me) {
    return (
      <Group justify="flex-end" gap="xs" mb="sm">
        <Text size="sm">
          {me.name} ({me.scope})
        </Text>
        <Button size="compact-sm" variant="default" onClick={() => void logOut()}>
          Log out
        </Button>
      </Group>
    );
  }
  return (
    <>
      {login && (
        <Button component="a" href={`${BASE}/login`} mb="md">
          Log in with GitHub
        </Button>
      )}
      <TokenForm onChange={keep} />
    </>
  );
}

function TokenForm({ onChange }: { onChange: (token: string) => void }) {
  const [typed, setTyped] = useState("");

  function use(event: FormEvent) {
    event.preventDefault();
    onChange(typed.trim());
    setTyped("");
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
          visibilityToggleButtonProps={{ "aria-label": "Show token" }}
          onChange={(event) => setTyped(event.target.value)}
        />
        <Button type="submit">Use token</Button>
      </Group>
    </form>
  );
}
