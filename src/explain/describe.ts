/** A step in a few words, as the object of "cannot …" and as a line of `--trace`. */
import type { Step } from "../plan/step.ts";

/** `mount proc at /proc`, `write 20 to …/pids.max`. */
export function describeStep(step: Step): string {
  switch (step.op) {
    case "recordState":
      return `record the container in ${step.path}`;
    case "makeCgroup":
      return `make the ${step.controller} control group ${step.path}`;
    case "vacateCgroup":
      return `move the processes of ${step.path} to ${step.into}`;
    case "write":
      return `write ${JSON.stringify(step.value)} to ${step.path}`;
    case "startScope":
      return `have systemd make ${step.unit}`;
    case "attachProcess":
      return `have systemd move the process into ${step.unit}`;
    case "moveProcess":
      return `move the process into ${step.path}`;
    case "delegateBelow":
      return `move the process into ${step.path}, and delegate that to it`;
    case "awaitDelegation":
      return "wait for the control group that is delegated";
    case "awaitScope":
      return "wait for its control groups";
    case "inheritCgroupValue":
      return `fill ${step.path} from the group above`;
    case "attachDeviceProgram":
      return `attach the device program to ${step.path}`;
    case "delegateCgroup":
      return `give the control group ${step.path} to uid ${step.uid}`;
    case "clone":
      return `clone a process${step.namespaces.length === 0 ? "" : ` with new namespaces: ${step.namespaces.join(", ")}`}`;
    case "mapIds":
      return "write the id maps of the user namespace";
    case "takeMappedTree":
      return `take ${step.source} with owners mapped`;
    case "makeNodes":
      return step.nodes.length === 1
        ? `make the device ${step.nodes.map(({ asked }) => asked.path).join()}`
        : `make ${step.nodes.length} devices`;
    case "takeIdMappedTree":
      return `take ${step.source} with its owners shown as others`;
    case "setCpuAffinity":
      return `run on the processors ${step.cpus}`;
    case "makeResctrlGroup":
      return `make the class of service ${step.path}`;
    case "moveNetDevice":
      return `move the network device ${step.device} to the container`;
    case "parentDeathSignal":
      return `ask for ${step.signal} when the parent dies`;
    case "joinCgroup":
      return `join the ${step.controller} control group ${step.path}`;
    case "joinNamespace":
      return `join the ${step.type} namespace ${step.path}`;
    case "joinProcess":
      return `join the ${step.namespaces.join(", ")} namespaces of the container`;
    case "refuseTracing":
      return "refuse to be traced";
    case "becomeMappedRoot":
      return "become root of the user namespace";
    case "awaitParent":
      return "wait for the parent";
    case "unshare":
      return `make new namespaces: ${step.namespaces.join(", ")}`;
    case "timeOffset":
      return `shift the ${step.clock} clock by ${step.secs} s`;
    case "propagation":
      return `make mounts below ${step.target} ${step.mode}`;
    case "mount":
      return step.flags.includes("remount")
        ? `change the mount ${step.target}`
        : `mount ${step.fstype} at ${step.target}`;
    case "takeTree":
      return `take ${step.source}`;
    case "takeFilesystem":
      return `make a filesystem ${step.fstype}`;
    case "placeTree":
      return `mount the taken ${step.tree.slot} at ${step.target}`;
    case "placeInside":
      return `mount the taken ${step.tree.slot} at ${step.target} of the running container`;
    case "unmountInside":
      return `unmount ${step.mounts.map(({ target }) => target).join(", ")} of the running container`;
    case "reportPlaced":
      return "report the mounts";
    case "bind":
      return `bind ${step.source} at ${step.target}`;
    case "setMountFlags":
      return `make the mount ${step.target} ${[...step.flags, ...(step.clear ?? []).map((flag) => `not ${flag}`)].join(",")}`;
    case "copyTree":
      return `copy ${step.source} to ${step.target}`;
    case "makeDirectory":
      return `make the directory ${step.path}`;
    case "makeNode":
      return `make the device ${step.path}`;
    case "makeLink":
      return `make the link ${step.path}`;
    case "changeDirectory":
      return `change to the directory ${step.path}`;
    case "pivotRoot":
      return "change the root with pivot_root";
    case "moveRoot":
      return "change the root with MS_MOVE and chroot";
    case "detach":
      return "detach the old root";
    case "mask":
      return `mask ${step.path}`;
    case "makeReadonly":
      return `make ${step.path} read-only`;
    case "linkUp":
      return `bring the network interface ${step.name} up`;
    case "setHostname":
      return `set the host name ${step.name}`;
    case "setDomainname":
      return `set the domain name ${step.name}`;
    case "openPty":
      return "open a terminal";
    case "newSession":
      return "start a session";
    case "newKeyring":
      return "start a session keyring";
    case "setRlimit":
      return `set ${step.type} to ${step.soft}:${step.hard}`;
    case "setOomScore":
      return `set oom_score_adj to ${step.score}`;
    case "setScheduler":
      return `set the scheduling policy ${step.policy}`;
    case "setIoPriority":
      return `set the I/O priority ${step.class} ${step.priority}`;
    case "setPersonality":
      return `set the personality ${step.domain}`;
    case "setMemoryPolicy":
      return `set the memory policy ${step.mode}`;
    case "joinResctrl":
      return `join the class of service ${step.paths[0] ?? ""}`;
    case "takeProc":
      return "take the machine's /proc";
    case "setLabels":
      return `set the label ${step.apparmor ?? step.selinux ?? ""}`;
    case "ownStdio":
      return `give standard input, output and error to uid ${step.uid}`;
    case "setUmask":
      return `set the umask ${step.mask.toString(8).padStart(4, "0")}`;
    case "limitBoundingSet":
      return `limit the bounding set to ${step.keep.length} capabilities`;
    case "setUser":
      return `become uid ${step.uid}, gid ${step.gid}`;
    case "setCapabilities":
      return "set the capabilities";
    case "noNewPrivileges":
      return "give up new privileges";
    case "seccomp":
      return `load the seccomp filter (${step.profile}, ${step.program.length / 8} instructions${step.listener === undefined ? "" : `, agent at ${step.listener.path}`})`;
    case "closeDescriptors":
      return `close descriptors from ${step.from} at exec`;
    case "listenForStart":
      return `listen for start at ${step.path}`;
    case "runHooks":
      return `run the ${step.kind} hook${step.hooks.length === 1 ? "" : "s"}: ${step.hooks.map(({ path }) => path).join(", ")}`;
    case "copyMountNamespace":
      return "go on in a copy of the mount namespace";
    case "takeViewBack":
      return "take the finished view to the first mount namespace";
    case "enterTree":
      return "enter the finished view";
    case "awaitHooks":
      return "wait for the hooks of the parent";
    case "findCommand":
      return `find the command ${step.args[0] ?? ""}`;
    case "reportCreated":
      return "report that the container is made";
    case "waitForStart":
      return "wait for start";
    case "forkInit":
      return "start tupper-init as PID 1";
    case "exec":
      return `execute ${step.args.join(" ")}`;
  }
}
