import assert from "node:assert/strict";
import { test } from "node:test";
import type { Command } from "commander";
import { otherWord, TABLES } from "./other-words.ts";
import { program } from "./program.ts";
import { runtimeProgram } from "./runtime/program.ts";
import { pathOf } from "./usage-error.ts";

const allCommands = (command: Command): Command[] => [command, ...command.commands.flatMap(allCommands)];
const commands = new Map([program, runtimeProgram].flatMap(allCommands).map((command) => [pathOf(command), command]));

test("other words: each table belongs to a command, and none of its words is one of ours", () => {
  for (const [path, table] of Object.entries(TABLES)) {
    const command = commands.get(path);
    assert.ok(command, path);
    const ours = [
      ...command.options.flatMap(({ short, long }) => [short, long]),
      ...command.commands.flatMap((child) => [child.name(), ...child.aliases()]),
    ];
    const words = table.flatMap(([text]) => text.split(" "));
    assert.deepEqual(
      words.filter((word) => ours.includes(word)),
      [],
      path,
    );
    assert.equal(new Set(words).size, words.length, path);
  }
});

test("other words: each flag that a hint names is there", () => {
  const flags = new Set([...commands.values()].flatMap(({ options }) => options.map(({ long }) => long)));
  for (const [, hint] of Object.values(TABLES).flat())
    for (const flag of hint.match(/--[a-z-]+/g) ?? []) assert.ok(flags.has(flag), `${flag}: ${hint}`);
});

test("other words: a flag of docker's alone, and in a row of letters", () => {
  const hint = "it stays in the foreground: put & behind it, or use tupper-runtime create and start";
  assert.equal(otherWord("tupper run", "--detach"), hint);
  assert.equal(otherWord("tupper run", "-d"), hint);
  assert.equal(otherWord("tupper run", "--memory"), undefined);
  assert.equal(otherWord("tupper nowhere", "--detach"), undefined);
});
