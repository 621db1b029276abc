/**
 * The order in which /proc/self/mountinfo lists a container's mounts: the root, then the config's.
 *
 * Since Linux 6.8 the kernel lists mounts as they were made; readers take the file for the order of mounting, as it was before.
 * What is bound is taken before pivot_root, and so made before the root and what is mounted in it. It is made `again` when it is
 * placed, which a mount that is placed nowhere can be since 6.15. But the end of the first one makes the kernel wait for an RCU
 * grace period. So where there are many mounts, the root and filesystems too are made before pivot_root, in the config's order
 * among the others, and nothing is made twice.
 */
import type { Config } from "../spec/config.ts";
import type { Host } from "./host.ts";
import { isNew } from "./namespaces.ts";
import { rootKind } from "./rootfs.ts";

/** When a mount is made, in this order; those of one time are made in the config's order. */
export const [BY_PARENT, IN_SIGHT, IN_PLACE] = [0, 1, 2];

/** Five calls more for each filesystem are less than two and a wait for each bind mount, if there are so many mounts. */
const MANY = 16;

export class MountOrder {
  /** Whether the root and filesystems are made apart from their places. */
  readonly apart: boolean;
  readonly #canAgain: boolean;
  #latest: number;

  constructor(config: Config, host: Host) {
    // Where the machine's root takes what is bound, that is before a filesystem can be made: before the user namespace has its ids.
    const asMachineRoot = isNew(config, "user") && host.uid === 0;
    const isMany = (config.mounts?.length ?? 0) >= MANY && rootKind(config) === "bind";
    this.apart = isMany && isSince(host, 8) && !asMachineRoot;
    this.#canAgain = isSince(host, 15);
    this.#latest = this.apart ? IN_SIGHT : IN_PLACE;
  }

  /** For the next mount of the config, which is made then: what `placeTree` is told of it. */
  next(made: number): { again?: boolean } {
    if (made >= this.#latest) {
      this.#latest = made;
      return NOT_AGAIN;
    }
    if (!this.#canAgain) return NOT_AGAIN;
    this.#latest = IN_PLACE;
    return AGAIN;
  }
}

const AGAIN: { again?: boolean } = { again: true };
export const NOT_AGAIN: { again?: boolean } = {};

/** Linux 6.`minor` or later. */
const isSince = ({ kernel: [major, minor] }: Host, wanted: number): boolean =>
  major > 6 || (major === 6 && minor >= wanted);
