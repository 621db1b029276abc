/** `--version`, of tupper and of tupper-runtime. */
declare const __VERSION__: string | undefined;

/** From package.json, by the build. */
export const VERSION = typeof __VERSION__ === "undefined" ? "0.0.0" : __VERSION__;
/** The runtime-spec that a config is read by. */
export const SPEC_VERSION = "1.3.0";

const FEATURES = "namespaces cgroup-v1 cgroup-v2 seccomp capabilities overlay rootless";

export const versionText = (program: string): string =>
  `${program} version ${VERSION}\nspec: ${SPEC_VERSION}\nfeatures: ${FEATURES}`;
