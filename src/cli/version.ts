/** `--version`, of tupper and of tupper-runtime. */

import { SPEC_VERSION } from "../spec/version.ts";

declare const __VERSION__: string | undefined;

/** From package.json, by the build. */
export const VERSION = typeof __VERSION__ === "undefined" ? "0.0.0" : __VERSION__;

const FEATURES = "namespaces cgroup-v1 cgroup-v2 seccomp capabilities overlay rootless";

export const versionText = (program: string): string =>
  `${program} version ${VERSION}\nspec: ${SPEC_VERSION}\nfeatures: ${FEATURES}`;
