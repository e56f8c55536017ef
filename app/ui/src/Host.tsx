/** What the host reports: deploys, backups, the certificate. A fact that it does not report is not shown. */

import { Code, Table } from "@mantine/core";
import type { ReactNode } from "react";
import type { Backups, Certificate, Deploy } from "./api";
import { bytes } from "./format";
import { Heads } from "./Heads";
import { Fact } from "./Project";
import { Ago, Ahead, Time } from "./time";

export function Deploys({ deploys }: { deploys: Deploy[] }) {
  if (deploys.length === 0) return <p>No deploys recorded yet.</p>;
  return (
    <Table>
      <Heads names={["Operation", "Release", "Color", "Outcome", "Started", "Duration"]} />
      <Table.Tbody>
        {deploys.map((deploy) => (
          <Table.Tr key={deploy.began}>
            <Table.Td>{deploy.kind}</Table.Td>
            <Table.Td>
              <code>{deploy.release}</code>
            </Table.Td>
            <Table.Td>{deploy.color}</Table.Td>
            <Table.Td {...(deploy.outcome !== "done" && { c: "var(--mantine-color-error)" })}>{deploy.outcome}</Table.Td>
            <Table.Td>
              <Ago at={deploy.began} />
            </Table.Td>
            <Table.Td>{deploy.seconds.toFixed(1)} s</Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}

export function BackupFacts({ backups }: { backups: Backups | null }) {
  const { last_backup: last, last_proven: proven, next_backup: next, next_drill: drill, failures } = backups ?? {};
  return (
    <>
      <Fact name="Last backup">
        {last ? (
          <>
            <Ago at={last.at} />
            {last.bytes != null && `, ${bytes(last.bytes)}`}
            {last.verified != null && (last.verified ? ", verified" : <Wrong>, not verified</Wrong>)}
          </>
        ) : (
          "none yet"
        )}
        {next && (
          <p>
            next: <Ahead at={next} />
          </p>
        )}
      </Fact>
      <Fact name="Last proven restore">
        {proven ? (
          <>
            <Ago at={proven.at} /> {proven.level && `(${proven.level})`}
          </>
        ) : (
          "none yet"
        )}
        {drill && (
          <p>
            next: <Ahead at={drill} />
          </p>
        )}
      </Fact>
      {Object.entries(failures ?? {}).map(([task, { times }]) => (
        <Fact key={task} name={`Failing: ${task}`}>
          <Wrong>{times === 1 ? "once" : `${times} times in a row`}</Wrong>
        </Fact>
      ))}
    </>
  );
}

export function CertificateFact({ certificate: { names, issuer, ends } }: { certificate: Certificate }) {
  const days = Math.floor((Date.parse(ends) - Date.now()) / 86_400_000);
  return (
    <Fact name="Certificate">
      <Code>{names.join(", ") || "no host name"}</Code>, issued by {issuer},{" "}
      {days < 0 ? <Wrong>expired </Wrong> : "valid for "}
      {days < 0 ? <Ago at={ends} /> : <Time at={ends} words={days === 1 ? "1 day" : `${days} days`} />}
    </Fact>
  );
}

function Wrong({ children }: { children: ReactNode }) {
  return <span className="wrong">{children}</span>;
}
