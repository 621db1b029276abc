/** A seccomp agent for tests: tests/programs/seccomp_agent.c on a socket. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { atEnd, compiled, temporaryDirectory } from "../harness.ts";

export interface Agent {
  socket: string;
  /** The lines after "listening", once it has ended. */
  ended: Promise<string[]>;
}

/** An agent that gives every call that it is asked about this answer. */
export async function agent(answer: "continue" | number, socket = join(temporaryDirectory(), "agent")): Promise<Agent> {
  const child = spawn(compiled("seccomp_agent"), [socket, String(answer)], { stdio: ["ignore", "pipe", "inherit"] });
  atEnd(() => child.kill("SIGKILL"));
  let text = "";
  await new Promise<void>((listening) => {
    child.stdout.setEncoding("utf8").on("data", (more: string) => {
      text += more;
      if (text.includes("listening\n")) listening();
    });
  });
  const ended = new Promise<string[]>((done) => {
    child.on("close", () => done(text.trim().split("\n").slice(1)));
  });
  return { socket, ended };
}
