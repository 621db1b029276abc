import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { afterEach, test } from "node:test";
import { Command } from "commander";
import type { RunOptions } from "../engine/containers/run-options.ts";
import { recordingSys } from "../sys/recording.ts";
import { replaceSys } from "../sys/sys.ts";
import { NEEDLESS_WALKS } from "./configure-program.ts";
import { main } from "./main.ts";
import { program } from "./program.ts";
import { runOptionsOf, traceOf } from "./run-flags.ts";
import { runtimeProgram } from "./runtime/program.ts";

const ENOENT = -2;
const ENOTTY = -25;
let restore = () => {};
afterEach(() => restore());

/** Calls main under a `sys` that has no files and no terminals, and collects what it wrote. */
function call(...argv: string[]): { code: number; stdout: string; stderr: string } {
  const recorder = recordingSys({
    openat: ENOENT,
    faccessat: ENOENT,
    ioctl: ENOTTY,
    write: (_fd, data) => lengthOf(data),
  });
  const before = replaceSys(recorder);
  restore = () => void replaceSys(before);
  const code = main(argv);
  restore();
  const written = (wanted: number) =>
    recorder.calls
      .filter(({ name, args }) => name === "write" && args[0] === wanted)
      .map(({ args }) => (typeof args[1] === "string" ? args[1] : Buffer.from(args[1] as ArrayBuffer).toString()))
      .join("");
  return { code, stdout: written(1), stderr: written(2) };
}

const lengthOf = (data: string | ArrayBuffer): number => (typeof data === "string" ? data.length : data.byteLength);

test("tupper --version: the version, the spec, the features", () => {
  const expected = {
    code: 0,
    stdout: "tupper version 0.0.0\ncommit: unknown\nspec: 1.3.0\n+SELINUX +APPARMOR +CAP +SECCOMP +EBPF +CRIU\n",
    stderr: "",
  };
  assert.deepEqual(call("tupper", "--version"), expected);
  assert.deepEqual(call("/usr/bin/tupper", "-v"), expected);
});

test("tupper-runtime --version: runc's form, whatever the path it was called by", () => {
  const { code, stdout } = call("/usr/bin/tupper-runtime", "--version");
  assert.deepEqual(
    [code, ...stdout.split("\n").slice(0, 3)],
    [0, "tupper-runtime version 0.0.0", "commit: unknown", "spec: 1.3.0"],
  );
});

test("tupper-runtime: an unknown command is an error with the nearest one", () => {
  const { code, stdout, stderr } = call("tupper-runtime", "creat", "x");
  assert.deepEqual(
    [code, stdout, stderr.split("\n").slice(0, 2)],
    [1, "", ["error: unknown command 'creat' (UNKNOWN_COMMAND)", "  hint:   did you mean create?"]],
  );
});

test("an unknown command is an error in `NAME --help`, `NAME -h` and `help NAME` too", () => {
  const unknown = (name: string, hint: string, usage: string, code: number) => ({
    code,
    stdout: "",
    stderr: `error: unknown command '${name}' (UNKNOWN_COMMAND)\n  hint:   ${hint}\nusage: ${usage}\n`,
  });
  const runtime = "tupper-runtime [OPTIONS] COMMAND [ARG…]";
  const creat = unknown("creat", "did you mean create?", runtime, 1);
  for (const words of [
    ["creat", "--help"],
    ["creat", "-h"],
    ["help", "creat"],
    ["--debug", "creat", "-h"],
  ])
    assert.deepEqual(call("tupper-runtime", ...words), creat, words.join(" "));
  assert.deepEqual(
    call("tupper", "rnu", "--help"),
    unknown("rnu", "did you mean run?", "tupper [OPTIONS] COMMAND [ARG…]", 2),
  );
});

test("tupper: without arguments, help on stderr and exit code 2; with --help on stdout and 0", () => {
  const bare = call("tupper");
  const asked = call("tupper", "--help");
  assert.deepEqual([bare.code, bare.stdout, asked.code, asked.stderr], [2, "", 0, ""]);
  assert.equal(bare.stderr, asked.stdout);
  assert.match(asked.stdout, /^Usage: tupper \[OPTIONS\] COMMAND \[ARG…\]\n/);
});

