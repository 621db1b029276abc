/** `tupper exec`: one more command in a running container, in the foreground. */
import { ContainerError } from "../../error.ts";
import { blockSignals } from "../../execute/execute.ts";
import { executeInside } from "../../execute/execute-inside.ts";
import { ENDING_SIGNALS } from "../../execute/give-up.ts";
import { makeTracer } from "../../execute/tracer.ts";
import { hostForJoining } from "../../execute/user-scope.ts";
import { hookState } from "../../plan/hooks.ts";
import type { Host } from "../../plan/host.ts";
import { isolates, namespaceOf } from "../../plan/namespaces.ts";
import { CONTAINER, planExec } from "../../plan/plan-exec.ts";
import { printable } from "../../printable.ts";
import { startTimeOf } from "../../runtime/start-time.ts";
import { supervise } from "../../runtime/supervise.ts";
import { EVERY_SIGNAL, openSignals } from "../../runtime/terminal.ts";
import { CAPABILITIES } from "../../spec/capabilities.ts";
import type { Config, Process } from "../../spec/config.ts";
import { writeErr } from "../../sys/files.ts";
import { raw } from "../../sys/sys.ts";
import { containerCapabilities } from "./config/capabilities.ts";
import { containerUser } from "./config/user.ts";
import { gatherRootFacts, ownCapabilities } from "./root-facts.ts";
import { loadState } from "./state.ts";

export interface ExecRequest {
  id: string;
  args: string[];
  /** `NAME=value`, over those of the container. */
  env: string[];
  cwd?: string;
  /** `NAME|UID[:GROUP|GID]` of the container's own passwd and group; the container's user when undefined. */
  user?: string;
  /** More groups, by name or number. */
  groups?: string[];
  terminal: boolean;
  /** All capabilities, no seccomp filter. */
  privileged: boolean;
  capabilities?: { add: string[]; drop: string[] };
  noNewPrivileges?: boolean;
}

/** Returns the command's exit code. Throws CONTAINER_UNKNOWN, CONTAINER_NOT_RUNNING, and what a start can throw. */
export function execInContainer(request: ExecRequest): number {
  const { pid, startTime, config, cgroups } = loadState(request.id);
  const pidfd = pid === 0 ? -1 : raw.pidfdOpen(pid, 0);
  if (pidfd < 0 || startTimeOf(pid) !== startTime) {
    throw new ContainerError("CONTAINER_NOT_RUNNING", `the container ${request.id} is not running`);
  }
  const warn = (text: string) => writeErr(`warning: ${printable(text)}\n`);
  const host = hostForJoining(cgroups, warn);
  const { process, warnings } = execProcess(request, config, pid, host);
  for (const text of warnings) warn(text);
  const linux = { ...config.linux };
  if (request.privileged) delete linux.seccomp;
  const plan = planExec({ ...config, process, linux }, host, request.id, cgroups);
  blockSignals();
  const signals = openSignals(ENDING_SIGNALS);
  const started = executeInside(pidfd, plan, {
    tracer: makeTracer("off"),
    warn,
    recordState: () => {},
    containerState: () => ({
      ...hookState(config, request.id, `${host.stateRoot}/${request.id}`),
      status: "running",
      pid,
    }),
    slots: new Map([[CONTAINER.slot, pidfd]]),
    givesUp: { signals, cgroups },
  });
  raw.close(pidfd);
  return supervise(started, openSignals(EVERY_SIGNAL, signals));
}

/** The container's process with what the request changes. */
function execProcess(
  request: ExecRequest,
  config: Config,
  pid: number,
  host: Host,
): { process: Process; warnings: string[] } {
  const { args, env, cwd, terminal, privileged, noNewPrivileges } = request;
  const own = config.process;
  const process: Process = { ...own, args, terminal, cwd: cwd ?? own.cwd };
  const warnings: string[] = [];
  let { env: variables = [] } = own;
  if (request.user !== undefined || request.groups !== undefined) {
    const facts = gatherRootFacts(`/proc/${pid}/root`, host);
    const mapped = namespaceOf(config, "user") === undefined ? undefined : config.linux;
    const {
      user,
      home,
      warnings: userWarnings,
    } = containerUser(
      {
        user: request.user ?? `${own.user.uid}:${own.user.gid}`,
        ...(request.groups === undefined ? {} : { groupAdd: request.groups }),
      },
      facts,
      mapped?.uidMappings === undefined || mapped.gidMappings === undefined
        ? undefined
        : { uidMappings: mapped.uidMappings, gidMappings: mapped.gidMappings },
    );
    process.user = { ...own.user, ...user };
    warnings.push(...userWarnings);
    variables = override(variables, [`HOME=${home}`]);
  }
  const { uid } = process.user;
  const asked = request.capabilities;
  if (privileged || asked !== undefined || request.user !== undefined) {
    const grantable = isolates(config, "user") ? CAPABILITIES : ownCapabilities();
    const available = privileged ? grantable : (own.capabilities?.bounding ?? []);
    const kept = asked?.drop.includes("ALL") ? [] : available.filter((name) => !asked?.drop.includes(name));
    const start = { capAdd: [...kept, ...(asked?.add ?? [])], capDrop: ["ALL"] };
    const { sets, warnings: more } = containerCapabilities(start, uid, grantable);
    process.capabilities = sets;
    warnings.push(...more);
  }
  if (noNewPrivileges !== undefined) process.noNewPrivileges = noNewPrivileges;
  process.env = override(terminal ? override(variables, ["TERM=xterm"]) : variables, env);
  return { process, warnings };
}

/** Variables with later ones in place of earlier ones of the same name. */
function override(variables: readonly string[], later: readonly string[]): string[] {
  const named = new Map<string, string>();
  for (const variable of [...variables, ...later]) named.set(variable.slice(0, variable.indexOf("=")), variable);
  return [...named.values()];
}
