/** Standard output and error that take nothing, or not at once. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { binary, compiled, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs();

test("tupper: the exit code says what failed, also where stderr takes nothing", {
  skip: missing("file:/dev/full"),
}, () => {
  const codes = ["run /nowhere true", "nosuch", "kill nosuch"].map(
    (words) => spawnSync("sh", ["-c", `"$0" ${words} 2>/dev/full`, binary]).status,
  );
  assert.deepEqual(codes, [125, 2, 1]);
});

/** Both outputs into one pipe that is full and does not block; what arrives there behind the filling, and the exit code. */
function intoFullPipe(words: string): { printed: string; code: string } {
  const code = join(temporaryDirectory(), "code");
  // Whoever reads begins when the program has been refused.
  const script = `{ "$0" "$1" ${words}; echo $? >"$2"; } 2>&1 | (sleep 0.5; tr -d '.\\r')`;
  const { stdout } = spawnSync("sh", ["-c", script, compiled("full_output"), binary, code], { encoding: "utf8" });
  return { printed: stdout, code: readFileSync(code, "utf8") };
}

test("tupper: output into a full pipe that does not block waits for who reads it, and all of it arrives", {
  skip: missing("subuid", "package:busybox-static", "programs"),
}, () => {
  const lines = Array.from({ length: 20_000 }, (_, i) => `${i + 1}\n`).join("");
  assert.deepEqual(intoFullPipe(`run --tty ${root} sh -c "seq 20000; exit 7" </dev/null`), {
    printed: lines,
    code: "7\n",
  });
  const error = spawnSync(binary, ["run", "/nowhere", "true"], { encoding: "utf8" }).stderr.replaceAll(".", "");
  assert.deepEqual(intoFullPipe("run /nowhere true"), { printed: error, code: "125\n" });
});
