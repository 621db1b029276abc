/**
 * Mounts that show files under other owners: `uidMappings` and `gidMappings` of a mount, its options `idmap` and
 * `ridmap`, and crun's `idmap=uids=0-1000-10#…;gids=…`. config.md, "Mounts"; mount_setattr(2), "ID-mapped mounts".
 *
 * In a mapping the ids of the disk are on the left (containerID) and those that are shown on the right (hostID).
 */
import { ContainerError } from "../error.ts";
import type { Config, IdMapping, Mount } from "../spec/config.ts";
import type { Host } from "./host.ts";
import type { MountOptions } from "./mount-options.ts";
import { namespaceOf } from "./namespaces.ts";
import type { IdMap } from "./step.ts";

/** What maps the owners of this mount; undefined when they are shown as they are. */
export function planIdMap(request: {
  config: Config;
  host: Host;
  mount: Mount;
  options: Pick<MountOptions, "idmap" | "idmapText">;
  field: string;
}): IdMap | undefined {
  const { mount, options } = request;
  const { uidMappings, gidMappings } = mount;
  if (options.idmap === undefined && uidMappings === undefined && gidMappings === undefined) return undefined;
  const { config, host, field } = request;
  const refuse = (message: string, hint?: string): ContainerError =>
    new ContainerError("MOUNT_IDMAP_REFUSED", message, { field, ...(hint === undefined ? {} : { hint }) });
  if (host.uid !== 0)
    throw refuse("owners in a mount can be mapped by root of the machine only", "run it as root, or leave idmap away");
  const [major, minor] = host.kernel;
  if (major < 5 || (major === 5 && minor < 12))
    throw refuse(`mounts with owners mapped need Linux 5.12; this is ${major}.${minor}`);
  const all = options.idmap === "ridmap";
  if (options.idmapText !== undefined) return { ...parseIdMap(options.idmapText, config, field), all };
  if (uidMappings === undefined && gidMappings === undefined) {
    const namespace = namespaceOf(config, "user");
    if (namespace === undefined)
      throw refuse("idmap without mappings means those of the container's user namespace, and it has none");
    if (namespace.path !== undefined) return { uidMappings: [], gidMappings: [], userns: namespace.path, all };
    return { uidMappings: config.linux.uidMappings ?? [], gidMappings: config.linux.gidMappings ?? [], all };
  }
  if (uidMappings === undefined || gidMappings === undefined || uidMappings.length * gidMappings.length === 0)
    throw refuse("a mount that maps owners must map both uids and gids");
  return { uidMappings, gidMappings, all };
}

/** `uids=0-1-10#10-11-10;gids=@0-100-10`: `@` means relative to the container's user namespace. crun(1), "idmap mount options". */
function parseIdMap(text: string, { linux }: Config, field: string): Omit<IdMap, "all"> {
  const found: Record<string, IdMapping[]> = {};
  for (const part of text.split(";")) {
    const at = part.indexOf("=");
    const kind = part.slice(0, Math.max(at, 0));
    if (kind !== "uids" && kind !== "gids") throw badIdMap(text, field);
    const own = kind === "uids" ? linux.uidMappings : linux.gidMappings;
    found[kind] = part
      .slice(at + 1)
      .split("#")
      .map((range) => parseRange(range, own ?? []) ?? fail(badIdMap(text, field)));
  }
  const { uids, gids } = found;
  if (uids === undefined || gids === undefined) throw badIdMap(text, field);
  return { uidMappings: uids, gidMappings: gids };
}

function parseRange(text: string, own: readonly IdMapping[]): IdMapping | undefined {
  const [, relative, disk, shown, size] = /^(@?)(\d+)-(\d+)-(\d+)$/.exec(text) ?? [];
  if (size === undefined) return undefined;
  const containerID = Number(disk);
  const holds = (mapping: IdMapping) =>
    mapping.containerID <= containerID && containerID < mapping.containerID + mapping.size;
  const base = relative === "@" ? own.find(holds) : undefined;
  const shift = base === undefined ? 0 : base.hostID - base.containerID;
  return { containerID, hostID: Number(shown) + shift, size: Number(size) };
}

const badIdMap = (text: string, field: string): ContainerError =>
  new ContainerError("BAD_MOUNT_OPTION", `"idmap=${text}" is not a mapping`, {
    field: `${field}.options`,
    hint: "for example idmap=uids=0-1000-10#10-2000-5;gids=0-1000-10: id on disk, id shown, how many",
  });

function fail(error: Error): never {
  throw error;
}
