/**
 * Bundles, and the OCI runtime that makes containers of them.
 *
 * What the runtime and its container print goes to files: a created container keeps its output open, and a pipe would not
 * end before the container does.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { capabilityNames } from "../src/spec/capabilities.ts";
import type { Config, Resources } from "../src/spec/config.ts";
import { stringifyExactly } from "../src/spec/json-text.ts";
import {
  atEnd,
  binary,
  binaryFor,
  environmentOf,
  eventually,
  isRoot,
  slowness,
  temporaryDirectory,
  type User,
} from "./harness.ts";
import { switchesOf, weakenedBinary } from "./weakened.ts";

/** What a test changes of a config: each section is laid over the usual one. */
export interface ConfigChange {
  args?: string[];
  process?: Partial<Config["process"]>;
  linux?: Partial<Config["linux"]>;
  resources?: Resources;
  mounts?: Config["mounts"];
  root?: Partial<Config["root"]>;
  hostname?: string;
  annotations?: Record<string, string>;
  hooks?: NonNullable<Config["hooks"]>;
}

/** All that there are here: a config without `capabilities` gives none. */
const ALL = capabilityNames(BigInt(`0x${/^CapBnd:\t(\w+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]}`));

/** `readonly`: the root is shared by tests. */
export function makeConfig(root: string, change: ConfigChange = {}): Config {
  const { args = ["sleep", "600"], process, linux, resources, mounts, hostname, annotations, hooks } = change;
  const config: Config = {
    ociVersion: "1.2.0",
    root: { path: root, readonly: true, ...change.root },
    process: {
      user: { uid: 0, gid: 0 },
      args,
      env: ["PATH=/bin"],
      cwd: "/",
      capabilities: { bounding: ALL, effective: ALL, permitted: ALL },
      ...process,
    },
    hostname: hostname ?? "box",
    ...(annotations === undefined ? {} : { annotations }),
    ...(hooks === undefined ? {} : { hooks }),
    mounts: mounts ?? [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
      { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
    ],
    linux: {
      namespaces: (["pid", "network", "ipc", "uts", "mount", "cgroup"] as const).map((type) => ({ type })),
      ...linux,
      ...(isRoot && { resources: { devices: [{ allow: false, access: "rwm" }] } }),
      ...(resources && { resources: { ...(isRoot && { devices: [{ allow: false, access: "rwm" }] }), ...resources } }),
    },
  };
  return isRoot ? config : asUser(config);
}

/** As an ordinary user must have it: with a user namespace, whose map is the runtime's to choose; control groups are not his. */
export function asUser(config: Config): Config {
  const { namespaces = [] } = config.linux;
  Reflect.deleteProperty(config.linux, "cgroupsPath");
  if (!namespaces.some(({ type }) => type === "user")) config.linux.namespaces = [...namespaces, { type: "user" }];
  return config;
}

/** A directory with this config, which is removed at the end of the test. */
export function makeBundle(config: unknown): string {
  const directory = temporaryDirectory();
  writeFileSync(join(directory, "config.json"), stringifyExactly(config));
  return directory;
}

export interface RuntimeResult {
  stdout: string;
  stderr: string;
  code: number | null;
}

export interface RuntimeOptions {
  /** What stdin holds. */
  input?: string;
  cwd?: string;
  timeoutMs?: number;
  user?: User;
  env?: NodeJS.ProcessEnv;
  /** A command that the runtime and its arguments are handed to, such as `unshare -Ur`. */
  prefix?: readonly string[];
  /** The weakened build, with these switches on (weaknesses.ts). */
  weak?: string | undefined;
  /** The prefix gets the file of the runtime's name, with no shell in between. */
  isDirect?: boolean;
}

export interface RuntimeRunning {
  stdout(): string;
  kill(signal: NodeJS.Signals): void;
  ended: Promise<RuntimeResult>;
}

/** Starts the OCI runtime and does not wait for it. */
export function startRuntime(args: readonly string[], options: RuntimeOptions = {}): RuntimeRunning {
  const { input = "", cwd = "/", timeoutMs = 30_000, user, env, prefix = [], weak, isDirect = false } = options;
  const directory = temporaryDirectory();
  const file = (name: string) => join(directory, name);
  writeFileSync(file("in"), input);
  const fds = [openSync(file("in"), "r"), openSync(file("out"), "w"), openSync(file("err"), "w")];
  const named = prefix.length === 0 ? [] : ["bash", "-c", 'exec -a tupper-runtime "$0" "$@"'];
  const own = programFor(user, weak);
  const command = isDirect ? [...prefix, `${own}-runtime`] : [...prefix, ...named, own];
  const [program = "", ...rest] = [...command, ...args];
  const child = spawn(program, rest, {
    ...(prefix.length === 0 ? { argv0: "tupper-runtime" } : {}),
    cwd,
    stdio: fds,
    env: { ...process.env, ...(user === undefined ? {} : environmentOf(user)), ...switchesOf(weak), ...env },
    ...(user === undefined ? {} : { uid: user.uid, gid: user.gid }),
  });
  for (const fd of fds) closeSync(fd);
  const read = (name: string) => readFileSync(file(name), "utf8");
  const ended = new Promise<RuntimeResult>((done, failed) => {
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      failed(new Error(`tupper-runtime ${args.join(" ")} did not end within ${timeoutMs} ms: ${read("err")}`));
    }, timeoutMs * slowness);
    child.on("error", failed);
    child.on("exit", (code) => {
      clearTimeout(timer);
      done({ stdout: read("out"), stderr: read("err"), code });
    });
  });
  ended.catch(() => {}); // reported where somebody waits for it
  atEnd(() => child.kill("SIGKILL"));
  return { stdout: () => read("out"), kill: (signal) => child.kill(signal), ended };
}