test("help: no line of any command's is longer than 80 characters", () => {
  const paths = program.commands.flatMap((command) => [
    [command.name()],
    ...command.commands.map((child) => [command.name(), child.name()]),
  ]);
  const texts = [[], ...paths].map((path) => call("tupper", ...path, "--help").stdout);
  assert.deepEqual(
    texts.flatMap((text) => text.split("\n")).filter((line) => line.length > 80),
    [],
  );
});

test("a command line that is wrong: its code, the nearest right name, the usage, and docker's exit code", () => {
  const run = "usage: tupper run [OPTIONS] ROOT [COMMAND [ARG…]]";
  const cases: [argv: string, code: number, lines: string[]][] = [
    [
      "rnu",
      2,
      [
        "error: unknown command 'rnu' (UNKNOWN_COMMAND)",
        "  hint:   did you mean run?",
        "usage: tupper [OPTIONS] COMMAND [ARG…]",
      ],
    ],
    [
      "run --memry=5m host",
      125,
      ["error: tupper run has no flag --memry (UNKNOWN_FLAG)", "  hint:   did you mean --memory?", run],
    ],
    [
      "run --netwrok host host",
      125,
      ["error: tupper run has no flag --netwrok (UNKNOWN_FLAG)", "  hint:   did you mean --network?", run],
    ],
    [
      "run --trace=all host",
      125,
      ['error: --trace cannot be "all" (BAD_VALUE)', "  hint:   one of steps, syscalls", run],
    ],
    ["run --rm=maybe host", 125, ['error: --rm cannot be "maybe" (BAD_VALUE)', "  hint:   one of true, false", run]],
    [
      "run -name x host",
      125,
      ["error: tupper run has no flag -name (UNKNOWN_FLAG)", "  hint:   did you mean --name?", run],
    ],
    [
      "--error-format text run --format json host",
      125,
      [
        "error: --format says how --diagnose tells what is denied, and --diagnose is not given (USAGE)",
        "  hint:   add --diagnose; for errors as JSON: tupper --error-format json run …",
        run,
      ],
    ],
    ["run", 125, ["error: tupper run needs ROOT (MISSING_ARGUMENT)", "  hint:   see tupper run --help", run]],
    [
      "run --memory",
      125,
      ["error: the flag -m, --memory <BYTES> needs a value (MISSING_VALUE)", "  hint:   see tupper run --help", run],
    ],
    [
      "exec box",
      125,
      [
        "error: tupper exec needs COMMAND (MISSING_ARGUMENT)",
        "  hint:   see tupper exec --help",
        "usage: tupper exec [OPTIONS] NAME COMMAND [ARG…]",
      ],
    ],
    [
      "ps extra",
      2,
      [
        "error: tupper ps takes no argument extra (TOO_MANY_ARGUMENTS)",
        "  hint:   see tupper ps --help",
        "usage: tupper ps [OPTIONS]",
      ],
    ],
    [
      "ps --format jsn",
      2,
      ['error: --format cannot be "jsn" (BAD_VALUE)', "  hint:   did you mean json?", "usage: tupper ps [OPTIONS]"],
    ],
    [
      "completion tcsh",
      2,
      [
        'error: SHELL cannot be "tcsh" (BAD_VALUE)',
        "  hint:   did you mean bash?",
        "usage: tupper completion [OPTIONS] SHELL",
      ],
    ],
  ];
  for (const [argv, code, lines] of cases) {
    assert.deepEqual(call("tupper", ...argv.split(" ")), { code, stdout: "", stderr: `${lines.join("\n")}\n` }, argv);
  }
});

