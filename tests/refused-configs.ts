/** For the tests of what parseConfig refuses: configs that are good but for one thing, and the comparison of the whole error. */
import assert from "node:assert/strict";
import { ContainerError } from "../src/error.ts";
import { parseConfig } from "../src/spec/parse-config.ts";

export type Json = Record<string, unknown>;
/** What is wrong with a config, and the error it gets: code, message (which begins with the field), hint. */
export type Refusal = [config: Json, code: string, message: string, hint?: string];

export const INVALID = "CONFIG_INVALID";
export const CONFLICT = "CONFIG_CONFLICT";
/** The hint for who writes (uid_t) -1. */
export const NO_ID = '4294967295, which is -1, is no id: system calls take it for "leave it as it is"; 65534 is nobody';

export const process = { cwd: "/", args: ["sh"], user: { uid: 0, gid: 0 } };
export const minimal = { ociVersion: "1.0.0", root: { path: "rootfs" }, process };
export const namespaces = ["mount", "pid", "network", "ipc", "uts", "cgroup", "time"].map((type) => ({ type }));
export const withUser = [...namespaces, { type: "user" }];
export const mappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }];

export const without = (config: Json, name: string): Json => ({ ...config, [name]: undefined });
export const inConfig = (more: Json): Json => ({ ...minimal, ...more });
export const inProcess = (more: Json): Json => inConfig({ process: { ...process, ...more } });
export const inLinux = (linux: Json, more: Json = {}): Json => inConfig({ linux: { namespaces, ...linux }, ...more });
export const inResources = (resources: Json): Json => inLinux({ resources });
export const inSeccomp = (seccomp: Json): Json => inLinux({ seccomp: { defaultAction: "SCMP_ACT_ALLOW", ...seccomp } });
export const inRule = (rule: Json): Json =>
  inSeccomp({ syscalls: [{ names: ["read"], action: "SCMP_ACT_LOG", ...rule }] });
export const inArgument = (argument: Json): Json =>
  inRule({ args: [{ index: 0, value: 0, op: "SCMP_CMP_EQ", ...argument }] });
export const inMount = (mount: Json, linux: Json = {}): Json =>
  inLinux(linux, { mounts: [{ destination: "/a", ...mount }] });
export const inUserNamespace = (linux: Json, more: Json = {}): Json =>
  inLinux({ namespaces: withUser, uidMappings: mappings, gidMappings: mappings, ...linux }, more);

/** Each is refused with exactly this, and is good without what is wrong: the parts that are not under test are. */
export function refuses(refusals: readonly Refusal[]): void {
  for (const [config, code, message, hint] of refusals) {
    assert.throws(
      () => parseConfig(JSON.stringify(config)),
      (error) => {
        assert.ok(error instanceof ContainerError, String(error));
        assert.deepEqual(
          { code: error.code, message: error.message, hint: error.hint, field: error.field },
          { code, message, hint, field: /^(.+?) is /.exec(message)?.[1] },
        );
        return true;
      },
    );
  }
}
