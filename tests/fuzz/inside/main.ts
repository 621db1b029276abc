/**
 * The other half of tests/fuzz, in the place of src/main.ts: reads `target length` and as many bytes from standard input,
 * again and again, and answers each with a line of JSON: `{edges, counts, outcome}`, or `{fault}` where a promise is broken.
 */
import "../../../src/sys/prelude.ts";
import type { RawSys } from "../../../src/sys/generated.ts";
import { mapStack } from "../../../src/sys/stack.ts";
import { TARGETS } from "./targets.ts";

declare const __sys: RawSys;
declare const __coverage: { begin(): void; end(kind: number): [edges: number, counts: number]; collect(): void };

const COLLECT_EVERY = 100;

/** Before anybody puts another table in its place. */
const real = __sys;
const targets = Object.values(TARGETS);

/** Exactly so many bytes; undefined at the end. */
function take(length: number): ArrayBuffer | undefined {
  const whole = new Uint8Array(length);
  for (let got = 0; got < length; ) {
    const piece = new ArrayBuffer(length - got);
    const n = real.read(0, piece);
    if (n <= 0) return undefined;
    whole.set(new Uint8Array(piece, 0, n), got);
    got += n;
  }
  return whole.buffer;
}

function once(number: number, buffer: ArrayBuffer): object {
  const target = targets[number];
  if (target === undefined) return { fault: `there is no target ${number}` };
  const text = real.decodeText(buffer, 0, buffer.byteLength) as string;
  let outcome: string | undefined;
  let fault: string | undefined;
  __coverage.begin();
  try {
    outcome = target({ bytes: new Uint8Array(buffer), text }, real);
  } catch (error) {
    fault = error instanceof Error ? `${error.name}: ${error.message}\n${mapStack(error.stack ?? "")}` : String(error);
  }
  const [edges, counts] = __coverage.end(number);
  return { edges, counts, outcome, fault };
}

function main(): number {
  for (let count = 1; ; count++) {
    if (count % COLLECT_EVERY === 0) __coverage.collect();
    const head = take(8);
    if (head === undefined) return 0;
    const view = new DataView(head);
    const input = take(view.getUint32(4, true));
    if (input === undefined) return 0;
    const answer = JSON.stringify(once(view.getUint32(0, true), input));
    let rest = real.encodeText(`${answer}\n`) as ArrayBuffer;
    while (rest.byteLength > 0) rest = rest.slice(Math.max(0, real.write(1, rest)));
  }
}

(globalThis as { __main?: typeof main }).__main = main;
