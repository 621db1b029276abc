/**
 * Moves a network device to another network namespace and, when the container fails, back. config-linux.md, "Network Devices".
 *
 * The kernel drops the addresses of a device that changes namespaces, and sets it down: the lasting ones (permanent, of
 * global scope) are added again, and it is set up. rtnetlink(7).
 */
import { ContainerError } from "../error.ts";
import {
  AF_NETLINK,
  AT_FDCWD,
  CLONE_NEWNET,
  IFF_UP,
  NETLINK_ROUTE,
  O_CLOEXEC,
  O_RDONLY,
  SOCK_CLOEXEC,
  SOCK_RAW,
} from "../sys/constants.ts";
import {
  type Address,
  type Attribute,
  errorIn,
  IFA_ADDRESS,
  IFA_BROADCAST,
  IFA_FLAGS,
  IFA_LOCAL,
  IFLA_IFNAME,
  IFLA_NET_NS_FD,
  type Link,
  type Message,
  NLM_F_ACK,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  packAddress,
  packLink,
  packMessage,
  parseAddress,
  parseLink,
  parseMessages,
  RTM_GETADDR,
  RTM_GETLINK,
  RTM_NEWADDR,
  RTM_NEWLINK,
} from "../sys/netlink.ts";
import { check, raw, SysError, sys } from "../sys/sys.ts";

/** A device that was moved, and how it was before. */
export interface MovedDevice {
  name: string;
  wasUp: boolean;
  /** Those that last, of any scope. */
  addresses: Address[];
  /** The namespace that it is in now, open, its first name there, and its number, once that is known. */
  namespace: number;
  passing: string;
  index?: number;
}

const ENODEV = 19;

/**
 * Moves `device` from `home` (this process's namespace, open) to `namespace`. Says to `moved` what is to be undone before
 * there is something. Throws NET_DEVICE_MISSING, NET_DEVICE_EXISTS, {@link SysError}.
 */
export function moveDevice(
  { device, as }: { device: string; as: string },
  home: number,
  namespace: number,
  moved: (device: MovedDevice) => void,
): void {
  const here = openRoute();
  try {
    const link = findLink(here, device);
    if (link === undefined)
      throw new ContainerError("NET_DEVICE_MISSING", `there is no network device ${device} to move to the container`, {
        hint: "ip link shows those that are there",
      });
    const template = as.includes("%d");
    const there = routeIn(namespace, home);
    try {
      if (!template && findLink(there, as) !== undefined) {
        throw new ContainerError(
          "NET_DEVICE_EXISTS",
          `the container's network namespace has a device ${as} already: ${device} cannot be moved there`,
          { hint: `a name such as ${as}%d lets the kernel choose a free one` },
        );
      }
      const addresses = lastingAddresses(here, link.index);
      const global = addresses.filter(({ scope }) => scope === RT_SCOPE_UNIVERSE);
      // The kernel replaces %d where it renames, but does not say by what: a name that nobody has finds the device again.
      const passing = template ? `tpr${link.index}x${raw.getpid()}`.slice(0, 15) : as;
      const undo: MovedDevice = { name: device, wasUp: (link.flags & IFF_UP) !== 0, addresses, namespace, passing };
      moved(undo);
      // The kernel sets it down by itself, once it will have it moved: down, one that stays would lose its IPv6 addresses and its routes.
      changeLink(here, link.index, [
        { type: IFLA_NET_NS_FD, value: namespace },
        { type: IFLA_IFNAME, value: passing },
      ]);
      const { index } = findLink(there, passing) ?? link;
      undo.index = index;
      if (template) changeLink(there, index, [{ type: IFLA_IFNAME, value: as }]);
      for (const address of global) addAddress(there, index, address);
      setUp(there, index, true);
    } finally {
      raw.close(there);
    }
  } finally {
    raw.close(here);
  }
}

/** The container has them now: nothing is to be undone any more. */
export function keepDevices(devices: readonly MovedDevice[]): void {
  for (const { namespace } of devices) raw.close(namespace);
}

/** Puts devices back as they were, the last one first: the container failed, and with its namespace they would vanish. */
export function returnDevices(devices: readonly MovedDevice[], warn: (text: string) => void): void {
  const home = openOwnNamespace();
  for (const device of [...devices].reverse()) {
    try {
      returnDevice(device, home);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      warn(`the network device ${device.name} did not come back from the container: ${error.message}`);
    }
  }
  keepDevices(devices);
  raw.close(home);
}

