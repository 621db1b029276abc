/** `process.env`: what every container has, then `--env-file`, then `--env`; a later value of a name replaces an earlier. */
import type { RootFacts } from "../root-facts.ts";
import type { RunOptions } from "../run-options.ts";
import { flagError } from "./flag-value.ts";

const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export interface Surroundings {
  hostname: string | undefined;
  home: string;
  terminal: boolean;
}

export function environment(
  options: RunOptions,
  root: RootFacts,
  { hostname, home, terminal }: Surroundings,
): string[] {
  const env = new Map<string, string>([["PATH", PATH]]);
  if (hostname !== undefined) env.set("HOSTNAME", hostname);
  if (terminal) env.set("TERM", "xterm");
  for (const [name, value] of namedVariables(options, root)) env.set(name, value);
  if (!env.has("HOME")) env.set("HOME", home);
  return [...env].map(([name, value]) => `${name}=${value}`);
}

/** What `--env-file` and `--env` name. A name without `=` takes the caller's value, or nothing if the caller has none. */
export function namedVariables(
  { env, envFile }: Pick<RunOptions, "env" | "envFile">,
  root: Pick<RootFacts, "env" | "readFile">,
): [string, string][] {
  const callers = (name: string) =>
    root.env.find((variable) => variable.startsWith(`${name}=`))?.slice(name.length + 1);
  const lines: [flag: string, text: string][] = [];
  for (const path of envFile ?? []) {
    for (const line of root.readFile(path, "--env-file").split("\n")) {
      const text = line.replace(/^\s+/, "").replace(/\r$/, "");
      if (text !== "" && !text.startsWith("#")) lines.push([`--env-file ${path}`, text]);
    }
  }
  for (const text of env ?? []) lines.push(["--env", text]);

  const variables: [string, string][] = [];
  for (const [flag, text] of lines) {
    const [name, value] = splitVariable(text);
    if (name === "" || (flag !== "--env" && /\s/.test(name))) {
      throw flagError(
        "BAD_VARIABLE",
        flag,
        `"${text}" is not an environment variable`,
        "NAME=VALUE, or NAME to pass the caller's value on",
      );
    }
    const given = value ?? callers(name);
    if (given !== undefined) variables.push([name, given]);
  }
  return variables;
}

function splitVariable(text: string): [name: string, value: string | undefined] {
  const at = text.indexOf("=");
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}
