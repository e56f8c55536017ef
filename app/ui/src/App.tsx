import { ActionIcon, Alert, Anchor, Badge, Button, Container, createTheme, Group, MantineProvider, Title, useComputedColorScheme, useMantineColorScheme } from "@mantine/core";
import { keepPreviousData, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { Link, Route, Switch, useLocation } from "wouter";
import { ApiError, clientOf, whole } from "./api";
import { ClientContext } from "./client";
import { type Connection, type Live, useLive } from "./live";
import { Project } from "./Project";
import { Projects } from "./Projects";
import { Runs } from "./Runs";
import { System } from "./System";
import { Entrance, NewToken } from "./Entrance";
import { useAccess } from "./access";

const WORDS: Record<Connection, string> = {
  connecting: "connecting",
  live: "live",
  polling: "updates every few seconds",
  offline: "API not responding",
};
const COLORS: Record<Connection, string> = { connecting: "yellow", live: "green", polling: "yellow", offline: "red" };
const PAGES = [
  ["/", "Projects"],
  ["/runs", "Job runs"],
  ["/system", "System"],
] as const;

const theme = createTheme({
  fontFamily: "system-ui, sans-serif",
  respectReducedMotion: true,
});

export function App() {
  return (
    // Mantine must add no <style> element to the page: its Content-Security-Policy forbids them.
    <MantineProvider theme={theme} defaultColorScheme="auto" withCssVariables={false} withGlobalClasses={false}>
      <Shell />
    </MantineProvider>
  );
}

function Shell() {
  const [login, setLogin] = useState(false);
  const access = useAccess(login);
  const live = useLive(access.token, access.loggedOut);
  const latest = live.system?.login ?? login;
  if (latest !== login) setLogin(latest);

  return (
    <>
      <Header live={live} />
      <Container component="main" size="lg" py="md">
        <Upgraded live={live} />
        <Entrance access={access} login={login} />
        <Switch>
          <Route path="/system">
            <System system={live.system} connection={live.connection} />
          </Route>
          <Route>{access.open ? <Inside key={access.token} token={access.token} live={live} /> : <Outside />}</Route>
        </Switch>
      </Container>
    </>
  );
}

function Header({ live }: { live: Live }) {
  const [location] = useLocation();
  return (
    <header className="header">
      <Group px="md" py="xs" gap="md">
        <Title order={1} size="h3">
          ppm
        </Title>
        <Group component="nav" aria-label="Pages" gap="md">
          {PAGES.map(([path, name]) => (
            <Anchor key={path} component={Link} href={path} aria-current={location === path ? "page" : undefined}>
              {name}
            </Anchor>
          ))}
        </Group>
        <span className="release" title="release">
          {live.system?.release ?? "…"}
        </span>
        <Badge role="status" ml="auto" tt="none" variant="dot" color={COLORS[live.connection]}>
          {WORDS[live.connection]}
        </Badge>
        <ColorScheme />
      </Group>
    </header>
  );
}

function ColorScheme() {
  const { setColorScheme } = useMantineColorScheme();
  const dark = useComputedColorScheme("light") === "dark";
  return (
    <ActionIcon variant="default" aria-label={dark ? "Light colors" : "Dark colors"} onClick={() => setColorScheme(dark ? "light" : "dark")}>
      {dark ? "☀" : "☾"}
    </ActionIcon>
  );
}

function Upgraded({ live: { system, loaded } }: { live: Live }) {
  if (!system || system.release === loaded) return null;
  return (
    <Alert role="status" mb="md" variant="outline" title={`ppm was upgraded to release ${system.release}`}>
      <Button onClick={() => location.reload()}>Reload page</Button>
    </Alert>
  );
}

function Outside() {
  return (
    <section aria-labelledby="projects">
      <Title order={2} id="projects">
        Projects
      </Title>
      <p>
        Log in or enter an API token to see the projects. <NewToken />
      </p>
    </section>
  );
}

function Inside({ token, live }: { token: string; live: Live }) {
  const client = useMemo(() => clientOf(token), [token]);
  const [queries] = useState(newQueries);
  const system = whole(live.system);
  return (
    <ClientContext value={{ client, news: `${system?.projects} ${system?.runs[0]?.finished_at}` }}>
      <QueryClientProvider client={queries}>
        <Switch>
          <Route path="/">
            <Projects />
          </Route>
          <Route path="/projects/:id">{({ id }) => <Project id={Number(id)} />}</Route>
          <Route path="/runs">
            <Runs />
          </Route>
          <Route>Page not found.</Route>
        </Switch>
      </QueryClientProvider>
    </ClientContext>
  );
}

function newQueries(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        placeholderData: keepPreviousData,
        // A request that was refused (4xx) will be refused again. A server error may be temporary.
        retry: (failures, error) => failures < 2 && error instanceof ApiError && error.status >= 500,
        networkMode: "always", // the API may be reachable even if the browser reports the network as down
      },
      mutations: { networkMode: "always" },
    },
  });
}
