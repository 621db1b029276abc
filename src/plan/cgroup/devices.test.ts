import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ContainerError } from "../../error.ts";
import type { DeviceRule } from "../../spec/config.ts";
import { assembleDeviceProgram, BPF } from "./device-program.ts";
import { ACCESS, type DevicePolicy, devicesV1, parseDeviceRules } from "./devices.ts";

const ALLOW_ALL: DeviceRule = { allow: true, access: "rwm" };
const DENY_ALL: DeviceRule = { allow: false };

function rule(text: string): DeviceRule {
  const [verb, type, numbers = "", access = ""] = text.split(" ");
  const [major, minor] = numbers.split(":").map((number) => (number === "*" ? -1 : Number(number)));
  return {
    allow: verb === "allow",
    type: type === "b" ? "b" : type === "c" ? "c" : "a",
    ...(major === undefined ? {} : { major }),
    ...(minor === undefined ? {} : { minor }),
    access,
  };
}

function policyOf(...rules: (DeviceRule | string)[]): DevicePolicy {
  const policy = parseDeviceRules(rules.map((one) => (typeof one === "string" ? rule(one) : one)));
  if (policy === undefined) throw new Error("the rules restrict nothing");
  return policy;
}

/** What rules write on v1, without the devices of every container. */
function writesOf(...rules: (DeviceRule | string)[]): string[] {
  return devicesV1(policyOf(...rules))
    .filter(({ field }) => field !== undefined)
    .map(({ file, value }) => `${file.replace("devices.", "")} ${value}`);
}

test("parseDeviceRules: what comes before a rule for everything does not count", () => {
  assert.equal(parseDeviceRules([]), undefined);
  assert.equal(parseDeviceRules(undefined), undefined);
  assert.equal(parseDeviceRules([DENY_ALL, rule("allow c 1:3 r"), ALLOW_ALL]), undefined);
  assert.deepEqual(writesOf("allow c 9:9 r", DENY_ALL, "allow c 7:7 r"), ["deny a", "allow c 7:7 r"]);
});

test("parseDeviceRules: unset type, numbers and access stand for all", () => {
  assert.deepEqual(writesOf({ allow: true, type: "c", major: 10 }), ["deny a", "allow c 10:* rwm"]);
  // Making nodes is added for every container.
  assert.deepEqual(writesOf({ allow: true, access: "r" }), ["deny a", "allow c *:* rm", "allow b *:* rm"]);
  assert.throws(() => policyOf({ allow: true, access: "rx" }), { code: "CGROUP_VALUE_INVALID" });
});

test("devicesV1: rules for one device are one exception", () => {
  assert.deepEqual(writesOf("allow c 7:7 r", "allow c 7:8 r", "allow c 7:7 w"), [
    "deny a",
    "allow c 7:7 rw",
    "allow c 7:8 r",
  ]);
  assert.deepEqual(writesOf("allow c 7:7 rw", "deny c 7:* w"), ["deny a", "allow c 7:7 r"]);
  assert.deepEqual(writesOf("allow c 7:7 rw", "allow c 7:* rwm"), ["deny a", "allow c 7:* rwm"]);
  assert.deepEqual(writesOf("allow c 7:7 rw", "deny b 7:7 rw", "deny c 7:7 rwm"), ["deny a"]);
});

test("devicesV1: after a rule that allows all, what is denied is the exception", () => {
  assert.deepEqual(writesOf(ALLOW_ALL, "deny b 8:* w"), ["deny b 8:* w"]);
  assert.deepEqual(writesOf(ALLOW_ALL, "deny b 8:0 rw", "allow b 8:0 r"), ["deny b 8:0 w"]);
});

test("devicesV1: a rule that the kernel would take and not follow is refused", () => {
  assert.throws(() => writesOf("allow c 7:* rw", "deny c 7:7 w"), {
    code: "DEVICE_RULE_INEXPRESSIBLE",
    field: "linux.resources.devices[1]",
    message: "cgroup v1 cannot deny c 7:7 w after the wider rule c 7:* rw",
  });
});

/** Runs a device program. The kernel's verifier is not here: a wrong instruction throws. */
function run(program: Uint8Array, { type, access, major, minor }: Request): boolean {
  const view = new DataView(program.buffer);
  const context = [(access << 16) | { b: 1, c: 2 }[type], major, minor];
  const registers = new Array<number>(11).fill(Number.NaN);
  const load = (register: number) => {
    const value = registers[register];
    if (value === undefined || Number.isNaN(value)) throw new Error(`r${register} is read before it is written`);
    return value;
  };
  for (let pc = 0; ; pc++) {
    const at = pc * 8;
    const dst = view.getUint8(at + 1) & 15;
    const src = view.getUint8(at + 1) >> 4;
    const offset = view.getInt16(at + 2, true);
    const immediate = view.getInt32(at + 4, true);
    switch (view.getUint8(at)) {
      case BPF.LDX_MEM_W:
        assert.equal(src, 1);
        registers[dst] = context[offset / 4] ?? Number.NaN;
        break;
      case BPF.ALU_MOV_X:
        registers[dst] = load(src);
        break;
      case BPF.ALU64_MOV_K:
        registers[dst] = immediate;
        break;
      case BPF.ALU_AND_K:
        registers[dst] = load(dst) & immediate;
        break;
      case BPF.ALU_RSH_K:
        registers[dst] = load(dst) >>> immediate;
        break;
      case BPF.JMP_JA:
        pc += offset;
        break;
      case BPF.JMP_JNE_K:
        if (load(dst) !== immediate) pc += offset;
        break;
      case BPF.JMP_JSET_K:
        if ((load(dst) & immediate) !== 0) pc += offset;
        break;
      case BPF.EXIT:
        return load(0) === 1;
      default:
        throw new Error(`opcode ${view.getUint8(at).toString(16)} at ${pc}`);
    }
  }
}