export const openOwnNamespace = (): number => sys.openat(AT_FDCWD, "/proc/self/ns/net", O_RDONLY | O_CLOEXEC, 0);

function returnDevice({ name, wasUp, addresses, namespace, passing, ...moved }: MovedDevice, home: number): void {
  const there = routeIn(namespace, home);
  const here = openRoute();
  try {
    const index = moved.index ?? (findLink(here, name) === undefined ? findLink(there, passing)?.index : undefined);
    if (index === undefined) return; // it has not gone
    changeLink(there, index, [
      { type: IFLA_NET_NS_FD, value: home },
      { type: IFLA_IFNAME, value: name },
    ]);
    const link = findLink(here, name);
    if (link === undefined) return;
    for (const address of addresses) addAddress(here, link.index, address);
    if (wasUp) setUp(here, link.index, true);
  } finally {
    raw.close(there);
    raw.close(here);
  }
}

const openRoute = (): number => sys.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

/** A socket belongs to the namespace in which it is made: this process goes there and back for it. */
function routeIn(namespace: number, home: number): number {
  sys.setns(namespace, CLONE_NEWNET);
  const route = raw.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  sys.setns(home, CLONE_NEWNET);
  return check(route, "socket", "AF_NETLINK");
}

const IFA_F_PERMANENT = 0x80;
const RT_SCOPE_UNIVERSE = 0;

function lastingAddresses(route: number, index: number): Address[] {
  return ask(route, RTM_GETADDR, NLM_F_DUMP, new Uint8Array(8), [])
    .map(parseAddress)
    .filter(({ index: of, flags }) => of === index && flags & IFA_F_PERMANENT);
}

/** NODAD, HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE: what somebody has set. The others say how the kernel is getting on. */
const IFA_F_WANTED = 0x02 | 0x10 | 0x100 | 0x200;

function addAddress(route: number, index: number, address: Address): void {
  const attributes: Attribute[] = [IFA_LOCAL, IFA_ADDRESS, IFA_BROADCAST].flatMap((type) => {
    const value = address.attributes.get(type);
    return value === undefined ? [] : [{ type, value }];
  });
  attributes.push({ type: IFA_FLAGS, value: address.flags & IFA_F_WANTED });
  ask(route, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, packAddress({ ...address, index }), attributes);
}

function findLink(route: number, name: string): Link | undefined {
  try {
    const [answer] = ask(route, RTM_GETLINK, NLM_F_ACK, packLink(0), [{ type: IFLA_IFNAME, value: name }]);
    return answer === undefined ? undefined : parseLink(answer);
  } catch (error) {
    if (error instanceof SysError && error.errno === ENODEV) return undefined;
    throw error;
  }
}

const setUp = (route: number, index: number, up: boolean): void =>
  void ask(route, RTM_NEWLINK, NLM_F_ACK, packLink(index, { flags: up ? IFF_UP : 0, change: IFF_UP }), []);

const changeLink = (route: number, index: number, attributes: readonly Attribute[]): void =>
  void ask(route, RTM_NEWLINK, NLM_F_ACK, packLink(index), attributes);

let sequence = 0;

/** One request; the messages that answer it, without the one that says that it is done. Throws {@link SysError}. */
function ask(
  route: number,
  type: number,
  flags: number,
  structure: Uint8Array,
  attributes: readonly Attribute[],
): Message[] {
  sequence += 1;
  sys.write(route, packMessage({ type, flags: flags | NLM_F_REQUEST, sequence }, structure, attributes));
  const answers: Message[] = [];
  // A dump comes in pieces of at most 32 KiB.
  const buffer = new ArrayBuffer(65536);
  for (;;) {
    for (const message of parseMessages(buffer, sys.read(route, buffer))) {
      if (message.sequence !== sequence) continue;
      if (message.type === NLMSG_DONE) return answers;
      if (message.type === NLMSG_ERROR) {
        const errno = errorIn(message);
        if (errno !== 0) throw new SysError("rtnetlink", errno, [NAMES[type] ?? type]);
        return answers;
      }
      answers.push(message);
    }
  }
}

const NAMES: Readonly<Record<number, string>> = {
  [RTM_NEWLINK]: "RTM_NEWLINK",
  [RTM_GETLINK]: "RTM_GETLINK",
  [RTM_NEWADDR]: "RTM_NEWADDR",
  [RTM_GETADDR]: "RTM_GETADDR",
};
