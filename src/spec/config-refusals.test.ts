// Data: what parseConfig refuses of the whole, its root, mounts and hooks, and the whole error for each.
import { test } from "node:test";
import {
  CONFLICT,
  INVALID,
  inArgument,
  inConfig,
  inLinux,
  inMount,
  inRule,
  inUserNamespace,
  type Json,
  mappings,
  minimal,
  refuses,
  without,
} from "../../tests/refused-configs.ts";
import { parseConfig } from "./parse-config.ts";

test("parseConfig accepts what the refusals below start from", () => {
  for (const config of [
    minimal,
    inLinux({}),
    inUserNamespace({}),
    inRule({}),
    inArgument({}),
    inMount({ options: ["rbind", "ro", "rprivate"], source: "/b" }),
    inMount({ type: "tmpfs", options: ["size=1m", "whatever"] }),
    inLinux({}, { hostname: `${"é€😀".repeat(7)}a` }),
    inLinux({ sysctl: { "kernel.domainname": "a" } }, { domainname: "a" }),
  ])
    parseConfig(JSON.stringify(config));
});

test("parseConfig refuses documents that are no config and versions that it does not know", () => {
  refuses([
    [[] as unknown as Json, INVALID, "config.json is []: it must be an object"],
    [5 as unknown as Json, INVALID, "config.json is 5: it must be an object"],
    [
      without(minimal, "ociVersion"),
      INVALID,
      "ociVersion is missing: it must be a version of the runtime-spec, such as 1.3.0",
    ],
    [inConfig({ ociVersion: 1 }), INVALID, "ociVersion is 1: it must be a version of the runtime-spec, such as 1.3.0"],
    [
      inConfig({ ociVersion: "1.0" }),
      INVALID,
      'ociVersion is "1.0": it must be a version of the runtime-spec, such as 1.3.0',
    ],
    [
      inConfig({ ociVersion: "latest" }),
      INVALID,
      'ociVersion is "latest": it must be a version of the runtime-spec, such as 1.3.0',
    ],
    [
      inConfig({ ociVersion: "2.0.0" }),
      "CONFIG_VERSION",
      'ociVersion is "2.0.0": only versions 1.x of the runtime-spec are known',
    ],
    [
      inConfig({ ociVersion: "0.5.0-dev" }),
      "CONFIG_VERSION",
      'ociVersion is "0.5.0-dev": only versions 1.x of the runtime-spec are known',
    ],
  ]);
});

test("parseConfig refuses a wrong root, names without their namespace, and wrong annotations", () => {
  refuses([
    [without(minimal, "root"), INVALID, "root is missing: it must be an object"],
    [inConfig({ root: "rootfs" }), INVALID, 'root is "rootfs": it must be an object'],
    [inConfig({ root: {} }), INVALID, "root.path is missing: it must be the path of a directory"],
    [inConfig({ root: { path: "" } }), INVALID, "root.path is missing: it must be the path of a directory"],
    [
      inConfig({ root: { path: "a\0b" } }),
      INVALID,
      'root.path is "a\\u0000b": it must be a string without NUL characters',
    ],
    [
      inConfig({ root: { path: "rootfs", readonly: "yes" } }),
      INVALID,
      'root.readonly is "yes": it must be true or false',
    ],
    [inConfig({ hostname: "box" }), CONFLICT, 'hostname is "box": it needs a uts namespace in linux.namespaces'],
    [
      inConfig({ domainname: "example.org" }),
      CONFLICT,
      'domainname is "example.org": it needs a uts namespace in linux.namespaces',
    ],
    [
      inLinux({}, { hostname: "a".repeat(65) }),
      INVALID,
      'hostname is "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…: it must be a name of at most 64 bytes',
    ],
    [
      inLinux({}, { domainname: "é€".repeat(12) + "😀".repeat(2) }),
      INVALID,
      'domainname is "é€é€é€é€é€é€é€é€é€é€é€é€😀😀": it must be a name of at most 64 bytes',
    ],
    [inLinux({}, { hostname: ["a"] }), INVALID, 'hostname is ["a"]: it must be a name of at most 64 bytes'],
    [
      inLinux({ sysctl: { "kernel.domainname": "a" } }, { domainname: "b" }),
      CONFLICT,
      'domainname is "b": linux.sysctl["kernel.domainname"] sets it too',
    ],
    [inConfig({ annotations: { "org.example": 5 } }), INVALID, 'annotations["org.example"] is 5: it must be a string'],
    [inConfig({ annotations: { "": "5" } }), INVALID, 'annotations[""] is "": it must be a name'],
    [inConfig({ annotations: [] }), INVALID, "annotations is []: it must be an object"],
  ]);
});

