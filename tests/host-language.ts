/**
 * What JavaScript says where the host's QuickJS takes a shortcut (scripts/quickjs-shortcuts.ts): the usual case of each, and
 * what must not be taken for it. `language()` gives one line for each; tests/host.test.ts compares the host's with Node's.
 */

type Names = Record<PropertyKey, unknown>;

const described = (value: unknown): unknown => {
  if (typeof value === "function") return `function ${value.name}/${value.length}`;
  if (typeof value !== "object" || value === null) return Object.is(value, -0) ? "-0" : String(value);
  const fields = Reflect.ownKeys(value).map((key) => {
    const field = Object.getOwnPropertyDescriptor(value, key);
    const flags = `${field?.writable ? "w" : ""}${field?.enumerable ? "e" : ""}${field?.configurable ? "c" : ""}`;
    return [String(key), flags, field?.get === undefined ? described(field?.value) : "getter"];
  });
  return [Array.isArray(value) ? "array" : "object", Object.isExtensible(value), fields];
};

/** With the function's own property for a moment, and without it again. */
function during<T>(target: object, key: PropertyKey, field: PropertyDescriptor, body: () => T): T {
  const before = Object.getOwnPropertyDescriptor(target, key);
  Object.defineProperty(target, key, { configurable: true, ...field });
  try {
    return body();
  } finally {
    if (before === undefined) Reflect.deleteProperty(target, key);
    else Object.defineProperty(target, key, before);
  }
}

/** With another array, where arrays make their results. */
const withSpecies = <T>(make: () => unknown[], body: () => T): T => {
  class Result {
    constructor() {
      // biome-ignore lint/correctness/noConstructorReturn: that is how a constructor gives another object
      return make();
    }
  }
  return during(Array, Symbol.species, { value: Result }, body);
};

const holes = (): unknown[] => {
  const list: unknown[] = [1, 2, 3, 4];
  delete list[1];
  return list;
};
const withLength = (length: number): unknown[] => {
  const list: unknown[] = [1, 2];
  list.length = length;
  return list;
};
const fixedLength = (): unknown[] => Object.defineProperty([1, 2], "length", { writable: false });
const symbol = Symbol("s");
const A = ["a"].join();
const arrays: (() => unknown[])[] = [
  () => [],
  () => [1, "a", null, undefined, [2], { a: 1 }],
  holes,
  () => withLength(5),
  () => new Array(3),
  fixedLength,
  () => Object.freeze([1, 2]) as unknown[],
  () => Object.seal([1, 2]) as unknown[],
  () => Object.assign([1, 2], { name: 3, "-1": 4 }),
  () =>
    Object.setPrototypeOf([1, 2], {
      3: "of the prototype",
      get 4() {
        return "got";
      },
    }) as unknown[],
  () => Object.setPrototypeOf([1, 2], null) as unknown[],
  () => Object.defineProperty([1, 2, 3], 1, { get: () => "got", enumerable: true, configurable: true }),
  () =>
    Object.defineProperty([1, 2, 3], Symbol.iterator, {
      value: function* () {
        yield "own";
      },
    }),
  () => Array.from({ length: 40 }, (_, i) => i),
];
const objects: (() => Names)[] = [
  () => ({}),
  () => ({ b: 1, a: 2, c: { d: 3 } }),
  () => ({ b: 1, 2: "two", a: 2, 1: "one", [symbol]: 3, z: 4 }),
  () => ({ [symbol]: 1, a: 2 }),
  () => ({
    a: 1,
    get b() {
      return 2;
    },
    set c(_value: unknown) {},
  }),
  () => {
    const made: Names = { a: 1, b: 2, c: 3 };
    delete made.b;
    return made;
  },
  () => {
    const made: Names = { a: 1, b: 2, c: 3 };
    delete made.a;
    made.a = 4;
    return made;
  },
  () => Object.defineProperty({ a: 1, b: 2 }, "a", { enumerable: false }) as Names,
  () => Object.defineProperty({ a: 1, b: 2 }, "a", { writable: false, configurable: false }) as Names,
  () => Object.freeze({ a: 1, b: 2 }) as Names,
  () => Object.create({ a: "of the prototype" }, { b: { value: 2, enumerable: true } }) as Names,
  () => Object.setPrototypeOf({ a: 1 }, null) as Names,
  () => ({ ["__proto__"]: 1, a: 2, constructor: 3 }),
  () => ({ "4294967294": "index", "4294967295": "name", "-1": "name", "01": "name", "": "name" }),
  () => new Date(0) as unknown as Names,
  () => [1, 2] as unknown as Names,
  () => new String("ab") as unknown as Names,
  () => Object.assign(() => 1, { a: 1 }) as unknown as Names,
  () => new Map([[1, 2]]) as unknown as Names,
];

