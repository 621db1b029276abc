/**
 * What may be mounted in /proc: nothing but a procfs on /proc itself, and a few files that lxcfs and CRIU stand in for.
 *
 * Whoever could put other files there would take the kernel's place: writes of labels and settings would go to a file of
 * the container, and masks would hide nothing (CVE-2019-16884, CVE-2023-27561, CVE-2025-52881). The list is runc's.
 */
export const PROC_FILES: readonly string[] = [
  "/proc/cpuinfo",
  "/proc/diskstats",
  "/proc/meminfo",
  "/proc/stat",
  "/proc/swaps",
  "/proc/uptime",
  "/proc/loadavg",
  "/proc/slabinfo",
  "/proc/sys/kernel/ns_last_pid",
  "/proc/sys/crypto/fips_enabled",
];

/** An absolute path without `.`, `..` and repeated slashes; a relative one (deprecated since runtime-spec 1.2) is one below `/`. */
export function cleanPath(path: string): string {
  // Nearly all are clean, and configs may have thousands.
  if (path.startsWith("/") && !path.endsWith("/") && !path.includes("//") && !path.includes("/.")) return path;
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}
