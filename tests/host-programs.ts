/**
 * Programs that tests/host.test.ts puts into the host in place of src/main.ts: `PROGRAM NAME [ARG…]`.
 * Each prints what the test compares, or throws.
 */
import { readDirectory, readFile } from "../src/sys/files.ts";
import { mapStack } from "../src/sys/stack.ts";
import { raw, sys } from "../src/sys/sys.ts";
import { language } from "./host-language.ts";

const AT_FDCWD = -100;
const O_CREAT = 0o100;
const CLONE_VM = 0x100;
const SIGKILL = 9;

const print = (text: string): void => void sys.write(1, `${text}\n`);

function equal(actual: unknown, expected: unknown, what: string): void {
  if (actual !== expected) throw new Error(`${what}: ${String(actual)} instead of ${String(expected)}`);
}

/** Numbers that look random and are the same in every run. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Made while the heap is, so nobody counts who refers to it (docs/adr/0027). */
const joined = (...parts: unknown[]): string => parts.join("-");
class Made {
  a: number;
  b = [1, 2, 3];
  constructor(a: number) {
    this.a = a;
  }
}
const made = {
  text: joined("made", "with", "the", "heap"),
  one: { first: 1 } as Record<string, unknown>,
  other: { first: 2 } as Record<string, unknown>,
  list: ["x", joined("y", 1)],
  map: new Map<unknown, unknown>([["key", joined("value", 1)]]),
  symbol: Symbol("made"),
  big: 2n ** 70n,
  instance: new Made(1),
  functions: [1, 2, 3].map((n) => () => n),
};

function channel(): [parentEnd: number, childEnd: number] {
  const fds = new ArrayBuffer(8);
  sys.socketpair(1, 5 | 0o2000000, 0, fds); // AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC
  const [parentEnd = -1, childEnd = -1] = new Int32Array(fds);
  return [parentEnd, childEnd];
}

interface Received {
  text: string;
  fds: number[];
}
const receive = (fd: number): Received => sys.receiveMessage(fd) as Received;

function waitFor(pid: number): number {
  const status = new ArrayBuffer(4);
  equal(sys.wait4(pid, status, 0, null), pid, "wait4");
  return new Int32Array(status)[0] ?? -1;
}

const openFds = (): number => readDirectory("/proc/self/fd").length;

/** Work for the allocator: short-lived and of all sizes. */
function litter(random: (below: number) => number): void {
  for (let i = 0; i < 20; i++) JSON.parse(JSON.stringify({ list: Array(random(200)).fill("x".repeat(random(50))) }));
}

/** Both sides use the heap right after their own message: nothing may be lost, torn or left open. */
function talkWithChildren(count: number): void {
  const random = randomNumbers(11);
  const before = openFds();
  for (let i = 0; i < count; i++) {
    const [parentEnd, childEnd] = channel();
    const pid = sys.spawn(CLONE_VM, 0, childEnd, parentEnd, () => {
      raw.close(parentEnd);
      sys.sendMessage(childEnd, "ready", []);
      litter(random);
      for (;;) {
        const { text } = receive(childEnd);
        if (text === "end") raw.exitGroup(i % 256);
        sys.sendMessage(childEnd, JSON.stringify({ got: JSON.parse(text) }), i % 10 === 0 ? [0, 1] : []);
        litter(random);
      }
    });
    equal(receive(parentEnd).text, "ready", "first message");
    for (let round = 0; round < 3; round++) {
      sys.sendMessage(parentEnd, JSON.stringify({ i, round }), []);
      litter(random);
      const { text, fds } = receive(parentEnd);
      equal(text, `{"got":{"i":${i},"round":${round}}}`, "answer");
      equal(fds.length, i % 10 === 0 ? 2 : 0, "descriptors");
      for (const fd of fds) sys.close(fd);
    }
    sys.sendMessage(parentEnd, "end", []);
    equal(receive(parentEnd).text, "", "end of file");
    sys.close(parentEnd);
    equal(waitFor(pid), (i % 256) << 8, "exit code");
  }
  equal(openFds(), before, "open descriptors");
  const mapped = Number(/VmSize:\s*(\d+)/.exec(readFile("/proc/self/status"))?.[1]);
  // AddressSanitizer maps terabytes.
  print(mapped < 64 * 1024 || mapped > 2 ** 30 ? "done" : `${mapped} KiB mapped`);
}