/** What is done with each array. */
const withArrays: Record<string, (list: unknown[]) => unknown> = {
  length: (list) => list.length,
  spread: (list) => [0, ...list, 9, ...list],
  push: (list) => [list.push("a"), list.push("b", "c"), list.push(), list],
  unshift: (list) => [list.unshift("a", "b"), list],
  iterate: (list) => {
    const seen: unknown[] = [];
    for (const one of list) if (seen.push(one) < 4) list.push("more");
    return seen;
  },
  shrink: (list) => {
    const seen: unknown[] = [];
    for (const one of list) {
      seen.push(one);
      list.length = 1;
    }
    return seen;
  },
  entries: (list) => [...list.entries(), ...list.keys()],
  resumed: (list) => {
    const values = list.values();
    const seen: unknown[] = [values.next()];
    list.push("later");
    seen.push(...[...values], values.next());
    return seen;
  },
  map: (list) => list.map((one, i) => [one, i]),
  filter: (list) => list.filter((one) => one !== 2),
  every: (list) => [list.every((one) => one !== 9), list.some((one) => one === undefined)],
  grows: (list) => list.map((one) => (list.length < 9 ? list.push(one) : one)),
  concat: (list) => list.concat([7, 8], list, "x"),
  destructured: ([a, b, ...rest]) => [a, b, rest],
  extended: (list) => {
    list[list.length] = "next";
    list[list.length + 2] = "beyond";
    return list;
  },
  names: (list) => [
    list.at,
    (list as unknown as Names).name,
    (list as unknown as Names)["3"],
    (list as unknown as Names).missing,
  ],
};

/** What is done with each object. */
const withObjects: Record<string, (object: Names) => unknown> = {
  copy: (object) => ({ ...object }),
  copyOnto: (object) => ({ a: "before", q: 0, ...object, b: "after" }),
  copyTwice: (object) => ({ ...object, ...{ x: 1, ...object } }),
  copyIsOwn: (object) => {
    const [one, other] = [{ ...object }, { ...object }] as [Names, Names];
    one.a = "changed";
    one.more = 1;
    delete other.b;
    Object.defineProperty(other, "c", { value: 1 });
    return [one, other, { ...object }, object];
  },
  rest: ({ a, ...rest }) => [a, rest],
  copyWithProto: (object) => ({ __proto__: { inherited: 1 }, ...object }),
  fields: ({ a, b, c, length, name, missing, toFixed }) => [a, b, c, length, name, missing, toFixed],
  assigned: (object) => Object.assign({ a: 0 }, object),
  order: (object) => Object.keys({ z: 1, ...object }),
};

