/** What config.json must look like: config.md. Rules that join `linux` and the rest are here too. */
import {
  absolutePath,
  boolean,
  clash,
  integer,
  list,
  object,
  type Problem,
  record,
  text,
  textLike,
  wrong,
} from "./check.ts";
import type { Config, Hook, Hooks, Mount, Root } from "./config.ts";
import { idMappings, isMapped } from "./id-mappings.ts";
import { LINUX } from "./linux-schema.ts";
import { PROCESS } from "./process-schema.ts";

const hook = object<Hook>(
  {
    path: absolutePath,
    args: list(text),
    env: list(text),
    timeout: integer(1, 2 ** 31 - 1, "a number of seconds, at least 1"),
  },
  ["path"],
);
export const hooks = list(hook);

const mount = object<Mount>(
  {
    destination: text,
    type: text,
    source: text,
    options: list(text),
    uidMappings: idMappings,
    gidMappings: idMappings,
  },
  ["destination"],
  (mount, { warnings }) => {
    if (mount.uidMappings?.length === 0) delete mount.uidMappings;
    if (mount.gidMappings?.length === 0) delete mount.gidMappings;
    const { destination, uidMappings, gidMappings } = mount;
    if (!destination.startsWith("/"))
      warnings.push(`the mount destination ${destination} is relative, which is deprecated: it is taken from /`);
    if ((uidMappings === undefined) === (gidMappings === undefined)) return undefined;
    return clash(
      uidMappings === undefined ? ".uidMappings" : ".gidMappings",
      undefined,
      "a mount has maps for both kinds of ids or for none",
    );
  },
);

const root = object<Root>(
  {
    path: textLike("the path of a directory", (path) => path !== ""),
    readonly: boolean,
  },
  ["path"],
);

/** In UTF-8. */
const byteCount = (text: string): number =>
  text
    .replace(/[\ud800-\udbff][\udc00-\udfff]/g, "----")
    .replace(/[\u0800-\uffff]/g, "---")
    .replace(/[\u0080-\u07ff]/g, "--").length;

/** sethostname(2): __NEW_UTS_LEN. */
const utsName = textLike("a name of at most 64 bytes", (name) => name.length <= 21 || byteCount(name) <= 64);

/** A list of mounts alone. */
export const MOUNTS = list(mount);

/** `linux.seccomp` is only seen to be an object. */
export const CONFIG = object<Config>(
  {
    ociVersion: text,
    root,
    mounts: MOUNTS,
    process: PROCESS,
    hostname: utsName,
    domainname: utsName,
    hooks: object<Hooks>({
      prestart: hooks,
      createRuntime: hooks,
      createContainer: hooks,
      startContainer: hooks,
      poststart: hooks,
      poststop: hooks,
    }),
    annotations: record(
      (value) => (typeof value === "string" ? undefined : wrong(value, "a string")),
      textLike("a name", (name) => name !== ""),
    ),
    linux: LINUX,
  },
  ["root"],
  (config) => {
    config.linux ??= {};
    // config.md: "This property is REQUIRED when `start` is called"; until then a container does without.
    config.process ??= { user: { uid: 0, gid: 0 }, args: [], cwd: "/" };
    return checkNames(config) ?? checkIds(config) ?? checkIdMappedMounts(config);
  },
);

function checkNames(config: Config): Problem | undefined {
  for (const field of ["hostname", "domainname"] as const) {
    if (config[field] !== undefined && !has(config, "uts"))
      return clash(`.${field}`, config[field], "it needs a uts namespace in linux.namespaces");
  }
  const { domainname, linux } = config;
  if (domainname !== undefined && (linux.sysctl?.["kernel.domainname"] ?? domainname) !== domainname)
    return clash(".domainname", domainname, 'linux.sysctl["kernel.domainname"] sets it too');
  return undefined;
}

const has = ({ linux }: Config, type: string): boolean =>
  linux.namespaces?.some((namespace) => namespace.type === type) ?? false;

/** The kernel answers EINVAL to an id that a new user namespace does not have. */
function checkIds({ linux, process }: Config): Problem | undefined {
  const user = linux.namespaces?.find(({ type }) => type === "user");
  if (user === undefined || user.path !== undefined || linux.uidMappings === undefined || process.args.length === 0)
    return undefined;
  const { uid, gid, additionalGids = [] } = process.user;
  const says = (field: string) => `linux.${field} does not have this id`;
  if (!isMapped(linux.uidMappings ?? [], uid)) return clash(".process.user.uid", uid, says("uidMappings"));
  for (const [path, id] of [["gid", gid], ...additionalGids.map((id, i) => [`additionalGids[${i}]`, id])] as const)
    if (!isMapped(linux.gidMappings ?? [], Number(id))) return clash(`.process.user.${path}`, id, says("gidMappings"));
  return undefined;
}

/** config.md: `idmap` without maps means those of the container's user namespace, and is an error where it has none. */
function checkIdMappedMounts(config: Config): Problem | undefined {
  const { mounts = [] } = config;
  for (let i = 0; i < mounts.length; i++) {
    const { options, uidMappings } = mounts[i] as Mount;
    if (options === undefined || uidMappings !== undefined) continue;
    if (!options.includes("idmap") && !options.includes("ridmap")) continue;
    const at = options.findIndex((option) => option === "idmap" || option === "ridmap");
    if (!has(config, "user"))
      return clash(
        `.mounts[${i}].options[${at}]`,
        options[at],
        "it needs uidMappings and gidMappings, or a user namespace",
      );
  }
  return undefined;
}
