/** The HTTP API that dockerd and `podman system service` share, without a client: in an emulated machine one takes seconds to start. */
import assert from "node:assert/strict";
import { request } from "node:http";

export interface Answer {
  status: number;
  body: Buffer;
}

/** One request over a socket of the machine. */
export function askOver(socketPath: string, method: string, path: string, body?: unknown): Promise<Answer> {
  return new Promise((done, failed) => {
    const headers = { "content-type": Buffer.isBuffer(body) ? "application/x-tar" : "application/json" };
    const asked = request({ socketPath, method, path, headers }, (answer) => {
      const parts: Buffer[] = [];
      answer.on("data", (part: Buffer) => parts.push(part));
      answer.on("end", () => done({ status: answer.statusCode ?? 0, body: Buffer.concat(parts) }));
    });
    asked.on("error", failed);
    asked.end(Buffer.isBuffer(body) ? body : body === undefined ? undefined : JSON.stringify(body));
  });
}

export interface Output {
  stdout: string;
  stderr: string;
  code: number;
}

/** The part of the API that the suites use; what fails throws the engine's own words. */
export interface EngineApi {
  /** An image of this name, of a tar of its root filesystem. */
  importImage(name: string, archive: Buffer): Promise<void>;
  /** The new container's id. */
  create(config: object): Promise<string>;
  /** `start`, `pause`, `restart?t=0`, … */
  does(id: string, action: string, body?: object): Promise<void>;
  inspect(id: string): Promise<{ State: Record<string, unknown> }>;
  /** Of a container without a terminal that is started and waited for. */
  outputOf(id: string): Promise<Output>;
  exec(id: string, script: string): Promise<Output>;
  /** What a script prints that has a terminal. */
  execInTerminal(id: string, script: string): Promise<string>;
  remove(id: string): Promise<void>;
}

const VERSION = "/v1.41";

export function engineApi(socketPath: () => string): EngineApi {
  const ask = async (method: string, path: string, body?: unknown): Promise<Buffer> => {
    const answer = await askOver(socketPath(), method, `${VERSION}${path}`, body);
    assert.ok(answer.status < 400, `${method} ${path}: ${answer.status} ${answer.body.toString()}`);
    return answer.body;
  };
  const asks = async <T>(method: string, path: string, body?: unknown): Promise<T> =>
    JSON.parse((await ask(method, path, body)).toString()) as T;
  const performs = async (id: string, script: string, isTerminal: boolean) => {
    const own = { Cmd: ["sh", "-c", script], Tty: isTerminal, AttachStdout: true, AttachStderr: !isTerminal };
    const { Id: session } = await asks<{ Id: string }>("POST", `/containers/${id}/exec`, own);
    return {
      output: await ask("POST", `/exec/${session}/start`, { Detach: false, Tty: isTerminal }),
      code: async () => (await asks<{ ExitCode: number }>("GET", `/exec/${session}/json`)).ExitCode,
    };
  };
  return {
    importImage: async (name, archive) => {
      await ask("POST", `/images/create?fromSrc=-&repo=${name}&tag=latest`, archive);
    },
    create: async (config) => (await asks<{ Id: string }>("POST", "/containers/create", config)).Id,
    does: async (id, action, body) => {
      await ask("POST", `/containers/${id}/${action}`, body);
    },
    inspect: (id) => asks("GET", `/containers/${id}/json`),
    outputOf: async (id) => {
      await ask("POST", `/containers/${id}/start`);
      const { StatusCode: code } = await asks<{ StatusCode: number }>("POST", `/containers/${id}/wait`);
      return { ...streamsOf(await ask("GET", `/containers/${id}/logs?stdout=1&stderr=1`)), code };
    },
    exec: async (id, script) => {
      const { output, code } = await performs(id, script, false);
      return { ...streamsOf(output), code: await code() };
    },
    execInTerminal: async (id, script) => (await performs(id, script, true)).output.toString(),
    remove: async (id) => {
      await ask("DELETE", `/containers/${id}?force=1`);
    },
  };
}

/** Without a terminal both streams come in one, each piece with a header: its stream, three zeros, its length. */
function streamsOf(multiplexed: Buffer): { stdout: string; stderr: string } {
  const streams = { stdout: "", stderr: "" };
  for (let at = 0; at < multiplexed.length; ) {
    const end = at + 8 + multiplexed.readUInt32BE(at + 4);
    streams[multiplexed[at] === 2 ? "stderr" : "stdout"] += multiplexed.toString("utf8", at + 8, end);
    at = end;
  }
  return streams;
}