/** Anything else. */
const others: Record<string, () => unknown> = {
  sameField: () => ({ a: 1, b: 2, [A]: 3 }),
  fieldThenGetter: () => ({
    a: 1,
    get [A]() {
      return 2;
    },
  }),
  getterThenField: () => ({
    get a() {
      return 1;
    },
    [A]: 2,
  }),
  functions: () =>
    [
      (a: unknown, b: unknown) => [a, b],
      function named(_a: unknown, _b = 1, ..._rest: unknown[]) {},
      class Named {
        field = 1;
        static length = 7;
      },
      class {
        field = 1;
        static override = 1;
        static name = "own";
      },
      { method() {}, async later() {}, *many() {}, [symbol]() {} },
      (() => {}).bind(null),
      Object.assign(() => 1, { length: 1 }.constructor),
    ].map(described),
  functionLengthIsFixed: () => {
    const f = () => 1;
    (f as unknown as { length: number }).length = 5;
    return f;
  },
  equal: () => {
    const [a, wide] = [["a", "b"].join(""), ["\u0101", "b"].join("")];
    return [a === "ab", a === "ac", a === "abc", wide === "\u0101b", wide === "ab", ["", "a"].includes(a.slice(0, 1))];
  },
  counted: () => {
    const numbers: unknown[] = [];
    for (const start of [0, -1, 2147483646, 2147483647, -2147483648, 0.5, 2 ** 53]) {
      let [up, down] = [start, start];
      numbers.push(up++, up++, up, ++up, down--, down--, down, --down);
      const held = { up, down };
      numbers.push(held.up++, held.down--, held.up, held.down, () => up);
    }
    let big = 5n;
    numbers.push(big++, big--, big);
    return numbers;
  },
  found: () =>
    ["", "a", "abcabc", "aab", "\u0101bc\u0101bc", "x\u00ff\u00fe", "a\u0000b"].flatMap((whole) =>
      ["", "a", "bc", "abc", "ab", "\u0101", "\u00ff", "\u0000", "abcabcd"].flatMap((part) =>
        [undefined, -1, 0, 1, 3, 99].map((from) => [
          whole.indexOf(part, from),
          whole.includes(part, from),
          whole.lastIndexOf(part, from),
          whole.startsWith(part, from),
          whole.endsWith(part, from),
          whole.split(part).length,
        ]),
      ),
    ),
  textLength: () =>
    ["", "abc", "\u0101\u{1F600}", ["a".repeat(9000), "b".repeat(9000)].join("")].map(
      (text) => text.length + (text + text).length,
    ),
  lengthOfOthers: () => [
    [1].map.length,
    new Uint8Array(3).length,
    { length: "x" }.length,
    (new String("abc") as unknown as Names).length,
  ],
  fieldOfNothing: () => (undefined as unknown as Names).a,
  fieldOfText: () => [
    "abc".at(-1),
    ("abc" as unknown as Names)[1],
    ("abc" as unknown as Names).missing,
    (5).toFixed(1),
  ],
  prototypeSetter: () =>
    during(Array.prototype, "3", { set() {}, get: () => "of all" }, () => {
      const list: unknown[] = [1, 2, 3];
      return [list.push("a"), list, [...list, 1], list.map((one) => one), list.concat([1, 2]), [1, 2, 3, 4], list[3]];
    }),
  prototypeReadonly: () =>
    during(Object.prototype, "1", { value: "fixed", writable: false }, () => {
      const list: unknown[] = [1];
      return [list.push("a"), list];
    }),
  prototypeField: () =>
    during(Object.prototype, "q", { value: "fixed", writable: false }, () => [{ q: 1 }, { ...{ q: 1 } }]),
  prototypeGetter: () =>
    during(
      Object.prototype,
      "q",
      {
        get() {
          return typeof this;
        },
      },
      () => [({} as Names).q, ("a" as unknown as Names).q, ([] as unknown as Names).q],
    ),
  iterator: () =>
    during(
      Array.prototype,
      Symbol.iterator,
      {
        value: function* () {
          yield "all";
        },
      },
      () => {
        const seen: unknown[] = [...[1, 2]];
        for (const one of [3]) seen.push(one);
        return seen;
      },
    ),
  iteratorNext: () => {
    const prototype = Object.getPrototypeOf([].values()) as object;
    let left = 2;
    return during(prototype, "next", { value: () => ({ done: left-- === 0, value: "all" }) }, () => [...[1, 2, 3]]);
  },
  iteratorNextIsGetter: () => {
    const prototype = Object.getPrototypeOf([].values()) as { next: unknown };
    const { next } = prototype;
    const list = [{ a: 1 }, { a: 2 }];
    let asked = 0;
    const get = () => {
      list.length = 0;
      asked++;
      return next;
    };
    return during(prototype, "next", { get }, () => [[...list], asked]);
  },
  species: () => {
    class Mine extends Array<unknown> {}
    const mine = Mine.from([1, 2]);
    return [
      mine.map((one) => one) instanceof Mine,
      mine.concat([3]),
      [...mine],
      mine.push(3),
      mine.filter(() => true).length,
    ];
  },
  speciesIsClosed: () =>
    withSpecies(
      () => Object.preventExtensions([]),
      () => [1, 2].concat([3]),
    ),
  speciesHasFixedLength: () =>
    withSpecies(
      () => Object.defineProperty([], "length", { writable: false }),
      () => [1, 2].map((one) => one),
    ),
  privateFields: () => {
    class Mine {
      #hidden = 1;
      shown = 2;
      static read = (object: object) => (#hidden in object ? "hidden" : "none");
      get hidden() {
        return this.#hidden;
      }
    }
    const copy = { ...new Mine() };
    return [copy, Mine.read(copy), Mine.read(new Mine()), { a: 1, ...new Mine() }];
  },
  otherIterables: () => [...new Set([1, 1, 2]), ..."a\u{1F600}", ...new Map([[1, 2]])],
  growing: () => {
    const list: unknown[] = [];
    for (let i = 0; i < 3000; i++) list.push(i);
    return [list.length, list[2999], list.map((one) => one).length];
  },
  fieldsOfMany: () => {
    const made: Names = {};
    for (let i = 0; i < 300; i++) made[`f${i}`] = i;
    return [Object.keys({ ...made }).length, { ...made }.f299];
  },
};

/** One line for each case: its name, and what comes of it or the kind of error. */
export function language(): string[] {
  const lines: string[] = [];
  const say = (name: string, body: () => unknown) => {
    let outcome: unknown;
    try {
      outcome = described(body());
    } catch (error) {
      outcome = error instanceof Error ? error.name : "thrown";
    }
    lines.push(`${name}: ${JSON.stringify(outcome)}`);
  };
  for (const [name, act] of Object.entries(withArrays))
    for (const [i, make] of arrays.entries())
      say(`${name} ${i}`, () => {
        const list = make();
        return [act(list), list];
      });
  for (const [name, act] of Object.entries(withObjects))
    for (const [i, make] of objects.entries())
      say(`${name} ${i}`, () => {
        const object = make();
        return [act(object), object];
      });
  for (const [name, act] of Object.entries(others)) say(name, act);
  return lines;
}
