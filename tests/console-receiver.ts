/** The other end of `--console-socket`: tests/programs/console_receiver.c. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { join } from "node:path";
import { atEnd, compiled, eventually, temporaryDirectory } from "./harness.ts";

export interface Receiver {
  socket: string;
  text(): string;
  until(pattern: RegExp): Promise<void>;
  child: ChildProcessWithoutNullStreams;
}

export async function receiver(): Promise<Receiver> {
  const socket = join(temporaryDirectory(), "console");
  const child = spawn(compiled("console_receiver"), [socket]);
  atEnd(() => child.kill("SIGKILL"));
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (more: string) => {
    text += more;
  });
  const until = (pattern: RegExp) => eventually(`${pattern} in the terminal`, () => pattern.test(text));
  await until(/listening\n/);
  return { socket, text: () => text, until, child };
}
