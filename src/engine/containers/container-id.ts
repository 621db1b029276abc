/** Container IDs: what `--name` says, or 12 random hexadecimal digits. */
import { ContainerError } from "../../error.ts";
import { sys } from "../../sys/sys.ts";

const RANDOM_BYTES = 6;
/** An ID becomes a directory's and a control group's name. */
const MAX_LENGTH = 128;

/** Throws BAD_NAME. */
export function containerId(name: string | undefined): string {
  if (name === undefined) {
    const buffer = new ArrayBuffer(RANDOM_BYTES);
    sys.getrandom(buffer, 0);
    return [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }
  if (/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(name) && name.length <= MAX_LENGTH) return name;
  throw new ContainerError("BAD_NAME", `--name "${name}" cannot be the name of a container`, {
    field: "--name",
    hint: `a letter or digit, then letters, digits, "_", "." and "-"; at most ${MAX_LENGTH}`,
  });
}