test("a command line that is wrong: words that stand in the wrong place, or belong to other programs, and what is meant", () => {
  const tupper: [argv: string, code: number, error: string, hint: string][] = [
    ["help --nosuch", 2, "tupper has no flag --nosuch (UNKNOWN_FLAG)", "see tupper --help"],
    ["--format json ps", 2, "tupper has no flag --format (UNKNOWN_FLAG)", "flags of a command stand behind its name"],
    ["--all ps", 2, "tupper has no flag --all (UNKNOWN_FLAG)", "it is a flag of ps, and stands behind that word"],
    [
      "ps --error-format json",
      2,
      "tupper ps has no flag --error-format (UNKNOWN_FLAG)",
      "it is a flag of tupper, and stands before ps",
    ],
    ["-D run host", 2, "tupper has no flag -D (UNKNOWN_FLAG)", "`tupper run --trace` shows each step"],
    ["nsenter -t 1", 2, "unknown command 'nsenter' (UNKNOWN_COMMAND)", "tupper exec NAME COMMAND"],
    [
      "learn -p 80:80 host",
      125,
      "tupper learn has no flag -p (UNKNOWN_FLAG)",
      "a network of its own has loopback alone; with --network host it listens on the machine's ports",
    ],
  ];
  const runtime: [argv: string, code: number, error: string, hint: string][] = [
    [
      "list --root /tmp",
      1,
      "tupper-runtime list has no flag --root (UNKNOWN_FLAG)",
      "it is a flag of tupper-runtime, and stands before list",
    ],
    [
      "kill -s KILL box",
      1,
      "tupper-runtime kill has no flag -s (UNKNOWN_FLAG)",
      "the signal follows the ID: tupper-runtime kill ID TERM",
    ],
    ["--log-level wrning list", 1, '--log-level cannot be "wrning" (BAD_VALUE)', "did you mean warning?"],
    ["--rootless maybe list", 1, '--rootless cannot be "maybe" (BAD_VALUE)', "one of true, false, auto"],
  ];
  for (const [program, cases] of [
    ["tupper", tupper],
    ["tupper-runtime", runtime],
  ] as const)
    for (const [argv, code, error, hint] of cases) {
      const called = call(program, ...argv.split(" "));
      assert.deepEqual(
        [called.code, called.stdout, ...called.stderr.split("\n").slice(0, 2)],
        [code, "", `error: ${error}`, `  hint:   ${hint}`],
        argv,
      );
    }
});

test("tupper-runtime kill: words in the order of kill(1)", () => {
  for (const [argv, error, hint] of [
    ["kill -9 box", 'there is no signal "box"', "the ID comes first: kill box 9"],
    ["kill TERM box", 'there is no signal "box"', "the ID comes first: kill box TERM"],
    ["kill box -9", 'there is no signal "-9"', "without the dash: 9"],
    ["kill box TRM", 'there is no signal "TRM"', "did you mean TERM?"],
  ] as const)
    assert.deepEqual(call("tupper-runtime", ...argv.split(" ")), {
      code: 1,
      stdout: "",
      stderr: `error: ${error} (UNKNOWN_SIGNAL)\n  arg:    SIGNAL\n  hint:   ${hint}\n`,
    });
});

test("kill -KILL, kill ID -KILL: the whole word is told, and where the signal stands", () => {
  for (const [argv, word, hint] of [
    ["tupper-runtime kill box -KILL", "-KILL", "the signal follows the ID, without a dash: kill ID KILL"],
    ["tupper-runtime kill -SIGKILL box", "-SIGKILL", "the signal follows the ID, without a dash: kill ID SIGKILL"],
    ["tupper-runtime kill box -X", "-X", "see tupper-runtime kill --help"],
    ["tupper kill -HUP box", "-HUP", "the signal is a flag: --signal HUP"],
  ] as const) {
    const [program = "", ...args] = argv.split(" ");
    assert.deepEqual(
      call(program, ...args)
        .stderr.split("\n")
        .slice(0, 2),
      [`error: ${program} kill has no flag ${word} (UNKNOWN_FLAG)`, `  hint:   ${hint}`],
      argv,
    );
  }
});

