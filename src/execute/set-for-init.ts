/** What the init process may not do to itself, because its capabilities end at its user namespace: the parent does it. */

import { writeFile } from "../sys/files.ts";
import { packRlimit } from "../sys/structs.ts";
import { raw, SysError } from "../sys/sys.ts";
import type { Message } from "./channel.ts";

type Request = Extract<Message, { kind: "rlimit" | "oomScore" }>;

/** The answer to send. */
export function setForInit(request: Request, pid: number): Extract<Message, { kind: "answered" }> {
  if (request.kind === "rlimit") {
    const { resource, soft, hard } = request;
    const result = raw.prlimit64(pid, resource, packRlimit({ soft: BigInt(soft), hard: BigInt(hard) }), null);
    return { kind: "answered", result, args: [resource, soft, hard] };
  }
  const path = `/proc/${pid}/oom_score_adj`;
  const args = [path, request.score];
  try {
    writeFile(path, String(request.score));
    return { kind: "answered", result: 0, args };
  } catch (error) {
    if (error instanceof SysError)
      return { kind: "answered", result: request.mayStay && error.code === "EACCES" ? 0 : -error.errno, args };
    throw error;
  }
}
