/** dockerd of Debian's docker.io in a box of its own, with tupper as a runtime beside runc, and its client. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { askOver } from "./engine-api.ts";
import { type Box, engineBox, type RunOptions } from "./engine-box.ts";
import { eventually, isSanitizer, output, type Result } from "./harness.ts";
import { missing } from "./missing.ts";
import { printed, type RuntimeName, runtimePath, type Seen, seen } from "./same-as-runc.ts";

const lacks = missing("root", "package:docker.io", "package:runc", "package:busybox-static", "cgroup1");
/** Why the suites of Docker do not run, if they do not. */
export const skip = lacks || (isSanitizer && "the engines are tried on the usual build");

export interface Docker {
  box: Box;
  /** The words before a client's command. */
  words: readonly string[];
  client(...args: string[]): Promise<Result>;
  clientWith(options: RunOptions, ...args: string[]): Promise<Result>;
  /** What the client shows of `docker run --rm FLAGS box sh -c TEXT`, without a network. */
  run(runtime: RuntimeName, flags: readonly string[], text: string, options?: RunOptions): Promise<Seen>;
  /** What that script prints, its errors too; the container itself must go well. */
  sees(runtime: RuntimeName, flags: readonly string[], text: string): Promise<string>;
  /** Starts a container for what a scenario does with it, and removes it afterwards. */
  withContainer<T>(
    runtime: RuntimeName,
    name: string,
    args: readonly string[],
    scenario: (name: string) => Promise<T>,
  ): Promise<T>;
  inspect(name: string, format: string): Promise<string>;
  /** Waits until inspect prints this. */
  until(name: string, format: string, wanted: string): Promise<void>;
  /** One request to the API, without the client: the body of the answer. */
  ask(method: string, path: string, body?: unknown): Promise<{ status: number; body: string }>;
}

export const flagsOf = (runtime: RuntimeName) => ["--rm", `--runtime=${runtime}`, "--network=none"];

/** Once per suite. The image `box` is busybox. `flags` are dockerd's, without dashes. */
export function dockerd(flags: Readonly<Record<string, string>> = {}): Docker {
  const box = engineBox(skip, async () => {
    const configFile = join(box.directory, "daemon.json");
    writeFileSync(configFile, "{}");
    const all = {
      "config-file": configFile,
      "data-root": join(box.directory, "docker"),
      "exec-root": "/run/docker",
      pidfile: "/run/docker.pid",
      host: `unix://${socket()}`,
      "oom-score-adjust": "0", // a lower one takes CAP_SYS_RESOURCE
      "add-runtime": `tupper=${runtimePath("tupper", box.directory)}`,
      ...flags,
    };
    words.push("/usr/bin/docker", "--host", `unix://${socket()}`);
    const command = ["dockerd", ...Object.entries(all).map(([flag, value]) => `--${flag}=${value}`)];
    await box.daemon(command, async () => (await client("version")).code === 0);
    output("tar", "--create", "--directory", box.rootfs, "--file", join(box.directory, "rootfs.tar"), ".");
    printed(await client("import", join(box.directory, "rootfs.tar"), "box"));
  });
  const socket = () => join(box.directory, "docker.sock");
  const words: string[] = [];
  const client = (...args: string[]) => clientWith({}, ...args);
  const clientWith = (options: RunOptions, ...args: string[]) => box.run([...words, ...args], options);
  const inspect = async (name: string, format: string) => printed(await client("inspect", "--format", format, name));
  return {
    box,
    words,
    client,
    clientWith,
    run: async (runtime, own, text, options = {}) =>
      seen(await clientWith(options, "run", ...flagsOf(runtime), ...own, "box", "sh", "-c", text)),
    sees: async (runtime, own, text) => {
      const script = `exec 2>&1; ${text}\nexit 0`;
      return printed(await client("run", ...flagsOf(runtime), ...own, "box", "sh", "-c", script));
    },
    withContainer: async (runtime, name, args, scenario) => {
      const full = `${name}-${runtime}`;
      const network = args.some((word) => word.startsWith("--network")) ? [] : ["--network=none"];
      printed(await client("run", `--runtime=${runtime}`, "--detach", `--name=${full}`, ...network, ...args));
      try {
        return await scenario(full);
      } finally {
        printed(await client("rm", "--force", full));
      }
    },
    inspect,
    until: (name, format, wanted) =>
      eventually(`${name}: ${format} is ${wanted}`, async () => (await inspect(name, format)) === wanted, 20_000),
    ask: async (method, path, body) => {
      const answer = await askOver(socket(), method, path, body);
      return { status: answer.status, body: answer.body.toString() };
    },
  };
}