test("tupper-runtime: a flag without a value may say true or false, as with runc", () => {
  for (const words of ["--quiet=true", "--quiet=1", "--quiet=T", "-q --quiet=false"])
    assert.deepEqual(call("tupper-runtime", ...`--debug=false list ${words}`.split(" ")), {
      code: 0,
      stdout: "",
      stderr: "",
    });
  assert.match(call("tupper-runtime", "list", "--quiet=false").stdout, /^ID +PID/);
  for (const [argv, code, error, hint] of [
    ["list --quiet=yes", 1, '--quiet cannot be "yes" (BAD_VALUE)', "--quiet takes no value"],
    ["list --format=true", 1, '--format cannot be "true" (BAD_VALUE)', "one of table, json"],
    ["ps --quiet=true box", 1, "tupper-runtime ps has no flag --quiet (UNKNOWN_FLAG)", "see tupper-runtime ps --help"],
  ] as const) {
    const called = call("tupper-runtime", ...argv.split(" "));
    const lines = called.stderr.split("\n").slice(0, 2);
    assert.deepEqual([called.code, ...lines], [code, `error: ${error}`, `  hint:   ${hint}`], argv);
  }
});

test("help: each program speaks of itself, and each command's help has our words", () => {
  for (const name of ["tupper", "tupper-runtime"])
    assert.match(call(name, "completion", "--help").stdout, new RegExp(`source <\\(${name} completion bash\\)`));
  const words = runtimeProgram.commands.flatMap((command) => [
    call("tupper-runtime", command.name(), "--help").stdout,
    ...command.commands.map((child) => call("tupper-runtime", command.name(), child.name(), "--help").stdout),
  ]);
  for (const text of words) assert.doesNotMatch(text, /display help/);
  assert.match(call("tupper", "run", "-h").stderr, /^error: the flag -h, --hostname <NAME> needs a value/);
});

test("an error of ours: the flag, the hint, and 125 for run, 1 elsewhere", () => {
  assert.deepEqual(call("tupper", "run", "--name", "a/b", "host"), {
    code: 125,
    stdout: "",
    stderr:
      'error: --name "a/b" cannot be the name of a container (BAD_NAME)\n  flag:   --name\n' +
      '  hint:   a letter or digit, then letters, digits, "_", "." and "-"; at most 128\n',
  });
  assert.deepEqual(call("tupper", "kill", "-s", "TRM", "box"), {
    code: 1,
    stdout: "",
    stderr: 'error: there is no signal "TRM" (UNKNOWN_SIGNAL)\n  flag:   --signal\n  hint:   did you mean TERM?\n',
  });
});

test("an error that nobody expected: INTERNAL with its stack, and the exit code of a failure", () => {
  const recorder = recordingSys({
    ioctl: ENOTTY,
    getrandom: () => {
      throw new TypeError("boom");
    },
    write: (_fd, data) => lengthOf(data),
  });
  const before = replaceSys(recorder);
  restore = () => void replaceSys(before);
  const code = main(["tupper", "run", "host"]);
  const text = Buffer.from(
    recorder.calls.filter(({ name }) => name === "write").map(({ args }) => args[1] as ArrayBuffer)[0] ??
      new ArrayBuffer(0),
  ).toString();
  assert.equal(code, 125);
  assert.match(
    text,
    /^error: boom \(INTERNAL\)\n {2}hint: {3}this is a fault of tupper; the lines below say where\n {4}at /,
  );
});

test("program: what commander is kept from doing is still there, and nothing needs it", () => {
  assert.deepEqual(
    NEEDLESS_WALKS.filter((name) => typeof Reflect.get(Command.prototype, name) !== "function"),
    [],
  );
  const commands = (command: Command): Command[] => [command, ...command.commands.flatMap(commands)];
  const needing = commands(program)
    .flatMap(({ options }) => options)
    .filter(
      (option) =>
        option.envVar !== undefined ||
        option.mandatory ||
        Reflect.get(option, "implied") ||
        Reflect.get(option, "conflictsWith").length > 0,
    );
  assert.deepEqual(
    needing.map(({ flags }) => flags),
    [],
  );
});

