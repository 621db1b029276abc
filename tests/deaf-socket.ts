/** A stream socket whose owner accepts nobody: one more may wait for that, or with `full` nobody. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { atEnd, temporaryDirectory } from "./harness.ts";

const LISTENS = `
import socket, sys
path, waiting = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(0)
first = socket.socket(socket.AF_UNIX)
if waiting == '1': first.connect(path)
print('listens', flush=True)
sys.stdin.read()
`;

export async function deafSocket(kind?: "full"): Promise<string> {
  const path = join(temporaryDirectory(), "deaf");
  const child = spawn("python3", ["-c", LISTENS, path, kind === "full" ? "1" : "0"]);
  atEnd(() => child.kill("SIGKILL"));
  await once(child.stdout, "data");
  return path;
}
