import { Code, Skeleton, Title } from "@mantine/core";
import { type PublicSystem, type System as State, whole, type Worker } from "./api";
import { bytes } from "./format";
import { BackupFacts, CertificateFact, Deploys } from "./Host";
import type { Connection } from "./live";
import { Problem } from "./Problem";
import { Fact } from "./Project";
import { RunTable } from "./Runs";
import { Ago } from "./time";

export function System({ system: reported, connection }: { system: State | PublicSystem | null; connection: Connection }) {
  const system = whole(reported);
  return (
    <section aria-labelledby="system">
      <Title order={2} id="system" mb="md">
        System
      </Title>
      {system ? (
        <>
          <Facts system={system} />
          <Title order={3} mt="lg">
            Last runs
          </Title>
          <RunTable runs={system.runs} />
          {system.deploys && (
            <>
              <Title order={3} mt="lg">
                Last deploys
              </Title>
              <Deploys deploys={system.deploys} />
            </>
          )}
        </>
      ) : reported ? (
        <p>
          Release <Code>{reported.release}</Code> is serving. Log in or enter an API token to see the rest.
        </p>
      ) : connection === "offline" ? (
        <Problem error="The API is not responding. This page keeps trying." />
      ) : (
        <Skeleton height={200} aria-label="Loading" aria-busy="true" />
      )}
    </section>
  );
}

function Facts({ system }: { system: State }) {
  const { color, database, disk_free_bytes: free, disk_bytes: size, worker, workers = [] } = system;
  const { certificate, backups } = system;
  return (
    <dl className="facts">
      <Fact name="Release">
        <Code>{system.release}</Code> {color} since <Ago at={system.since} />
      </Fact>
      <Fact name="Schema">
        <Code>{database.revision ?? "none"}</Code>
        {database.revision !== database.head && <> (newest known to this release: {database.head})</>}
      </Fact>
      <Fact name="Projects">{system.projects.toLocaleString()}</Fact>
      {free != null && (
        <Fact name="Free space">
          {bytes(free)}
          {size != null && ` of ${bytes(size)}`}
        </Fact>
      )}
      {certificate && <CertificateFact certificate={certificate} />}
      {backups !== undefined && <BackupFacts backups={backups} />}
      <Fact name="Worker">
        {worker ? <WorkerState worker={worker} /> : "no heartbeat yet"}
        {workers
          .filter((other) => other.name !== worker?.name)
          .map((other) => (
            <p key={other.name}>
              <WorkerState worker={other} />
            </p>
          ))}
      </Fact>
    </dl>
  );
}

function WorkerState({ worker }: { worker: Worker }) {
  return (
    <>
      <strong>{worker.alive ? "alive" : "not responding"}</strong>
      {worker.alive && worker.standby && " on standby"}, heartbeat <Ago at={worker.heartbeat} />, release{" "}
      <Code>{worker.release}</Code>
    </>
  );
}
