/** The root filesystem of the planted faults: busybox, and programs that are each broken in a way of their own. */
import { spawnSync } from "node:child_process";
import { copyFileSync, linkSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fillRootfs } from "../rootfs.ts";

const X = 0o755;

export function fillBrokenRootfs(root: string): void {
  fillRootfs(root, {
    "mnt/": "",
    "opt/": "",
    "srv/programs/true": { copyOf: "/bin/busybox", mode: X },
    "srv/closed/program": { copyOf: "/bin/busybox", mode: X },
    "srv/root-only": { text: "#!/bin/sh\n", mode: 0o700 },
    "srv/not-executable": { text: "#!/bin/sh\n", mode: 0o644 },
    "srv/missing-interpreter": { text: "#!/usr/bin/python9\n", mode: X },
    "srv/dos-line-ends": { text: "#!/bin/sh\r\necho x\r\n", mode: X },
    "srv/no-interpreter": { text: "#!\n", mode: X },
    "srv/long-shebang": { text: `#!/${"very-long-name/".repeat(20)}sh\n`, mode: X },
    "srv/bad-interpreter": { text: "#!/srv/not-executable\n", mode: X },
    "srv/loop-interpreter": { text: "#!/srv/loop-interpreter\n", mode: X },
    "srv/script-of-dynamic": { text: "#!/srv/dynamic\n", mode: X },
    "srv/no-program": { text: "just text\n", mode: X },
    "srv/empty": { text: "", mode: X },
    "srv/busy": { copyOf: "/bin/busybox", mode: X },
    "srv/dynamic": { copyOf: "/bin/ls", mode: X },
    "srv/with-capabilities": { copyOf: "/bin/busybox", mode: X },
  });
  spawnSync("chmod", ["700", join(root, "srv/closed")]);
  writeFileSync(join(root, "srv/foreign"), foreignProgram(), { mode: X });
  writeFileSync(join(root, "srv/truncated"), readFileSync("/bin/busybox").subarray(0, 100), { mode: X });
  spawnSync("setcap", ["cap_net_admin+ep", join(root, "srv/with-capabilities")]);
  symlinkSync("/nowhere/at-all", join(root, "srv/dangling"));
  symlinkSync("round", join(root, "srv/round"));
  void [copyFileSync, linkSync];
}

/** An ELF header that says arm64. elf(5) */
function foreignProgram(): Buffer {
  const header = Buffer.alloc(4096);
  header.write("\x7fELF\x02\x01\x01", "latin1");
  header.writeUInt16LE(2, 16);
  header.writeUInt16LE(183, 18);
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(64n, 32);
  header.writeUInt16LE(64, 52);
  header.writeUInt16LE(56, 54);
  return header;
}