const programFor = (user: User | undefined, weak: string | undefined): string =>
  weak !== undefined ? weakenedBinary : user === undefined ? binary : binaryFor(user);

/** Runs the OCI runtime to its end. */
export const runtime = (args: readonly string[], options: RuntimeOptions = {}): Promise<RuntimeResult> =>
  startRuntime(args, options).ended;

/** What it prints when it must succeed without a word on stderr. */
export async function runtimePrints(args: readonly string[], options: RuntimeOptions = {}): Promise<string> {
  const { stdout, stderr, code } = await runtime(args, options);
  assert.deepEqual({ stderr, code }, { stderr: "", code: 0 }, `tupper-runtime ${args.join(" ")}`);
  return stdout;
}

/** `CODE: sentence` of an error that must come, with exit code 1 (255 from exec). */
export async function runtimeFails(args: readonly string[], options: RuntimeOptions = {}): Promise<string> {
  const { stdout, stderr, code } = await runtime(args, options);
  assert.deepEqual({ stdout, code }, { stdout: "", code: args[0] === "exec" ? 255 : 1 }, stderr);
  const match = /^error: (.+) \(([A-Z][A-Z0-9_]*)\)$/m.exec(stderr);
  assert.ok(match, `no error in the house's form: ${stderr}`);
  return `${match[2]}: ${match[1]}`;
}

let containers = 0;

/** An ID that no other test has. */
export const newId = (): string => `rt-${process.pid}-${++containers}`;

/** A container in the state `created`, deleted at the end of the test. */
export async function created(config: unknown, flags: readonly string[] = []): Promise<string> {
  const id = newId();
  const bundle = makeBundle(config);
  atEnd(() => runtime(["delete", "--force", id]));
  await runtimePrints(["create", "--bundle", bundle, ...flags, id]);
  return id;
}

/** A running container, deleted at the end of the test. */
export async function running(config: unknown, flags: readonly string[] = []): Promise<string> {
  const id = await created(config, flags);
  await runtimePrints(["start", id]);
  return id;
}

export interface State {
  id: string;
  pid: number;
  status: string;
  bundle: string;
}

export const stateOf = async (id: string): Promise<State> => JSON.parse(await runtimePrints(["state", id])) as State;

/** Polls until the container has this status. */
export const untilStatus = (id: string, status: string): Promise<void> =>
  eventually(`${id} is ${status}`, async () => (await stateOf(id)).status === status);