test("parseConfig refuses wrong mounts", () => {
  refuses([
    [inConfig({ mounts: {} }), INVALID, "mounts is {}: it must be a list"],
    [inConfig({ mounts: [{ type: "tmpfs" }] }), INVALID, "mounts[0].destination is missing: it must be a string"],
    [inConfig({ mounts: ["/a"] }), INVALID, 'mounts[0] is "/a": it must be an object'],
    [inMount({ options: ["ro", 7] }), INVALID, "mounts[0].options[1] is 7: it must be a string"],
    [inMount({ options: "ro" }), INVALID, 'mounts[0].options is "ro": it must be a list'],
    [inMount({ source: "a\0" }), INVALID, 'mounts[0].source is "a\\u0000": it must be a string without NUL characters'],
    [
      inMount({ type: "tmpfs", options: ["idmap"] }),
      CONFLICT,
      'mounts[0].options[0] is "idmap": it needs uidMappings and gidMappings, or a user namespace',
    ],
    [
      inMount({ options: ["bind", "idmap"] }),
      CONFLICT,
      'mounts[0].options[1] is "idmap": it needs uidMappings and gidMappings, or a user namespace',
    ],
    [
      inMount({ options: ["bind"], uidMappings: mappings }),
      CONFLICT,
      "mounts[0].gidMappings is missing: a mount has maps for both kinds of ids or for none",
    ],
    [
      inMount({ options: ["bind"], gidMappings: mappings }),
      CONFLICT,
      "mounts[0].uidMappings is missing: a mount has maps for both kinds of ids or for none",
    ],
    [
      inMount({ options: ["bind"], uidMappings: [{ containerID: 0, hostID: 0 }], gidMappings: mappings }),
      INVALID,
      "mounts[0].uidMappings[0].size is missing: it must be a number of ids, at least 1",
    ],
  ]);
});

test("parseConfig refuses wrong hooks", () => {
  refuses([
    [inConfig({ hooks: [] }), INVALID, "hooks is []: it must be an object"],
    [inConfig({ hooks: { poststop: { path: "/a" } } }), INVALID, 'hooks.poststop is {"path":"/a"}: it must be a list'],
    [
      inConfig({ hooks: { createRuntime: [{ args: ["a"] }] } }),
      INVALID,
      "hooks.createRuntime[0].path is missing: it must be an absolute path",
    ],
    [
      inConfig({ hooks: { prestart: [{ path: "/a" }, { path: "bin/hook" }] } }),
      INVALID,
      'hooks.prestart[1].path is "bin/hook": it must be an absolute path',
    ],
    [
      inConfig({ hooks: { startContainer: [{ path: "/a", timeout: 0 }] } }),
      INVALID,
      "hooks.startContainer[0].timeout is 0: it must be a number of seconds, at least 1",
    ],
    [
      inConfig({ hooks: { poststart: [{ path: "/a", env: [5] }] } }),
      INVALID,
      "hooks.poststart[0].env[0] is 5: it must be a string",
    ],
    [
      inConfig({ hooks: { createContainer: [{ path: "/a", args: "a" }] } }),
      INVALID,
      'hooks.createContainer[0].args is "a": it must be a list',
    ],
  ]);
});
