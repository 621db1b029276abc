/**
 * What is fed with bytes that a stranger may choose, and what must hold then. A target returns what became of its input
 * (`taken`, or the code of the refusal), or throws where a promise is broken.
 */

import { GvariantError, parseGvariant } from "../../../src/dbus/gvariant.ts";
import { encode, MarshalError, splitSignature } from "../../../src/dbus/marshal.ts";
import { decodeMessage, messageLength } from "../../../src/dbus/message.ts";
import { ROOT_HOST } from "../../../src/engine/containers/config/test-facts.ts";
import { containerUser } from "../../../src/engine/containers/config/user.ts";
import { ContainerError } from "../../../src/error.ts";
import { homeIn } from "../../../src/execute/home.ts";
import { packNumberList } from "../../../src/execute/number-mask.ts";
import { parseSubordinateIds } from "../../../src/execute/probe.ts";
import { matchMounts, parseCgroupMounts, parseSelfCgroup } from "../../../src/execute/probe-cgroups.ts";
import { awaitCommand, awaitStart, sendStart } from "../../../src/execute/start-socket.ts";
import { managerGroup, timeLimitMs } from "../../../src/execute/systemd.ts";
import { planUpdate } from "../../../src/plan/cgroup/update.ts";
import { parseMountOptions } from "../../../src/plan/mount-options.ts";
import { mountsUnder } from "../../../src/plan/mountinfo.ts";
import { plan } from "../../../src/plan/plan.ts";
import { planMountsAdd } from "../../../src/plan/plan-mounts.ts";
import { emulateSeccomp } from "../../../src/plan/seccomp/emulate.ts";
import { compileProfile } from "../../../src/plan/seccomp/profile-program.ts";
import { selectProcesses } from "../../../src/runtime/ps.ts";
import { defaultConfig } from "../../../src/spec/default-config.ts";
import {
  parseConfig,
  parseMounts,
  parseProcess,
  parseResources,
  parseSeccomp,
} from "../../../src/spec/parse-config.ts";
import type { RawSys } from "../../../src/sys/generated.ts";
import { parseAttributes, parseMessages } from "../../../src/sys/netlink.ts";
import { replaceSys } from "../../../src/sys/sys.ts";
import { commandLine, create, stateDirectory, tupperState, withoutQuotes } from "./commands.ts";
import { glue } from "./glue.ts";
import { groupRootsOf, HOSTS } from "./hosts.ts";
import { checkPlan } from "./plan-rules.ts";
import { World } from "./world.ts";

export interface Input {
  bytes: Uint8Array;
  /** The same as the host decodes it. */
  text: string;
}

export type Target = (input: Input, real: RawSys) => string;

