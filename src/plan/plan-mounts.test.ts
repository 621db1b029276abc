import assert from "node:assert/strict";
import { test } from "node:test";
import { ROOT_HOST } from "../engine/containers/config/test-facts.ts";
import { ContainerError } from "../error.ts";
import type { Config, Mount, NamespaceType } from "../spec/config.ts";
import { findAdded, planMountsAdd, planMountsRemove } from "./plan-mounts.ts";
import type { Plan } from "./step.ts";

function configOf(...types: NamespaceType[]): Config {
  return {
    ociVersion: "1.3.0",
    root: { path: "/srv/root" },
    process: { user: { uid: 0, gid: 0 }, args: ["true"], cwd: "/" },
    linux: {
      namespaces: types.map((type) => ({ type })),
      sysctl: { "net.core.somaxconn": "1" },
      uidMappings: [{ containerID: 0, hostID: 1000, size: 10 }],
      gidMappings: [{ containerID: 0, hostID: 1000, size: 10 }],
    },
  };
}

/** Operations, with what they are about and the field behind them. */
const outline = ({ steps }: Plan): string[] =>
  steps.map((step) => {
    const about =
      step.op === "takeTree"
        ? step.source
        : step.op === "takeFilesystem"
          ? `${step.fstype} ${step.flags.join(",")} ${step.data}`
          : step.op === "placeInside"
            ? `${step.tree.slot} ${step.target}`
            : step.op === "joinProcess"
              ? step.namespaces.join(",")
              : "";
    return [step.op, about, step.field ?? ""].filter((text) => text !== "").join(" ");
  });

const bind: Mount = { type: "bind", source: "/srv/data", destination: "data/", options: ["ro"] };
const tmpfs: Mount = { type: "tmpfs", destination: "/tmp", options: ["ro", "size=1m"] };
const disk: Mount = { type: "ext4", source: "/dev/sdb", destination: "/disk" };

test("planMountsAdd: what is the machine's is taken before the container is entered, all is placed in its order", () => {
  assert.deepEqual(outline(planMountsAdd(configOf("mount", "user"), ROOT_HOST, "box", [bind, tmpfs, disk])), [
    "clone",
    "parentDeathSignal",
    "refuseTracing",
    "takeTree /srv/data mounts[0].source",
    "takeFilesystem ext4   mounts[2]",
    "takeProc",
    "joinProcess user,mount",
    "setUser",
    "parentDeathSignal",
    "takeFilesystem tmpfs ro size=1m mounts[1]",
    "placeInside tree.0 /data mounts[0].destination",
    "placeInside filesystem.1 /tmp mounts[1]",
    "placeInside filesystem.2 /disk mounts[2]",
    "reportPlaced",
  ]);
});

test("planMountsAdd refuses what a running container cannot be given", () => {
  const refusal = (mount: Mount, config = configOf("mount")): string => {
    try {
      planMountsAdd(config, ROOT_HOST, "box", [mount]);
    } catch (error) {
      if (error instanceof ContainerError) return `${error.code} ${error.field}`;
    }
    return "taken";
  };
  assert.equal(refusal({ ...bind, options: ["copy-symlink"] }), "MOUNT_NOT_LIVE mounts[0].source");
  assert.equal(refusal({ ...bind, options: ["remount"] }), "MOUNT_NOT_LIVE mounts[0]");
  assert.equal(refusal({ ...bind, destination: "/proc" }), "MOUNT_NOT_LIVE mounts[0].destination");
  assert.equal(refusal({ ...tmpfs, options: ["rshared"] }), "MOUNT_NOT_LIVE mounts[0].options");
  assert.equal(refusal({ type: "sysfs", destination: "/sys" }), "MOUNT_NOT_LIVE mounts[0].type");
  assert.equal(refusal(bind, configOf("pid")), "MOUNT_NAMESPACE_SHARED linux.namespaces");
  assert.equal(refusal({ ...bind, type: "sysfs", options: ["bind"] }), "taken");
});

test("findAdded: the latest mount at each destination, which are what planMountsRemove takes away", () => {
  const added = ["1", "2", "3"].map((mountId) => ({ target: mountId === "3" ? "/b" : "/a", mountId }));
  const found = findAdded(added, [{ destination: "/a/" }, { destination: "b" }, { destination: "/a" }]);
  assert.deepEqual(
    found.map(({ mountId, field }) => `${mountId} ${field}`),
    ["2 mounts[0].destination", "3 mounts[1].destination", "1 mounts[2].destination"],
  );
  assert.throws(() => findAdded(added, [{ destination: "/b" }, { destination: "/b" }]), { code: "MOUNT_NOT_ADDED" });
  assert.deepEqual(
    planMountsRemove(configOf("mount"), "box", found).steps.flatMap((step) =>
      step.op === "unmountInside" ? [step.mounts] : [],
    ),
    [found],
  );
});
