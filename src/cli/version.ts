/** `--version`, of tupper and of tupper-runtime. */

import { SPEC_VERSION } from "../spec/version.ts";

declare const __VERSION__: string | undefined;
declare const __COMMIT__: string | undefined;

/** From package.json, by the build. */
export const VERSION = typeof __VERSION__ === "undefined" ? "0.0.0" : __VERSION__;
/** Of the checkout, by the build; `unknown` outside of one. */
export const COMMIT = typeof __COMMIT__ === "undefined" ? "unknown" : __COMMIT__;

/** In the form of runc and crun, which their callers parse: Podman looks for +SECCOMP, for one. */
export const versionText = (program: string): string =>
  `${program} version ${VERSION}\ncommit: ${COMMIT}\nspec: ${SPEC_VERSION}\n+SELINUX +APPARMOR +CAP +SECCOMP +EBPF +CRIU`;