/** The code with which something is refused; anything else that is thrown is a fault. `needsField`: a refusal names it. */
function refusal(act: () => void, needsField = false): string {
  try {
    act();
    return "taken";
  } catch (error) {
    if (!(error instanceof ContainerError)) throw error;
    if (needsField && (error.field === undefined || error.field === ""))
      throw new Error(`an error without a field: ${error.message} (${error.code})`);
    if (error.message === "" || /\bundefined\b|\[object /.test(withoutQuotes(error.message)))
      throw new Error(`no sentence: ${error.message}`);
    return error.code;
  }
}

/** A plan for one machine, which the input chooses. */
function config({ bytes, text }: Input): string {
  const digest = bytes.reduce((sum, byte) => (sum * 31 + byte) % 65_521, 0);
  const host = HOSTS[digest % HOSTS.length] ?? ROOT_HOST;
  return refusal(() => {
    const { config } = parseConfig(text);
    // As loadBundle does it.
    if (!config.root.path.startsWith("/")) config.root.path = `/bundle/${config.root.path}`;
    const made = plan(config, host, {
      id: "box",
      state: "/run/tupper-runtime/box",
      bundle: "/bundle",
      detached: { waits: true },
      everyCpu: true,
    });
    checkPlan(made, groupRootsOf(host), (digest >> 4) % 4);
  }, true);
}

/** The profile alone; the program must answer every call with what the profile, or the rules above it, can say. */
function seccomp({ text }: Input): string {
  let section: unknown;
  try {
    section = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return "no JSON";
    throw error;
  }
  return (["x86_64", "aarch64"] as const)
    .map((architecture) =>
      refusal(() => {
        const { program, flags } = compileProfile(parseSeccomp(structuredCopy(section)), architecture);
        if (program.length > 8 * 4096 || program.length % 8 !== 0) throw new Error("a program that no kernel takes");
        if (!Number.isInteger(flags)) throw new Error("flags that are none");
        for (const arch of [0xc000003e, 0x40000003, 0xc00000b7, 0x40000028, 0])
          for (const nr of [0, 1, 56, 101, 102, 117, 165, 272, 435, 439, 500, 0x40000000, 0x40000207, 0xffffffff])
            emulateSeccomp(program, { nr, arch, args: [nr, 2n ** 63n, 0, -1, 1, 38] });
      }, true),
    )
    .join(" ");
}

const structuredCopy = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

/** The first line is what `--user` says, the second a uid; the rest is /etc/passwd, /etc/group and /etc/subuid. */
function passwd({ text }: Input): string {
  const [user = "", uid = "", ...lines] = text.split("\n");
  const rest = lines.join("\n");
  if (!homeIn(rest, Number(uid)).trim() && rest.trim()) throw new Error("HOME is empty");
  for (const { start, count } of parseSubordinateIds(rest, Number(uid), user))
    if (typeof start !== "number" || typeof count !== "number") throw new Error("a range is numbers");
  return refusal(() => {
    const { user: found } = containerUser({ user }, { passwd: rest, group: rest }, undefined);
    for (const id of [found.uid, found.gid, ...(found.additionalGids ?? [])])
      if (!Number.isInteger(id) || Number(id) < 0 || Number(id) > 4294967295) throw new Error(`${id} is no id`);
  });
}

/** Lines: destination, type, source, then options. */
function options({ text }: Input): string {
  const [destination = "", type = "", source = "", ...lines] = text.replaceAll("\0", "").split("\n");
  parseMountOptions(lines);
  const mount = { destination, type, source, options: lines };
  const asked = JSON.stringify([type === "" ? { ...mount, type: undefined } : mount]);
  return refusal(() => {
    const { value: mounts } = parseMounts(asked);
    const { config } = parseConfig(JSON.stringify(defaultConfig({ cgroup2: true })));
    checkPlan(planMountsAdd(config, ROOT_HOST, "box", mounts), groupRootsOf(ROOT_HOST));
  }, true);
}

function parts({ text }: Input): string {
  const process = refusal(() => parseProcess(text), true);
  const mounts = refusal(() => parseMounts(text), true);
  const resources = refusal(() => {
    const { value } = parseResources(text);
    for (const host of HOSTS) {
      const { unified, hierarchies } = host.cgroups;
      const groups = [
        ...hierarchies.map(({ controllers, mountPoint }) => ({
          controller: controllers.join(),
          path: `${mountPoint}/box`,
        })),
        ...(unified === undefined ? [] : [{ controller: "unified", path: `${unified.mountPoint}/box` }]),
      ];
      planUpdate({}, value, { kernel: host.kernel, groups, offered: unified?.controllers ?? [] });
    }
  });
  return `${process} ${mounts} ${resources}`;
}

/** Throws what is not an error of this class. */
function only(kind: new (...args: never[]) => Error, act: () => void): string {
  try {
    act();
    return "taken";
  } catch (error) {
    if (error instanceof kind) return "refused";
    throw error;
  }
}

function dbus({ bytes, text }: Input): string {
  const message = only(MarshalError, () => {
    const length = messageLength(bytes);
    if (length === undefined || length > bytes.length) return;
    decodeMessage(bytes.slice(0, length));
  });
  const signature = only(MarshalError, () => void splitSignature(text));
  const variant = only(GvariantError, () => {
    const value = parseGvariant(text);
    only(MarshalError, () => void encode("v", [value]));
  });
  return `${message} ${signature} ${variant}`;
}

/** Files of the kernel, and answers of programs: nobody's to choose, but names in them are. */
function files({ bytes, text }: Input): string {
  for (const { mountPoint } of mountsUnder("/run/", text)) if (mountPoint === "") throw new Error("no mount point");
  const { hierarchies, unified } = matchMounts(parseSelfCgroup(text), parseCgroupMounts(text));
  for (const { mountPoint } of [...hierarchies, ...(unified === undefined ? [] : [unified])])
    if (typeof mountPoint !== "string") throw new Error("no mount point");
  parseSubordinateIds(text, 1000, "alice");
  packNumberList(text);
  timeLimitMs(text);
  managerGroup(text);
  refusal(() => void selectProcesses(text, [1, 4242]));
  const buffer = bytes.slice().buffer as ArrayBuffer;
  try {
    for (const { body } of parseMessages(buffer, buffer.byteLength)) parseAttributes(body, 16);
  } catch (error) {
    // Of the kernel: it may break off, but not go on for ever.
    if (!(error instanceof RangeError) || /stack/.test(error.message)) throw error;
  }
  return "taken";
}

/** Lines that come over the start socket, and over the one for the answers. */
function messages({ text }: Input, real: RawSys): string {
  const lines = text.split("\n").filter((line) => line !== "");
  const within = (sent: { text: string; fds: number[] }[], act: () => void): string => {
    const before = replaceSys(new World(real, { cgroups: "v2", spawn: "refused", messages: sent }).table);
    try {
      return refusal(act);
    } finally {
      replaceSys(before);
    }
  };
  const garbage = lines.map((line, i) => ({ text: line, fds: Array.from({ length: i % 3 }, () => 0) }));
  const start = { text: '{"kind":"start"}', fds: [0] };
  const waits = within([...garbage, start], () => void awaitStart(5));
  const state = () => ({ pid: 1 }) as unknown as ReturnType<Parameters<typeof awaitCommand>[1]>;
  return `${waits} ${within(garbage, () => awaitCommand(sendStart("/run/start"), state, () => {}))}`;
}

export const TARGETS: Readonly<Record<string, Target>> = {
  config,
  seccomp,
  parts,
  passwd,
  options,
  dbus,
  files,
  messages,
  glue,
  arguments: commandLine,
  create,
  state: stateDirectory,
  "tupper-state": tupperState,
};
