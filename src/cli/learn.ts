/** `tupper learn`: the seccomp profile and the capabilities that a command needs, from runs of it. */
import { Command, Option } from "commander";
import { asksForLimits, configFromOptions } from "../engine/containers/config.ts";
import { gatherRootFacts } from "../engine/containers/root-facts.ts";
import { type Lesson, learn } from "../engine/learn/learn.ts";
import { ContainerError } from "../error.ts";
import { probeHost } from "../execute/probe.ts";
import { hostForLimits } from "../execute/user-scope.ts";
import { word } from "../explain/shell.ts";
import { printable } from "../printable.ts";
import {
  AT_FDCWD,
  F_DUPFD_CLOEXEC,
  MFD_CLOEXEC,
  O_CLOEXEC,
  O_CREAT,
  O_WRONLY,
  S_IFIFO,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from "../sys/constants.ts";
import { writeAll } from "../sys/files.ts";
import { parseStatx, STATX_BASIC_STATS, STATX_SIZE } from "../sys/structs.ts";
import { raw, SysError, sys } from "../sys/sys.ts";
import { refuseInit } from "./diagnose.ts";
import { exitsWith } from "./exit-code.ts";
import { addRunOptions, runOptionsOf } from "./run-flags.ts";
import { colorsOf, writeErr } from "./terminal.ts";

const DEFAULT_OUTPUT = "learned.json";

export const learnCommand = addRunOptions(new Command("learn"))
  .summary("run a container and write the seccomp profile and capabilities that it needs")
  .description(
    "Runs a command in a container as `tupper run` with the same words would, and writes a seccomp profile with the system calls that it made and " +
      "no others. Runs it again without capabilities, to see which it needs, and under the result, to confirm it. The exit code is the command's.",
  )
  .addOption(new Option("-o, --output <FILE>", "where the profile goes").default(DEFAULT_OUTPUT))
  .option("--once", "a single run, of what cannot be run again: capabilities stay, nothing is confirmed")
  .action(
    exitsWith((root: string, args: string[], _options: unknown, command: Command): number => {
      const { output, once = false, ...rest } = command.opts<{ output: string; once?: boolean }>();
      const options = { ...runOptionsOf(command, args) };
      const early: string[] = [];
      const probed = probeHost();
      const host = asksForLimits(options) ? hostForLimits(probed, options.id, (text) => early.push(text)) : probed;
      const { config, warnings } = configFromOptions(options, gatherRootFacts(root, host));
      refuseInit({ config }, "tupper learn");
      // A place that cannot be written is to be known before anything runs.
      const isNew = raw.faccessat(AT_FDCWD, output, 0) < 0;
      const file = openOutput(output);
      const { privileged } = rest as { privileged?: boolean };
      if (privileged) early.push("--privileged gives devices and mounts too, which no profile takes away");
      const quietly = makeQuiet(once);
      let lesson: Lesson;
      try {
        lesson = learn({
          config,
          host,
          id: options.id,
          trace: "off",
          warnings: [...early, ...warnings],
          once,
          quietly,
        });
      } catch (error) {
        if (isNew) raw.unlinkat(AT_FDCWD, output, 0);
        throw error;
      }
      sys.ftruncate(file, 0);
      writeAll(file, `${JSON.stringify(profileFile(lesson, args), null, 2)}\n`);
      raw.close(file);
      writeErr(report(lesson, output));
      return lesson.code;
    }),
  );

function openOutput(path: string): number {
  const fd = raw.openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644);
  if (fd >= 0) return fd;
  throw new ContainerError("OUTPUT_REFUSED", `the profile cannot be written to ${path}`, {
    field: "--output",
    hint: "name another file",
    cause: new SysError("openat", -fd, [path]),
  });
}

/** The profile with what it rests on; who reads profiles skips the key `learned`. */
function profileFile(
  { profile, capabilities, dropped, probed, unnamed, runs, confirmed, code }: Lesson,
  args: readonly string[],
): unknown {
  return {
    ...profile,
    learned: { command: args, exitCode: code, runs, confirmed, capabilities, dropped, probed, unnamed },
  };
}

const short = (names: readonly string[]): string => names.map((name) => name.replace(/^CAP_/, "")).join(", ");

function report(
  { used, probed, unnamed, capabilities, dropped, runs, confirmed, code }: Lesson,
  output: string,
): string {
  const colors = colorsOf(2);
  const line = (label: string, text: string) => `  ${colors.dim(`${label}:`.padEnd(14))}${printable(text)}\n`;
  const calls = `${used.length} system ${used.length === 1 ? "call" : "calls"}`;
  const how = confirmed ? `in ${runs} runs, the last one under the result` : "in one run, not confirmed by another";
  const flags = ["--cap-drop ALL", ...capabilities.map((name) => `--cap-add ${name.replace(/^CAP_/, "")}`)];
  return (
    `${colors.bold("learned:")} ${calls} ${how}\n` +
    line(
      "capabilities",
      confirmed
        ? `${short(capabilities) || "none"}${dropped.length === 0 ? "" : `; not needed: ${short(dropped)}`}`
        : `not looked into; it had ${short(capabilities) || "none"}`,
    ) +
    (probed.length === 0
      ? ""
      : line(
          "only probed",
          `${probed.map(({ name, errno }) => `${name} (${errno})`).join(", ")}: denied under the profile as well`,
        )) +
    (unnamed.length === 0 ? "" : line("not in it", `${unnamed.join(", ")}: calls that are newer than this tupper`)) +
    (code === 0 ? "" : line("exit code", `${code}: what it would do when all goes well was not seen`)) +
    line("not seen", "what it does on other input, at other times, and when things fail") +
    line("use", `${confirmed ? `${flags.join(" ")} ` : ""}--security-opt seccomp=${word(output)}`)
  );
}

/**
 * Standard input for several runs: a file is read again from where it stood, a pipe is read to its end first and kept; a terminal is what it is.
 * The output of later runs goes nowhere.
 */
function makeQuiet(once: boolean): <T>(run: () => T) => T {
  if (once) return (run) => run();
  const stat = new ArrayBuffer(STATX_SIZE);
  const type = raw.statx(0, "", 0x1000, STATX_BASIC_STATS, stat) < 0 ? 0 : parseStatx(stat).mode & S_IFMT;
  if (type === S_IFIFO || type === S_IFSOCK) keepInput();
  const seekable = type === S_IFREG || type === S_IFIFO || type === S_IFSOCK;
  const start = seekable ? raw.lseek(0, 0, 1) : -1;
  return (run) => {
    if (start >= 0) raw.lseek(0, start, 0);
    const saved = [1, 2].map((fd) => raw.fcntl(fd, F_DUPFD_CLOEXEC, 3));
    const nowhere = sys.openat(AT_FDCWD, "/dev/null", O_WRONLY | O_CLOEXEC, 0);
    for (const fd of [1, 2]) raw.dup3(nowhere, fd, 0);
    try {
      return run();
    } finally {
      for (const [i, fd] of saved.entries()) {
        if (fd < 0) continue;
        raw.dup3(fd, i + 1, 0);
        raw.close(fd);
      }
      raw.close(nowhere);
    }
  };
}

function keepInput(): void {
  const kept = sys.memfdCreate("input", MFD_CLOEXEC);
  const buffer = new ArrayBuffer(65536);
  for (let length = sys.read(0, buffer); length > 0; length = sys.read(0, buffer))
    writeAll(kept, buffer.slice(0, length));
  sys.lseek(kept, 0, 0);
  sys.dup3(kept, 0, 0);
  raw.close(kept);
}