interface Request {
  type: "b" | "c";
  access: number;
  major: number;
  minor: number;
}

/** The rule in words: for each wanted access the last rule that speaks of it decides. */
function decide({ allowAll, entries }: DevicePolicy, { type, access, major, minor }: Request): boolean {
  return Object.values(ACCESS)
    .filter((bit) => access & bit)
    .every((bit) => {
      const last = entries.findLast(
        (entry) =>
          entry.type === type &&
          (entry.major ?? major) === major &&
          (entry.minor ?? minor) === minor &&
          entry.access & bit,
      );
      return last?.allow ?? allowAll;
    });
}

/** devices.rst: a default, and exceptions, one of which must cover (or for a deny list, touch) the request. */
function decideV1(policy: DevicePolicy, request: Request): boolean {
  const writes = devicesV1(policy).filter(({ value }) => value !== "a");
  const matches = writes.some(({ value }) => {
    const [type, numbers = "", letters = ""] = value.split(" ");
    const [major, minor] = numbers.split(":");
    let access = 0;
    for (const letter of letters) access |= ACCESS[letter as "r" | "w" | "m"];
    return (
      type === request.type &&
      (major === "*" || Number(major) === request.major) &&
      (minor === "*" || Number(minor) === request.minor) &&
      (policy.allowAll ? (request.access & access) !== 0 : (request.access & ~access) === 0)
    );
  });
  return policy.allowAll ? !matches : matches;
}

const numbers = fc.constantFrom(-1, 7, 8);
const rules = fc.array(
  fc.record({
    allow: fc.boolean(),
    type: fc.constantFrom("a" as const, "b" as const, "c" as const),
    major: numbers,
    minor: numbers,
    access: fc.constantFrom("r", "w", "m", "rw", "rwm", ""),
  }),
  { minLength: 1, maxLength: 6 },
);
const requests: Request[] = (["b", "c"] as const).flatMap((type) =>
  [7, 8, 9].flatMap((major) =>
    [7, 8, 9].flatMap((minor) => [1, 2, 4, 6].map((access) => ({ type, access, major, minor }))),
  ),
);

test("assembleDeviceProgram: instructions of a small policy", () => {
  const program = assembleDeviceProgram({
    allowAll: false,
    entries: [{ allow: true, type: "c", major: 1, minor: undefined, access: ACCESS.r }],
  });
  const words = Array.from({ length: program.length / 8 }, (_, i) =>
    Array.from(program.subarray(i * 8, i * 8 + 8), (byte) => byte.toString(16).padStart(2, "0")).join(" "),
  );
  assert.deepEqual(words, [
    "61 12 00 00 00 00 00 00", // r2 = access_type
    "bc 23 00 00 00 00 00 00", // w3 = w2
    "54 02 00 00 ff ff 00 00", // w2 &= 0xffff: the type
    "74 03 00 00 10 00 00 00", // w3 >>= 16: the wanted access
    "61 14 04 00 00 00 00 00", // r4 = major
    "61 15 08 00 00 00 00 00", // r5 = minor
    "55 02 05 00 02 00 00 00", // not a character device: to the default
    "55 04 04 00 01 00 00 00", // not major 1: to the default
    "54 03 00 00 05 00 00 00", // reading is settled
    "55 03 02 00 00 00 00 00", // something is left: to the default
    "b7 00 00 00 01 00 00 00",
    "95 00 00 00 00 00 00 00",
    "b7 00 00 00 00 00 00 00",
    "95 00 00 00 00 00 00 00",
  ]);
});

test("assembleDeviceProgram: the last rule that speaks of an access decides", () => {
  fc.assert(
    fc.property(rules, (list) => {
      const policy = parseDeviceRules(list);
      if (policy === undefined) return;
      const program = assembleDeviceProgram(policy);
      for (const request of requests) assert.equal(run(program, request), decide(policy, request));
    }),
  );
});

test("devicesV1: what it does not refuse, the kernel decides alike, or denies where several exceptions would be needed", () => {
  fc.assert(
    fc.property(rules, (list) => {
      const policy = parseDeviceRules(list);
      if (policy === undefined) return;
      try {
        devicesV1(policy);
      } catch (error) {
        if (error instanceof ContainerError) return;
        throw error;
      }
      for (const request of requests) {
        const single = [1, 2, 4].includes(request.access);
        if (single) assert.equal(decideV1(policy, request), decide(policy, request));
        else if (!decide(policy, request)) assert.equal(decideV1(policy, request), false);
      }
    }),
  );
});
