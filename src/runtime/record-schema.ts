/** state.json as it must look: see {@link ContainerRecord}. */
import { fits, GROUPS, PATHS } from "../execute/record-checks.ts";
import { boolean, type Check, integer, object, record, text } from "../spec/check.ts";
import type { IdMaps } from "../spec/config.ts";
import { hooks } from "../spec/config-schema.ts";
import { idMappings } from "../spec/id-mappings.ts";
import type { ContainerRecord } from "./container.ts";
import type { HookFiles } from "./hook-files.ts";

const anyText: Check = record((value) => (typeof value === "string" ? undefined : { path: "", value, says: "" }));

const RECORD = object<ContainerRecord>(
  {
    version: integer(1, 2),
    ociVersion: text,
    id: text,
    bundle: text,
    annotations: anyText,
    rootfs: text,
    created: text,
    owner: text,
    cgroups: GROUPS,
    remove: PATHS,
    unit: object<NonNullable<ContainerRecord["unit"]>>({ name: text, user: boolean }, ["name", "user"]),
    noNewKeyring: boolean,
    noProcess: boolean,
    idMaps: object<IdMaps>({ uidMappings: idMappings, gidMappings: idMappings }, ["uidMappings", "gidMappings"]),
    timeNamespace: boolean,
    notify: boolean,
    hookFiles: object<HookFiles>({ stdout: text, stderr: text }),
    poststart: hooks,
    poststop: hooks,
  },
  ["version", "ociVersion", "id", "bundle", "rootfs", "created", "owner", "cgroups"],
);

/** `json`: the text that the value was read from. */
export const isRecord = (value: unknown, json: string): value is ContainerRecord => fits(RECORD, value, json);
