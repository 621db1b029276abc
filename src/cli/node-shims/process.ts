/**
 * What commander and picocolors look at of Node's `process`, empty: the host has none, and the top level of the bundle
 * must not read the outside world. Output, colours, width and exit are given to commander by program.ts.
 */
const process = {
  argv: [] as string[],
  env: {} as Record<string, string | undefined>,
  execArgv: [] as string[],
  platform: "linux",
  versions: {},
  stdout: { isTTY: false },
  stderr: { isTTY: false },
  exit(): never {
    throw new Error("process.exit: commander was to throw instead");
  },
};

export default process;

// commander's errors want V8's way to cut a stack; QuickJS's own stack is fine as it is.
(Error as { captureStackTrace?: unknown }).captureStackTrace ??= () => {};

// picocolors takes it from the global object.
Object.assign(globalThis, { process: (globalThis as { process?: unknown }).process ?? process });
