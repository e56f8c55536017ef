import type { ReactNode } from "react";
import type { Run, System, Worker } from "./api";
import type { Connection } from "./live";
import { Ago } from "./time";

export function SystemPanel({ system, connection }: { system: System | null; connection: Connection }) {
  return (
    <section aria-labelledby="system">
      <h2 id="system">System</h2>
      {system ? (
        <>
          <Facts system={system} />
          <Runs runs={system.runs} />
        </>
      ) : connection === "offline" ? (
        <p className="problem">The API does not answer; this page goes on asking.</p>
      ) : (
        <p aria-busy="true">Loading…</p>
      )}
    </section>
  );
}

function Facts({ system }: { system: System }) {
  const { database, worker, workers = [] } = system;
  return (
    <dl>
      <Fact name="Release">
        <code>{system.release}</code> since <Ago at={system.since} />
      </Fact>
      <Fact name="Schema">
        <code>{database.revision ?? "none"}</code>
        {database.revision !== database.head && <> (this release knows {database.head})</>}
      </Fact>
      <Fact name="Projects">{system.projects.toLocaleString()}</Fact>
      <Fact name="Worker">
        {worker ? <WorkerState worker={worker} /> : "no sign of life yet"}
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
      <strong className={worker.alive ? "good" : "error"}>{worker.alive ? "alive" : "silent"}</strong>
      {worker.alive && worker.standby && " on standby"}, heartbeat <Ago at={worker.heartbeat} />, release{" "}
      <code>{worker.release}</code>
    </>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Runs({ runs }: { runs: Run[] }) {
  if (runs.length === 0) return <p>No job has run yet.</p>;
  return (
    <table className="runs">
      <caption>Last runs</caption>
      <thead>
        <tr>
          <th scope="col">Job</th>
          <th scope="col">Project</th>
          <th scope="col">Outcome</th>
          <th scope="col">Ended</th>
        </tr>
      </thead>
      <tbody>
        {runs.map((run) => (
          <tr key={`${run.job} ${run.project_id} ${run.started_at}`}>
            <td>{run.job}</td>
            <td>{run.project_id ?? "–"}</td>
            <td className={run.outcome === "ok" ? "good" : "error"}>{run.outcome}</td>
            <td>
              <Ago at={run.finished_at} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
