declare const __sys: any;
(globalThis as any).__main = (argv: string[]) => {
  __sys.write(1, `hello ${argv.join(" ")}\n`);
  if (argv[1] === "x") throw new Error("boom é");
  if (argv[1] === "t") { const t = __sys.decodeText(new Uint8Array([0x61, 0xff, 0xc3, 0xa9, 0xed, 0xb2, 0x80]).buffer, 0, 7); __sys.write(1, t + "\n"); __sys.write(1, JSON.stringify([...t].map((c) => c.charCodeAt(0).toString(16))) + "\n"); }
  return 3;
};