/** What run would be asked for. */
function parseRun(...args: string[]): { root: string; trace: string; options: RunOptions } {
  const run = program.commands.find((command) => command.name() === "run");
  assert.ok(run !== undefined);
  let seen: { root: string; trace: string; options: RunOptions } | undefined;
  const action = Reflect.get(run, "_actionHandler");
  run.action((root: string, rest: string[]) => {
    seen = { root, trace: traceOf(run), options: runOptionsOf(run, rest) };
  });
  program.parse(["run", "--name", "box", ...args], { from: "user" });
  Reflect.set(run, "_actionHandler", action);
  assert.ok(seen !== undefined);
  return seen;
}

test("run: flags end at ROOT; what follows belongs to the command, dashes and all", () => {
  assert.deepEqual(parseRun("-it", "host", "sh", "-c", "x", "-e", "--rm", "--"), {
    root: "host",
    trace: "off",
    options: {
      format: "text",
      id: "box",
      tty: true,
      interactive: true,
      command: ["sh", "-c", "x", "-e", "--rm", "--"],
    },
  });
});

test("run: flags come once or often, with = or without, and --flag=true as docker writes it", () => {
  assert.deepEqual(
    parseRun(
      "-e",
      "A=1",
      "--env=B",
      "-m64m",
      "--memory-swap",
      "-1",
      "--rm=true",
      "--init=false",
      "--read-only",
      "--net",
      "host",
      "./root",
    ).options,
    {
      format: "text",
      id: "box",
      env: ["A=1", "B"],
      memory: "64m",
      memorySwap: "-1",
      rm: true,
      init: false,
      readOnly: true,
      network: "host",
      command: [],
    },
  );
});

test("run: --trace takes no word, so that ROOT is not taken for its value", () => {
  assert.deepEqual(
    [["host"], ["--trace", "host"], ["--trace=steps", "host"], ["--trace=syscalls", "host"]].map((args) => [
      parseRun(...args).root,
      parseRun(...args).trace,
    ]),
    [
      ["host", "off"],
      ["host", "steps"],
      ["host", "steps"],
      ["host", "syscalls"],
    ],
  );
});

/** What bash offers for a line whose last word is being typed. */
function complete(line: string): string[] {
  const words = line.split(" ");
  const script = `${call("tupper", "completion", "bash").stdout}
tupper() { [[ "$*" == "ps --quiet" ]] && echo "web db"; [[ "$*" == "ps --all --quiet" ]] && echo "web old"; }
compopt() { :; }
COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length - 1}
_tupper; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync("bash", ["-c", script], { encoding: "utf8" })
    .split("\n")
    .filter((word) => word !== "");
}

test("completion bash: commands, flags, values, containers, and nothing of ours behind ROOT", () => {
  assert.deepEqual(complete("tupper r"), ["run"]);
  assert.deepEqual(complete("tupper explain "), ["run", "web", "db"]);
  assert.deepEqual(complete("tupper run --memory-s"), ["--memory-swap", "--memory-swappiness"]);
  assert.deepEqual(complete("tupper explain run --root-kind o"), ["overlay"]);
  assert.deepEqual(complete("tupper run -e run --cap-add NET_A"), ["NET_ADMIN"]);
  assert.deepEqual(complete("tupper run h"), ["host"]);
  assert.deepEqual(complete("tupper run host --me"), []);
  assert.deepEqual(complete("tupper kill web d"), ["db"]);
  assert.deepEqual(complete("tupper kill -s TER"), ["TERM"]);
  assert.deepEqual(complete("tupper exec w"), ["web"]);
  assert.deepEqual(complete("tupper wait o"), ["old"]);
  assert.deepEqual(complete("tupper inspect "), ["web", "old"]);
  assert.deepEqual(complete("tupper completion z"), ["zsh"]);
  assert.deepEqual(complete("tupper help s"), ["stats", "script"]);
  assert.deepEqual(complete("tupper help help "), []);
});
