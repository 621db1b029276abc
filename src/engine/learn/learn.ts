/**
 * `tupper learn`: runs a container, writes down which system calls it made, takes capabilities away until something is denied that
 * was not before, and runs it once more under the result. What was not seen is not in it, and what is not confirmed is not written.
 */
import { ContainerError } from "../../error.ts";
import type { Host } from "../../plan/host.ts";
import type { Capabilities, Config } from "../../spec/config.ts";
import { type RunRequest, runContainer } from "../containers/run.ts";
import { type Learned, profileOf } from "./profile.ts";
import { makeRecording, type Recording, type Seen } from "./recording.ts";

export interface LearnRequest extends Omit<RunRequest, "follower"> {
  host: Host;
  /** One run, of what cannot be run again: capabilities stay, and nothing is confirmed. */
  once: boolean;
  /** Around each run after the first: standard input again from its beginning, output to nowhere. */
  quietly: <T>(run: () => T) => T;
}

export interface Lesson extends Learned {
  /** Of the command in the first run. */
  code: number;
  capabilities: string[];
  /** What it had and did not need. */
  dropped: string[];
  runs: number;
  confirmed: boolean;
}

interface Outcome extends Recording {
  code: number;
}

/** How often a run under the profile may bring up calls that were not seen before. */
const ROUNDS = 4;

/** Throws LEARN_NOT_CONFIRMED, and all that a run can throw. */
export function learn(request: LearnRequest): Lesson {
  const { config, host, quietly } = request;
  const given = config.process.capabilities?.effective ?? [];
  let runs = 0;
  const run = (changed: Config): Outcome => {
    const recording = makeRecording();
    const perform = () =>
      runContainer({
        ...request,
        config: changed,
        warnings: runs === 0 ? request.warnings : [],
        follower: recording.follower,
      });
    const code = runs++ === 0 ? perform() : quietly(perform);
    return { ...recording, code };
  };

  const first = run(config);
  const calls = first.calls;
  if (request.once)
    return {
      ...profileOf(calls, host.architecture),
      code: first.code,
      capabilities: [...given],
      dropped: [],
      runs,
      confirmed: false,
    };

  const works = (outcome: Outcome): boolean => {
    if (isInterrupted(outcome.code) && !isInterrupted(first.code))
      throw new ContainerError("LEARN_INTERRUPTED", "a run after the first was ended by a signal; nothing is written");
    return outcome.code === first.code && [...outcome.denials.keys()].every((key) => first.denials.has(key));
  };
  const capabilities = neededCapabilities(given, (kept) => {
    const outcome = run(withCapabilities(config, kept));
    return {
      works: works(outcome),
      lacking: [...outcome.denials].flatMap(([key, names]) => (first.denials.has(key) ? [] : [...names])),
    };
  });

  const reduced = withCapabilities(config, capabilities);
  for (let round = 0; round < ROUNDS; round++) {
    const learned = profileOf(calls, host.architecture);
    const outcome = run({ ...reduced, linux: { ...reduced.linux, seccomp: learned.profile } });
    const isNew = merge(calls, outcome.calls);
    if (works(outcome) && !isNew)
      return {
        ...learned,
        code: first.code,
        capabilities,
        dropped: given.filter((name) => !capabilities.includes(name)),
        runs,
        confirmed: true,
      };
    if (!isNew) break;
  }
  throw new ContainerError(
    "LEARN_NOT_CONFIRMED",
    "under the profile that was learned the command did not do what it did before; nothing is written",
    {
      hint: "it does something else each time (time, chance, what an earlier run left): --once writes down a single run, unconfirmed",
    },
  );
}

/** 128 + SIGINT, SIGTERM: what somebody sends who wants it to end. */
const isInterrupted = (code: number): boolean => code === 130 || code === 143;

/** Calls of a later run that the first did not make count as seen: they were made. Whether there were any. */
function merge(calls: Map<string, Seen>, more: ReadonlyMap<string, Seen>): boolean {
  let isNew = false;
  for (const [name, seen] of more) {
    const known = calls.get(name);
    if (known === undefined) {
      calls.set(name, { ...seen, denied: new Map(), byArgument: forgiven(seen.byArgument) });
      isNew = true;
      continue;
    }
    for (const [value, tally] of seen.byArgument) {
      if (known.byArgument.has(value)) continue;
      known.byArgument.set(value, { times: tally.times, denied: new Map() });
      isNew = true;
    }
  }
  return isNew;
}

/** It was the profile in the making that denied them. */
const forgiven = (byArgument: Seen["byArgument"]): Seen["byArgument"] =>
  new Map([...byArgument].map(([value, { times }]) => [value, { times, denied: new Map() }]));

type Attempt = (kept: readonly string[]) => { works: boolean; lacking: string[] };

/**
 * First without any; then with those that the denials name, fewer and fewer; where that does not do, each of all that there were is taken
 * away in turn. A capability that makes a difference without a denial (a program that asks for its own rights) shows in the exit code, or not at all.
 */
export function neededCapabilities(given: readonly string[], attempt: Attempt): string[] {
  if (given.length === 0) return [];
  const none = attempt([]);
  if (none.works) return [];
  const guessed = given.filter((name) => none.lacking.includes(name));
  const isEnough = guessed.length > 0 && guessed.length < given.length && attempt(guessed).works;
  let kept: readonly string[] = isEnough ? guessed : given;
  for (const name of kept) {
    const fewer = kept.filter((one) => one !== name);
    if (fewer.length > 0 && attempt(fewer).works) kept = fewer;
  }
  return [...kept];
}

function withCapabilities(config: Config, kept: readonly string[]): Config {
  const all = config.process.capabilities;
  if (all === undefined) return config;
  const only = (set: string[] | undefined) => set?.filter((name) => kept.includes(name)) ?? [];
  const capabilities: Capabilities = {
    bounding: only(all.bounding),
    effective: only(all.effective),
    permitted: only(all.permitted),
    inheritable: only(all.inheritable),
    ambient: only(all.ambient),
  };
  return { ...config, process: { ...config.process, capabilities } };
}
