/** The name of a user of the machine. passwd(5). */
import { readFileIfThere } from "../sys/files.ts";

/** `root` for 0; the number as text for a user without a name. */
export function ownerName(uid: number): string {
  if (uid === 0) return "root";
  for (const line of (readFileIfThere("/etc/passwd") ?? "").split("\n")) {
    const [name = "", , id] = line.split(":");
    if (id === String(uid)) return name;
  }
  return String(uid);
}
