/** `tupper explain --format json` of a process, and the same facts as a test reads them from /proc. */
import assert from "node:assert/strict";
import { CAPABILITIES } from "../src/spec/capabilities.ts";
import type { Box } from "./engine-box.ts";
import { binary } from "./harness.ts";

export interface ExplainedProcess {
  pid: number;
  maker: string | null;
  findings: { subject: string; isolated: "yes" | "no" | "unknown"; text: string; evidence: string }[];
  facts: Record<string, unknown> & { mounts: unknown[] };
}

/** The sentences, by what they say. */
export function told({ findings }: ExplainedProcess): Record<"yes" | "no", string[]> {
  const of = (isolated: string) => findings.filter((finding) => finding.isolated === isolated).map(({ text }) => text);
  return { yes: of("yes"), no: of("no") };
}

/** The facts in the JSON are those that `read` and `readlink` give. */
export function agrees(
  { pid, facts }: ExplainedProcess,
  read: (path: string) => string,
  readlink: (path: string) => string,
): void {
  const { owners: _owners, limits: _limits, label: _label, ...own } = facts;
  assert.deepEqual({ ...own, mounts: facts.mounts.length }, factsOfProc(pid, read, readlink));
}

/** `explain` of a process in the box of an engine, after a look into /proc there. */
export async function explainedIn(box: Box, word: string, pid: string): Promise<ExplainedProcess> {
  const seen = JSON.parse((await box.run([binary, "explain", "--format", "json", word])).stdout) as ExplainedProcess;
  assert.equal(String(seen.pid), pid);
  const files = new Map<string, string>();
  for (const name of ["status", "uid_map", "gid_map", "mountinfo", "cgroup"])
    files.set(`/proc/${pid}/${name}`, (await box.run(["cat", `/proc/${pid}/${name}`])).stdout);
  for (const name of ["root", ...TYPES.map((type) => `ns/${type}`)])
    files.set(`/proc/${pid}/${name}`, (await box.run(["readlink", `/proc/${pid}/${name}`])).stdout.trim());
  const look = (path: string) => files.get(path) ?? "";
  agrees(seen, look, look);
  return seen;
}

const TYPES = ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup", "time"];

/** What `facts` must be; limits and owners of namespaces are not in /proc. */
function factsOfProc(
  pid: number,
  read: (path: string) => string,
  readlink: (path: string) => string,
): Record<string, unknown> {
  const status = read(`/proc/${pid}/status`);
  const field = (name: string) => new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(status)?.[1] ?? "";
  const capabilities = (name: string) =>
    CAPABILITIES.filter((_, bit) => (BigInt(`0x${field(name)}`) >> BigInt(bit)) & 1n);
  const numbers = (name: string) => field(name).split(/\s+/).filter(Boolean).map(Number);
  const map = (name: string) =>
    read(`/proc/${pid}/${name}`)
      .split("\n")
      .filter(Boolean)
      .map((line) => {
        const [inside, outside, size] = line.trim().split(/\s+/).map(Number);
        return { inside, outside, size };
      });
  return {
    pids: numbers("NSpid"),
    namespaces: Object.fromEntries(
      TYPES.map((type) => [type, Number(/\d+/.exec(readlink(`/proc/${pid}/ns/${type}`).split(":")[1] ?? "")?.[0])]),
    ),
    uid: numbers("Uid")[1],
    gid: numbers("Gid")[1],
    groups: numbers("Groups"),
    uidMap: map("uid_map"),
    gidMap: map("gid_map"),
    capabilities: {
      effective: capabilities("CapEff"),
      permitted: capabilities("CapPrm"),
      inheritable: capabilities("CapInh"),
      bounding: capabilities("CapBnd"),
      ambient: capabilities("CapAmb"),
    },
    noNewPrivs: field("NoNewPrivs") === "1",
    seccomp: { mode: Number(field("Seccomp")), filters: Number(field("Seccomp_filters")) },
    rootLink: readlink(`/proc/${pid}/root`),
    mounts: read(`/proc/${pid}/mountinfo`).split("\n").filter(Boolean).length,
    cgroups: read(`/proc/${pid}/cgroup`)
      .trim()
      .split("\n")
      .map((line) => ({ controllers: line.split(":")[1], path: line.split(":").slice(2).join(":") })),
  };
}
