/**
 * The naive code that attacks are first tried on (docs/security.md). `scripts/build.ts --weakened` makes build/weakened/tupper of
 * the sources with these edits; `TUPPER_WEAK=drop:mask,mount-early` switches some of them on in it. An edit whose text is not in
 * the source any more breaks that build. The binary that is shipped is made without this file (tests/weakened.test.ts).
 */

interface Edit {
  file: string;
  /** Text of the source, there once. */
  find: string;
  /** `isWeak("name")` says whether the switch is on. */
  replace: string;
}

export const EDITS: readonly Edit[] = [
  {
    // `drop:OP`: the plan without the steps of this name.
    file: "src/execute/init.ts",
    find: "  const perform = performers[step.op]",
    replace: "  if (isWeak('drop:' + step.op)) return;\n  const perform = performers[step.op]",
  },
  {
    file: "src/execute/parent.ts",
    find: "  const perform = performers[step.op]",
    replace: "  if (isWeak('drop:' + step.op)) return;\n  const perform = performers[step.op]",
  },
  {
    // Mounts are made by path before the root is entered, as runtimes do that resolve links themselves.
    file: "src/plan/plan.ts",
    find: "      ...enterRoot(rootfs.root, noPivot),\n      ...mounts.place,",
    replace: `      ...(isWeak("mount-early")
        ? mounts.place.flatMap((step) => (step.op === "placeTree" || step.op === "mount" ? [{ ...step, target: rootfs.root + step.target }] : []))
        : []),
      ...enterRoot(rootfs.root, noPivot),
      ...(isWeak("mount-early") ? [] : mounts.place),`,
  },
  {
    file: "src/execute/init/mounts.ts",
    find: "    else mountOnPlace(step, context);",
    replace:
      "    else if (isWeak('mount-by-path')) mountAt(target, step, context);\n    else mountOnPlace(step, context);",
  },
  {
    file: "src/execute/init/proc.ts",
    find: "export function keepKernelRoot(target: string, context: InitContext): void {",
    replace:
      "export function keepKernelRoot(target: string, context: InitContext): void {\n  if (isWeak('mount-by-path')) return;",
  },
  {
    file: "src/execute/init/paths.ts",
    find: "resolve: RESOLVE_NO_MAGICLINKS",
    replace: "resolve: isWeak('magic-links') ? 0 : RESOLVE_NO_MAGICLINKS",
  },
  {
    file: "src/execute/init/masks.ts",
    find: "how | AT_SYMLINK_NOFOLLOW",
    replace: "how | (isWeak('null-unchecked') ? 0 : AT_SYMLINK_NOFOLLOW)",
  },
  {
    file: "src/execute/init/masks.ts",
    find: "    if (isNullDevice(tree))",
    replace: "    if (isWeak('null-unchecked') || isNullDevice(tree))",
  },
  {
    file: "src/execute/pty.ts",
    find: '  let place = openPlace("/dev/console", O_NOFOLLOW);',
    replace: '  let place = openPlace("/dev/console", isWeak("console-followed") ? 0 : O_NOFOLLOW);',
  },
  {
    file: "src/execute/init/proc.ts",
    find: "export function writeProcFile(path: string, value: string, context: InitContext): void {",
    replace: `export function writeProcFile(path: string, value: string, context: InitContext): void {
  if (isWeak("proc-writes-by-path")) {
    const file = raw.openat(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    raw.write(file, value);
    raw.close(file);
    return;
  }`,
  },
  {
    file: "src/execute/init/proc.ts",
    find: "export function refuseInsideProcFd(fd: number, target: string): void {",
    replace:
      "export function refuseInsideProcFd(fd: number, target: string): void {\n  if (isWeak('into-proc')) return;",
  },
  {
    file: "src/execute/init/paths.ts",
    find: "export function refuseUnreachable(path: string): void {",
    replace: "export function refuseUnreachable(path: string): void {\n  if (isWeak('directory-unchecked')) return;",
  },
  {
    file: "src/execute/init/descriptors.ts",
    find: "export function closeInherited(keep: readonly number[], first = 3): void {",
    replace:
      "export function closeInherited(keep: readonly number[], first = 3): void {\n  if (isWeak('descriptors-stay')) return;",
  },
  {
    file: "src/execute/null-device.ts",
    find: "export function replaceNull(channel: number): void {",
    replace: "export function replaceNull(channel: number): void {\n  if (isWeak('null-kept')) return;",
  },
  {
    // Mounts without ro, nosuid, nodev, noexec.
    file: "src/plan/mount-options.ts",
    find: "  for (const option of options) {",
    replace:
      "  for (const option of options) {\n    if (isWeak('flags-lost') && ['ro', 'nosuid', 'nodev', 'noexec'].includes(option)) continue;",
  },
  {
    // With mount-early: `..` is left to the kernel, outside the root.
    file: "src/plan/mounts.ts",
    find: "const target = cleanPath(mount.destination);",
    replace: "const target = isWeak('dots-kept') ? mount.destination : cleanPath(mount.destination);",
  },
  {
    // As Docker's default was until CVE-2022-24769.
    file: "src/engine/containers/config/capabilities.ts",
    find: "inheritable: [], ambient: [] }",
    replace: "inheritable: isWeak('all-inheritable') ? bounding : [], ambient: [] }",
  },
  {
    // As `runc exec --cap` was until CVE-2022-29162.
    file: "src/cli/runtime/exec.ts",
    find: "      ...(inheritable === undefined",
    replace:
      "      ...(isWeak('all-inheritable') ? { inheritable: withAdded(inheritable) } : inheritable === undefined",
  },
  {
    file: "src/printable.ts",
    find: 'text.replace(/[\\p{Cc}\\p{Cs}]/gu, "?")',
    replace: "isWeak('escapes-printed') ? text : text.replace(/[\\p{Cc}\\p{Cs}]/gu, '?')",
  },
  {
    file: "src/printable.ts",
    find: 'text.replace(/[^\\P{Cc}\\n\\t]|\\p{Cs}/gu, "?")',
    replace: "isWeak('escapes-printed') ? text : text.replace(/[^\\P{Cc}\\n\\t]|\\p{Cs}/gu, '?')",
  },
  {
    file: "src/printable.ts",
    find: "text.replace(/[\\u007f-\\u009f]/g",
    replace: "isWeak('escapes-printed') ? text : text.replace(/[\\u007f-\\u009f]/g",
  },
  {
    file: "src/execute/init/labels.ts",
    find: "const isOurs = owner === String(raw.geteuid());",
    replace: "const isOurs = isWeak('keyring-taken') || owner === String(raw.geteuid());",
  },
];