const programs: Record<string, (...args: string[]) => void> = {
  crash() {
    const inner = (): never => {
      throw new Error("it broke, é");
    };
    inner();
  },
  crashWithText() {
    throw "only text";
  },
  language: () => print(language().join("\n")),
  /** Eight letters are looked at at once, so each place counts. */
  texts() {
    for (let length = 0; length < 26; length++)
      for (let at = 0; at <= length; at++)
        for (const odd of ["", "\u007f", "\u0080", "\u00ff", "\u0101", "\u{1F600}", "\udcff"]) {
          const text = "abcdefghijklmnopqrstuvwxyz".slice(0, at) + odd + "x".repeat(length - at);
          const bytes = sys.encodeText(text) as ArrayBuffer;
          equal(sys.decodeText(bytes, 0, bytes.byteLength), text, `${length} letters, at ${at}`);
        }
    print("done");
  },
  status: () => print(readFile("/proc/self/status")),
  nul() {
    for (const call of [
      () => sys.openat(AT_FDCWD, "/etc/passwd\0.jpg", 0, 0),
      () => sys.execve("/bin/true", ["true", "a\0b"], []),
    ]) {
      try {
        call();
        print("accepted");
      } catch (error) {
        print(String(error));
      }
    }
  },
  /** Argument bytes become a file name and come back through getdents. */
  bytes(directory = "", name = "") {
    sys.close(sys.openat(AT_FDCWD, `${directory}/${name}`, O_CREAT, 0o600));
    equal(readDirectory(directory)[0]?.name, name, "the name");
    print(name);
  },
  /** More than the array in section .snap holds, in one piece and in many. */
  large() {
    let text = "";
    while (text.length < 50_000_000) text += "0123456789".repeat(1000);
    equal(text.length, 50_000_000, "length");
    equal(text.slice(49_999_985), "567890123456789", "end");
    const list: number[] = [];
    for (let i = 0; i < 1_000_000; i++) list.push(i * 2);
    equal(
      list.reduce((sum, n) => sum + n, 0),
      999_999_000_000,
      "sum",
    );
    const objects = list.map((n) => ({ n }));
    equal(objects.at(-1)?.n, 1_999_998, "last object");
    equal(new Uint8Array(new ArrayBuffer(60_000_000)).at(-1), 0, "zeroed memory");
    print("done");
  },
  /** Buffers, arrays and strings of sizes around every class come, grow and go; each must keep its content. */
  churn() {
    const random = randomNumbers(7);
    const slots: ({ fill: number; bytes: Uint8Array; list: number[]; text: string } | undefined)[] = [];
    for (let round = 0; round < 20_000; round++) {
      const at = random(150);
      const slot = slots[at];
      if (slot === undefined) {
        const fill = random(256);
        const bytes = new Uint8Array(random(2 ** (1 + random(19)))).fill(fill);
        slots[at] = { fill, bytes, list: [fill], text: String.fromCharCode(65 + fill) };
      } else if (random(3) > 0) {
        for (let i = random(2 ** random(12)); i > 0; i--) slot.list.push(slot.fill);
        slot.text += String.fromCharCode(65 + slot.fill).repeat(random(300));
      } else {
        const { fill, bytes, list, text } = slot;
        if (bytes.some((byte) => byte !== fill)) throw new Error(`round ${round}: a buffer changed`);
        if (list.some((item) => item !== fill)) throw new Error(`round ${round}: an array changed`);
        equal(text, String.fromCharCode(65 + fill).repeat(text.length), `round ${round}: the string`);
        slots[at] = undefined;
      }
    }
    print("done");
  },
  /** 4 GB of blocks between 2 KiB and 500 KiB, few at a time: freed ones must be used again. */
  reuse() {
    const random = randomNumbers(3);
    const kept: unknown[] = [];
    for (let i = 0; i < 16_000; i++) kept[i % 10] = [new ArrayBuffer(2048 + random(500_000)), { i }];
    const peakKiB = Number(/VmHWM:\s*(\d+)/.exec(readFile("/proc/self/status"))?.[1]);
    print(peakKiB < 64 * 1024 ? "done" : `peak ${peakKiB} KiB`);
  },
  /** What was made with the heap keeps its worth however often it is referred to, given up, copied and extended. */
  frozen() {
    for (let round = 0; round < 200; round++) {
      let text = made.text;
      const before = text;
      text += "!";
      text += joined("more", round);
      equal(before, "made-with-the-heap", "a text that grew");
      equal(made.text, before, "the text it grew from");

      // Objects of today with the shape of one of then: each may get what the others have not.
      const own = Array.from({ length: 20 }, (_, i): Record<string, unknown> => ({ first: i }));
      for (const [i, one] of own.entries()) one[`own${i}`] = i;
      equal(Object.keys(made.other).join(), "first", "keys of an object that nobody extended");
      made.one[`round${round}`] = own;
      if (round > 0) equal(delete made.one[`round${round - 1}`], true, "delete");
      equal(Object.keys(made.one).join(), `first,round${round}`, "keys of one that was extended");
      equal(JSON.stringify({ first: 3 }), '{"first":3}', "a new object");

      const instance = new Made(round);
      Object.assign(instance, { late: round });
      equal(Object.keys(made.instance).join(), "a,b", "keys of the first instance");
      equal(Object.keys(new Made(1)).join(), "a,b", "keys of a new instance");

      made.list.push(made.text, joined("z", round));
      equal(made.list.pop(), joined("z", round), "the last element");
      equal(made.list.splice(2).length, 1, "elements taken out");
      equal(made.list.join(), "x,y-1", "the list");

      made.map.set(joined("k", round), made.text);
      made.map.set(made, round);
      made.map.delete(joined("k", round));
      equal(made.map.get("key"), "value-1", "a value of the map");
      equal({ [made.symbol]: round }[made.symbol], round, "a symbol");
      equal(made.big + BigInt(round) - BigInt(round), 2n ** 70n, "a large number");
      equal(made.functions.map((one) => one()).join(), "1,2,3", "functions");
      equal({ [made.text]: 1 }[joined("made", "with", "the", "heap")], 1, "a text as a name");
    }
    // More references than a count has room for below zero, and given up again.
    const many = Array.from({ length: 300_000 }, () => made.instance);
    many.length = 0;
    equal(made.instance.b.join(), "1,2,3", "after many references");
    print("done");
  },
  json() {
    for (const deep of ["[".repeat(100_000) + "]".repeat(100_000), '{"a":'.repeat(100_000)]) {
      try {
        JSON.parse(deep);
        print("parsed");
      } catch (error) {
        print(error instanceof Error ? error.message : "not an Error");
      }
    }
    equal(JSON.stringify(JSON.parse("[".repeat(500) + "]".repeat(500))).length, 1000, "500 levels");
    print("done");
  },
  spawn: () => talkWithChildren(1000),
  spawnSome: () => talkWithChildren(30),

  /** What a child does not catch is told, though its parent has long gone on, and left the function that made it. */
  spawnThrows() {
    const [parentEnd, childEnd] = channel();
    const throwing = ((): number =>
      sys.spawn(CLONE_VM, 0, childEnd, parentEnd, () => {
        raw.close(parentEnd);
        sys.sendMessage(childEnd, "ready", []);
        receive(childEnd);
        throw new Error("it threw");
      }))();
    equal(receive(parentEnd).text, "ready", "message of the child");
    const deep = (n: number): number => (n === 0 ? 0 : 1 + [n].reduce((sum) => sum + deep(n - 1), 0));
    equal(deep(50), 50, "calls over the place where that function was");
    sys.sendMessage(parentEnd, "go", []);
    equal(receive(parentEnd).text, "", "end of the child");
    equal(waitFor(throwing), 127 << 8, "status of the child");
    print("done");
  },

  /** A child that is killed while it runs, one that execs, and one that overlaps another. */
  spawnEnds() {
    const [first, firstChild] = channel();
    const killed = sys.spawn(CLONE_VM, 0, firstChild, first, () => {
      raw.close(first);
      sys.sendMessage(firstChild, "ready", []);
      sys.kill(sys.getpid(), SIGKILL);
    });
    equal(receive(first).text, "ready", "message of the killed child");
    equal(receive(first).text, "", "end of the killed child");
    equal(waitFor(killed), SIGKILL, "status of the killed child");

    const [second, secondChild] = channel();
    const waiting = sys.spawn(CLONE_VM, 0, secondChild, second, () => {
      raw.close(second);
      sys.sendMessage(secondChild, "ready", []);
      receive(secondChild);
      sys.execve("/bin/sh", ["sh", "-c", "exit 7"], []);
    });
    equal(receive(second).text, "ready", "message of the waiting child");
    let mine = "the parent's";
    const [third, thirdChild] = channel();
    const overlapping = sys.spawn(CLONE_VM, 0, thirdChild, third, () => {
      raw.close(third);
      mine = "the copy's";
      sys.sendMessage(thirdChild, mine, []);
      raw.exitGroup(0);
    });
    equal(receive(third).text, "the copy's", "message of the overlapping child");
    equal(mine, "the parent's", "the heap beside an overlapping child");
    equal(waitFor(overlapping), 0, "status of the overlapping child");
    sys.sendMessage(second, "go", []);
    equal(receive(second).text, "", "end of file at exec");
    equal(waitFor(waiting), 7 << 8, "status of the command");

    // As with --init: the child forks, and its copy asks the parent while the child itself waits for the copy.
    const [fourth, fourthChild] = channel();
    const forking = sys.spawn(CLONE_VM, 0, fourthChild, fourth, () => {
      raw.close(fourth);
      const [near, far] = channel();
      const copy = sys.spawn(CLONE_VM, 0, far, near, () => {
        raw.close(near);
        sys.sendMessage(fourthChild, "question", []);
        raw.exitGroup(receive(fourthChild).text === "answer" ? 5 : 6);
      });
      raw.exitGroup(waitFor(copy) >> 8);
    });
    equal(receive(fourth).text, "question", "message of the copy");
    sys.sendMessage(fourth, "answer", []);
    equal(receive(fourth).text, "", "end of the forking child");
    equal(waitFor(forking), 5 << 8, "status of the forking child");
    print("done");
  },
};

(globalThis as unknown as { __main: (argv: string[]) => number }).__main = ([, name = "", ...args]) => {
  try {
    const program = programs[name];
    if (program === undefined) throw new Error(`no program "${name}"`);
    program(...args);
    return 0;
  } catch (error) {
    if (name.startsWith("crashWith")) throw error;
    const stack = error instanceof Error ? mapStack(error.stack ?? "") : "";
    sys.write(2, `fatal: ${String(error)}\n${stack}`);
    return 70;
  }
};
