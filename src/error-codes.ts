/** Data: every error code, with its cause and what to do. Only the type is part of the binary: the compiler refuses a code that
 * is not here, and scripts/error-docs.ts makes docs/errors.md of it. A code keeps its meaning for ever: programs compare it.
 */
import type { Op } from "./plan/step.ts";

/** `takeTree` fails as `TAKE_TREE_FAILED`. */
type Snake<Text extends string> = Text extends `${infer First}${infer Rest}`
  ? `${First extends Lowercase<First> ? Uppercase<First> : `_${First}`}${Snake<Rest>}`
  : "";
export type StepCode = `${Snake<Op>}_FAILED`;
/** A failed call that belongs to no step, by the name of its errno: `EMFILE`. */
export type KernelCode = `E${Uppercase<string>}`;
export type ErrorCode = keyof typeof ERROR_CODES | StepCode | KernelCode;

const asked = "see --help of the command: the message says what is expected";

export const ERROR_CODES = {
  // Limits of the machine
  OUT_OF_MEMORY: [
    "tupper itself got no more memory: RLIMIT_AS, RLIMIT_DATA, or the limit of its control group",
    "raise ulimit -v, ulimit -d, or that limit",
  ],
  CGROUPS_HIDDEN: [
    "nothing in /sys/fs/cgroup is a control group here, though some are mounted: something lies over them",
    "look at /sys as the command that made the container did",
  ],
  RECORD_FAILED: [
    "a file of the container's record cannot be written: the disk of --root is full, read-only or broken",
    "free space or inodes there (df, df -i), or name another --root",
  ],
  // The command
  ARGUMENTS_TOO_LONG: [
    "arguments and environment are larger than execve takes: 128 KiB each, a quarter of RLIMIT_STACK together",
    "shorten them, hand them over in a file, or raise RLIMIT_STACK",
  ],
  COMMAND_BUSY: ["the program is open for writing", "have its writer close it (fuser, lsof)"],
  COMMAND_EMPTY: ["the program is an empty file", "copy or build it again"],
  COMMAND_FAILED: [
    "execve failed for a reason that nothing on the machine explains",
    "see execve(2) for the errno in the message",
  ],
  COMMAND_FORMAT: [
    "neither an ELF program nor a script, or one that is cut off",
    "begin a script with #!/bin/sh; copy a program again",
  ],
  COMMAND_IS_A_DIRECTORY: ["the command is a directory", "name the program in it"],
  COMMAND_NOT_A_FILE: ["the command is a device, socket or FIFO", "name a program"],
  COMMAND_NOT_EXECUTABLE: ["the file has no x bit", "chmod +x"],
  COMMAND_NOT_FOUND: [
    "the command is not in PATH, or its path does not exist in the container",
    "install it in the root filesystem, name its full path, or set PATH",
  ],
  COMMAND_NOT_PERMITTED: [
    "mode and owner, file capabilities or a security module forbid it",
    "choose another user, change the mode, or give the capability that is named",
  ],
  COMMAND_NOT_REACHABLE: [
    "a directory on the way may not be entered by the user",
    "chmod o+x that directory, or choose another user",
  ],
  COMMAND_ON_NOEXEC: ["the filesystem of the program is mounted noexec", "mount it without noexec"],
  COMMAND_UNREADABLE: ["the program cannot be read to see what is wrong with it", "chmod +r"],
  LOADER_MISSING: [
    "the program's dynamic loader (PT_INTERP) is not in the container",
    "install its C library, or link the program statically",
  ],
  SECCOMP_FORBIDS: [
    "the container's own seccomp profile forbids a call that its start needs",
    "allow that call in linux.seccomp",
  ],
  SHEBANG_CRLF: ["the script has DOS line ends", "dos2unix"],
  SHEBANG_EMPTY: ["the script's first line is #! alone", "name an interpreter there"],
  SHEBANG_FAILED: [
    "the script's interpreter cannot be executed",
    "what is wrong with the interpreter is in the message",
  ],
  SHEBANG_MISSING: ["the script's interpreter is not in the container", "install it, or name one that is there"],
  SHEBANG_TOO_LONG: [
    "the script's first line is longer than the kernel reads (255 bytes)",
    "use a shorter path, or /usr/bin/env",
  ],
  WRONG_ARCHITECTURE: [
    "the program is for another processor",
    "use a root filesystem for this machine, or qemu-user-static with binfmt",
  ],
  CHANGE_DIRECTORY_FAILED: [
    "the working directory is missing, no directory, or closed to the user",
    "make it in the root filesystem, or change process.cwd (--workdir)",
  ],
  CWD_OUTSIDE: ["the working directory leads out of the container's root", "name a directory of the root filesystem"],
  PROCESS_MISSING: ["the config has no process", "create the container from a config with one"],
  JOIN_INTERRUPTED: [
    "a signal (HUP, INT, QUIT, TERM) came to exec, to mounts add or remove, or to who shares another container's namespace, before they were done",
    "if it had waited long: what runs in the container holds whoever joins it, by SIGSTOP or by its freezer; kill or delete the container",
  ],
  SETUP_INTERRUPTED: [
    "a signal (HUP, INT, QUIT, TERM) came while a container was set up, and the set-up took long",
    "the message says what it was about: the source of a mount may lie on a filesystem that does not answer (FUSE, NFS)",
  ],
  INIT_DIED: [
    "the init process ended before the command ran: killed, or for want of memory",
    "the message says what is known; raise the memory limit; --trace shows the last step",
  ],
  MESSAGE_BROKEN: [
    "a message between the processes of the set-up is none that tupper has sent",
    "a process of the container has spoken in its place: the container is not started",
  ],
  PARENT_GONE: ["tupper itself was killed during set-up", "start it again; see who killed it"],
  INTERNAL: ["a fault of tupper", "report it with what it printed"],

  // Root filesystem and mounts
  ROOT_MISSING: ["the root filesystem is not there", "unpack one, and name its directory"],
  ROOT_NOT_A_DIRECTORY: ["the root filesystem is a file", "unpack it into a directory"],
  ROOT_NOT_ACCESSIBLE: [
    "a directory on the way to the root filesystem is closed to the caller",
    "change its mode, or run as root",
  ],
  ROOT_HAS_MOUNTS: [
    "other filesystems are mounted below the root, and an ordinary user cannot make an overlay over them",
    "--root-kind bind or copy",
  ],
  ROOT_TOO_LARGE: ["the root does not fit into memory", "--size, or --root-kind overlay"],
  IMAGE_UNSUPPORTED: ["ROOT is a word without a slash, which would be an image", "write ./NAME for a directory"],
  OVERLAY_REFUSED: ["the directory cannot be a layer of an overlay here", "--root-kind copy or bind"],
  MOUNT_FAILED: [
    "the kernel refuses the filesystem: its type, an option, its source or the place",
    "the message names which; found: has the kernel's own words",
  ],
  MOUNT_SOURCE_MISSING: ["the source of a bind mount is not there", "create it on the host first"],
  MOUNT_FLAGS_REFUSED: [
    "the kernel cannot set a flag of the mount",
    "see the versions in the hint, or leave the flag away",
  ],
  MOUNT_IDMAP_REFUSED: ["the filesystem cannot show other owners", "use one that can, or leave the mapping away"],
  MOUNT_INSIDE_PROC: ["the place lies inside /proc", "mount elsewhere; the hint lists what can be mounted on"],
  MOUNT_NAMESPACE_NEEDED: ["a container without a mount namespace of its own", "add one to linux.namespaces"],
  MOUNT_NAMESPACE_SHARED: ["nothing can be mounted in a container without its own mount namespace", "give it one"],
  MOUNT_NOT_ADDED: ["`mounts remove` of what `mounts add` has not made", "name a mount that was added"],
  MOUNT_NOT_LIVE: ["a mount of this kind cannot be added to a running container", "put it into config.json"],
  MOUNT_NOT_THERE: ["a mount that was added is gone or covered", "the container did that: nothing is left to remove"],
  MOUNT_ON_ROOT: ["a mount on / where it cannot be the root", "root.path says what the root is"],
  MOUNT_SOURCE_NEEDED: ["--mount without a source", "add src=PATH"],
  MOUNT_DESTINATION_NEEDED: ["--mount without a destination", "add dst=PATH"],
  MOUNT_TARGET_IS_A_LINK: ["/proc or /sys of the root filesystem is a symbolic link", "make it a directory"],
  MOUNT_REPLACED: [
    "what was mounted on /proc or /sys is not there any more",
    "somebody else changes the root filesystem: let nobody else write to it",
  ],
  MOUNT_TWICE: ["two mounts have one destination", "leave one away"],
  MOUNT_TYPE_NEEDED: ["a mount without a type", "name a filesystem, or the option bind"],
  MOUNTS_UNREADABLE: ["the file with mounts cannot be read", "check the path"],
  NO_PIVOT_PRIVATE: ["--no-pivot together with a private root", "leave one of them away"],
  NULL_DEVICE_INVALID: ["/dev/null of the container is not the null device", "leave its own /dev/null away"],
  DEVICE_EXISTS: ["a file of another kind has the place of a device", "remove it from the root filesystem"],
  DEVICE_NUMBER_MISSING: ["a device without major and minor number", "add both to linux.devices"],
  BAD_PROPAGATION: [
    "linux.rootfsPropagation is not a propagation",
    "private, slave, shared, unbindable, or with r before it",
  ],
  PROC_MISSING: ["/proc of the machine is no procfs", "mount -t proc proc /proc"],

  // Namespaces, ids, network
  NAMESPACE_REFUSED: [
    "the kernel makes no new namespace: a setting, a limit, a filter or a lacking capability",
    "the message names it; the hint has the command that changes it",
  ],
  NAMESPACE_TWICE: ["a namespace is named twice", "leave one away"],
  USER_NAMESPACE_NEEDED: ["an ordinary user without a user namespace", "leave --userns host away, or run as root"],
  TIME_NAMESPACE_NEEDED: ["a clock offset without a time namespace", "--timens private"],
  TIME_NAMESPACE_UNAVAILABLE: [
    "before Linux 6.3 a process does not go into its new time namespace by execve, and an ordinary user cannot make one earlier",
    "leave --timens away, run as root, or use Linux 6.3",
  ],
  NETWORK_NAMESPACE_NEEDED: ["network devices without a network namespace to move to", "add one to linux.namespaces"],
  SHARED_MOUNTS_UNAVAILABLE: [
    "a container without a mount namespace of its own, on a kernel that takes the mounts of a tree away that nobody has open",
    "give it a mount namespace of its own",
  ],
  NAME_OF_SHARED_NAMESPACE: ["a host name for a UTS namespace that others share", "leave --uts or --hostname away"],
  ID_MAP_REFUSED: ["newuidmap or newgidmap refuses the map", "the message says which range or right is missing"],
  ID_MAP_OVERLAP: ["an id is mapped twice", "make the ranges apart"],
  ID_MAP_WITHOUT_NAMESPACE: ["an id map without a user namespace", "--userns private"],
  ID_MAPS_MISSING: ["a user namespace without id maps", "add linux.uidMappings and gidMappings"],
  ID_UNMAPPED: ["the user does not exist in the container's user namespace", "map it, or choose another"],
  KEEP_ID_AS_ROOT: ["--userns keep-id as root", "leave it away"],
  NETWORK_UNSUPPORTED: ["bridge networks are not there yet", "--network private, host or container:NAME"],
  NET_DEVICE_MISSING: ["the network device is not there", "ip link shows those that are"],
  NET_DEVICE_EXISTS: ["the container has a network device of that name", "choose another name"],
  SYSCTL_NOT_ALLOWED: ["a kernel setting that a flag of its own is for", "use that flag"],
  SYSCTL_NOT_NAMESPACED: ["the kernel setting belongs to no namespace", "set it on the machine"],
  SYSCTL_OF_HOST: [
    "the setting would change the machine: the namespace is shared",
    "give the container its own namespace",
  ],

  // Control groups
  CGROUP_BUSY: [
    "the group is in use: processes in it, threaded groups, or more used than the new limit",
    "move the processes, or name another group",
  ],
  CGROUP_CONTROLLER_MISSING: [
    "the controller is mounted nowhere, or not handed down to this group",
    "mount or enable it, or leave the limit away",
  ],
  CGROUP_FIELD_UNSUPPORTED: ["this kernel's control groups have no such limit", "leave it away"],
  CGROUP_FILE_MISSING: ["the kernel lacks the file behind the limit", "the hint names the kernel option"],
  CGROUP_FLAG_INVALID: ["--cgroup of exec is not a path below the container's group", "[CONTROLLER…:]PATH"],
  CGROUP_FORBIDDEN: ["the group above allows less", "ask for no more than it has"],
  CGROUP_FROZEN: ["the group is frozen", "thaw it, or name another"],
  CGROUP_IN_USE: ["another process is in the group", "name a group of the container's own"],
  CGROUP_MISSING: ["the group that exec is to join is not there", "make it first"],
  CGROUP_UNIT_INVALID: ["linux.cgroupsPath is not SLICE:PREFIX:NAME", "such as machine.slice:tupper:NAME"],
  CGROUP_VALUE_INVALID: ["a limit that cannot be", "the message has its bounds"],
  CGROUP_VALUE_REFUSED: [
    "the kernel does not take the value",
    "the hint has its range; found: what the group above has",
  ],
  CGROUP_WRITE_FAILED: ["a limit of a running container could not be written", "the kernel's answer is in the message"],
  DEVICE_RULE_INEXPRESSIBLE: ["cgroup v1 cannot express the order of the device rules", "name the devices one by one"],
  FREEZER_MISSING: ["the container has no group that can be frozen", "create it with control groups"],
  FREEZE_FAILED: ["the group does not freeze", "try again; a process sleeps in the kernel"],
  SYSTEMD_ELSEWHERE: ["systemd made the unit in groups that are not in sight", "mount its control groups"],
  SYSTEMD_FAILED: ["systemd could not start the unit", "journalctl -u UNIT"],
  SYSTEMD_MISSING: ["there is no systemd to speak to", "leave --systemd-cgroup away, or enable lingering for the user"],
  SYSTEMD_PROPERTY: [
    "an annotation org.systemd.property.* is not a value of its type",
    "see systemd.resource-control(5)",
  ],
  SYSTEMD_REFUSED: ["systemd refuses the unit", "its own words are in the message"],
  SYSTEMD_SLOW: ["systemd did not answer in time", "systemctl list-jobs; SYSTEMD_BUS_TIMEOUT"],
  MEMORY_IN_USE: ["the new memory limit is below what is used", "free memory first, or leave checkBeforeUpdate away"],
  RESCTRL_GROUP_MISSING: ["the class of service is not there", "make it first, or give schemata"],
  RESCTRL_MISSING: ["no resctrl is mounted", "mount -t resctrl resctrl /sys/fs/resctrl"],
  RESCTRL_REFUSED: ["resctrl refuses the schemata", "its own words are in the message"],
  RESCTRL_SCHEMATA_DIFFER: ["the class of service has other schemata", "another closID"],
  RDT_UNSUPPORTED: [
    "Intel RDT of a container that was made without it cannot be changed",
    "create it anew with linux.intelRdt",
  ],

  // Privileges and process settings
  APPARMOR_PROFILE_MISSING: ["the kernel has no such AppArmor profile", "apparmor_parser -r FILE"],
  SECCOMP_AGENT_UNREACHABLE: ["nobody listens at linux.seccomp.listenerPath", "start the agent first"],
  SECCOMP_LISTENER_MISSING: ["SCMP_ACT_NOTIFY without linux.seccomp.listenerPath", "name the socket of the agent"],
  SECCOMP_LISTENER_REFUSED: ["the kernel gives no listener for SCMP_ACT_NOTIFY", "the hint names the version"],
  SECCOMP_LISTENER_WITH_INIT: ["SCMP_ACT_NOTIFY together with --init", "leave --init away"],
  SECCOMP_SYSCALL_UNKNOWN: [
    "the profile names an unknown system call, and an annotation makes that an error",
    "correct the name",
  ],
  BAD_SECCOMP_PROFILE: ["the file is not a seccomp profile", "the form is that of linux.seccomp, or Docker's"],
  BAD_SECURITY_OPT: ["--security-opt is not one of the options", asked],
  CPU_LIST_INVALID: ["not a list of processors", "such as 0-3,7"],
  NODE_LIST_INVALID: ["not a list of memory nodes", "such as 0-3,7"],
  TERMINAL_INVALID: ["/dev/pts/ptmx of the container is not that of a devpts", "mount a devpts on /dev/pts"],
  UNKNOWN_CAPABILITY: ["there is no such capability", "capabilities(7)"],
  UNKNOWN_ULIMIT: ["there is no such limit", "the hint lists them"],
  HOOK_FAILED: [
    "a hook failed, could not be executed, or ran too long",
    "its own words, and what is wrong with the file, are in the message",
  ],
  HOOK_OUTPUT: [
    "a file that hooks are to write to cannot be opened",
    "crun's annotations run.oci.hooks.stdout and .stderr: a file, in a directory that is there",
  ],

  // Config, bundle, state
  ANNOTATION_UNKNOWN: [
    "an annotation of crun names a handler or plugins, which are not here",
    "leave it out where the command is an ordinary program",
  ],
  BUNDLE_UNREADABLE: ["config.json cannot be read", "name a bundle; `spec` writes one"],
  CONFIG_CONFLICT: ["two fields of the config contradict each other", "change one of them"],
  CONFIG_INVALID: ["a field is not of its type", "the message has the field, its value and what it must be"],
  CONFIG_SYNTAX: ["config.json is not JSON", "the message has line and column"],
  CONFIG_VERSION: ["ociVersion is one that is not known", "1.x"],
  ID_INVALID: ["the container ID has characters that it may not have", "letters, digits, _ + - ."],
  CONTAINER_EXISTS: ["the ID is taken", "choose another, or delete that container"],
  CONTAINER_NOT_CREATED: ["start of a container that is not in the state created", "create it anew"],
  CONTAINER_NOT_PAUSED: ["resume of a container that is not paused", "nothing is to be done"],
  CONTAINER_NOT_RUNNING: ["the container does not run", "start it, or create it anew"],
  CONTAINER_PAUSED: ["exec in a paused container", "resume it, or --ignore-paused"],
  CONTAINER_RUNNING: ["delete of a running container", "kill it first, or --force"],
  CONTAINER_STAYS: ["the container does not end after SIGKILL", "a process sleeps in the kernel (state D): see dmesg"],
  CONTAINER_UNKNOWN: ["there is no container of that name", "`list` or `tupper ps` shows them"],
  END_UNKNOWN: [
    "the container has ended, and how is not on record: it could not be written, or many ended at once",
    "a warning of the tupper that ran it says why",
  ],
  STATE_BROKEN: ["the record of the container cannot be read", "`delete --force`"],
  STATE_BUSY: ["other commands work on the same name all the time", "try again"],
  STATE_NEWER: ["the record is of a newer version of tupper", "use that version"],
  STATE_ROOT: ["the state directory cannot be made, or is somebody else's", "--root, or XDG_RUNTIME_DIR"],
  BINARY_UNPROTECTED: [
    "the runtime's own file cannot be protected from the container",
    "mount /proc; overlay or some megabytes of memory are needed",
  ],
  CONSOLE_SOCKET: ["the console socket does not take the terminal", "a listening unix stream socket"],
  CONSOLE_SOCKET_NEEDED: ["a terminal in the background without --console-socket", "--console-socket PATH"],
  CONSOLE_SOCKET_UNUSED: ["--console-socket without a terminal", "leave it away, or set process.terminal"],
  PIDFD_SOCKET: ["the pidfd socket does not take the process", "a listening unix stream socket; Linux 5.3"],
  PID_FILE: ["the pid file cannot be written", "make its directory"],
  LOG_FILE: ["the log file cannot be written", "make its directory"],
  PRESERVED_FD_MISSING: ["a descriptor of --preserve-fds is not open", "open it before"],
  PROCESS_UNREADABLE: ["the file with the process cannot be read", "check the path"],
  RESOURCES_UNREADABLE: ["the file with resources cannot be read", "check the path"],
  SPEC_UNWRITABLE: ["config.json cannot be written, or exists", "remove it first"],
  KILL_FAILED: ["the container cannot be signalled", "the kernel's answer is in the message"],
  PS_FAILED: ["ps failed", "its own words are in the message"],
  PS_WITHOUT_PID: ["the columns for ps have no pid", "-o pid,cmd"],
  REGEX_INVALID: ["not a regular expression", "see --help"],
  PROCESS_NOT_FOUND: ["there is no such process", "ps shows those there are"],
  PROCESS_NOT_READABLE: [
    "the process belongs to another user or another user namespace, is not dumpable, has capabilities that tupper lacks, or a security module or hidepid= hides it",
    "the message says which; root with CAP_SYS_PTRACE, where that counts",
  ],

  FOLLOW_WITH_INIT: ["--diagnose or learn together with --init", "leave --init away"],
  LEARN_INTERRUPTED: [
    "a run of learn after the first was ended by SIGINT or SIGTERM",
    "run learn again, and let it end",
  ],
  LEARN_NOT_CONFIRMED: [
    "under the profile that was learned the command did not do what it did before",
    "make it do the same each time (input, time, what earlier runs left), or --once for one unconfirmed run",
  ],
  OUTPUT_REFUSED: ["the file that learn is to write cannot be opened", "name another file with --output"],
  TRACE_REFUSED: [
    "the kernel does not let tupper trace the command",
    "run as root; kernel.yama.ptrace_scope and the container around tupper may forbid it",
  ],

  // Lessons
  LESSON_NEEDS: ["the lesson needs what this user or machine does not have", "run it as root"],
  LESSON_UNKNOWN: ["there is no lesson of that name or number", "`tupper lesson` lists them"],
  LESSON_WITHOUT: ["the lesson has no such step to leave out", "`tupper lesson` lists them in its last column"],

  // Checkpoint and restore
  CHECKPOINT_DIRECTORY: ["the directory for images cannot be made", "make the one above it"],
  CHECKPOINT_FAILED: ["criu dump failed", "the first errors of its log are in the message"],
  CHECKPOINT_PARENT: ["there is no earlier checkpoint", "--parent-path is named from the image path"],
  CRIU_FAILED: ["criu cannot be run", "the message says why"],
  CRIU_MISSING: ["criu is not installed", "install it, or --criu PATH"],
  RESTORE_FAILED: ["criu restore failed", "the first errors of its log are in the message"],
  RESTORE_IMAGES: ["there is no checkpoint there, or a file of it is broken", "`checkpoint --image-path` writes one"],
  STATUS_FD: ["the descriptor of --status-fd is not open", "open it before"],

  // Command lines
  BAD_CGROUP_PARENT: ["--cgroup-parent leads upwards", "a path below tupper's own group"],
  BAD_CHOICE: ["not one of the words that the flag takes", asked],
  BAD_CLOCK: ["there is no such clock", "monotonic or boottime"],
  BAD_DESTINATION: ["nothing can be mounted there, or it is not absolute", asked],
  BAD_DEVICE: ["--device is not SOURCE[:DESTINATION[:ACCESS]]", asked],
  BAD_DEVICE_ACCESS: ["not an access to a device", "letters of rwm"],
  BAD_DEVICE_LIMIT: ["not DEVICE:NUMBER", asked],
  BAD_DEVICE_RULE: ["not a device rule", 'such as "c 42:* rwm"'],
  BAD_DURATION: ["not a duration", "such as 5s"],
  BAD_HOSTNAME: ["not a host name", "1 to 64 letters, digits, dots and dashes"],
  BAD_ID_MAP: ["not an id map", "CONTAINER:HOST:SIZE"],
  BAD_KEY_VALUE: ["not KEY=VALUE", asked],
  BAD_LIST: ["not a list of numbers", "such as 0-2,5"],
  BAD_MODE: ["not a mode", "octal digits"],
  BAD_MOUNT_OPTION: ["not an option of a mount", asked],
  BAD_MOUNT_TYPE: ["--mount has no such type", "bind or tmpfs"],
  BAD_NAME: ["not a name for a container", "a letter or digit, then letters, digits, _ . -"],
  BAD_NAMESPACE: ["not a namespace", "private, host, container:NAME or a path"],
  BAD_NUMBER: ["not a whole number within the bounds", asked],
  BAD_PATH: ["not an absolute path", asked],
  BAD_SIZE: ["not a size", "bytes with an optional unit: 512m"],
  BAD_SYSCTL: ["not a kernel setting", "such as net.ipv4.ip_forward=1"],
  BAD_ULIMIT: ["not a limit", "NAME=SOFT[:HARD], the soft one not above the hard one"],
  BAD_UMASK: ["not a mask", "three octal digits"],
  BAD_USER: ["not USER or USER:GROUP", "names or numbers"],
  BAD_VALUE: ["a value that the flag does not take", asked],
  BAD_VARIABLE: ["not an environment variable", "NAME=VALUE or NAME"],
  BAD_VOLUME: ["not SOURCE:DESTINATION[:OPTIONS]", asked],
  CPUS_TWICE: ["--cpus and another flag set the same limit", "leave one away"],
  FILE_MISSING: ["a file that a flag names is not there", "check the path"],
  FILE_NOT_READABLE: ["a file that a flag names cannot be read", "check its mode"],
  MEMORY_RESERVATION_TOO_LARGE: ["--memory-reservation is more than --memory", "lower it"],
  MEMORY_TOO_SMALL: ["--memory is less than what works", "at least 6m"],
  MISSING_ARGUMENT: ["an argument is missing", asked],
  MISSING_VALUE: ["a flag has no value", asked],
  NOT_A_BLOCK_DEVICE: ["not a block device", "lsblk lists them"],
  NOT_A_DEVICE: ["not a device", "ls -l shows c or b in front of one"],
  OOM_KILL_NEEDS_LIMIT: ["--oom-kill-disable without --memory", "add --memory"],
  SWAP_NEEDS_MEMORY: ["--memory-swap without --memory", "add --memory"],
  SWAP_TOO_SMALL: ["--memory-swap is less than --memory", "it is both together"],
  TOO_MANY_ARGUMENTS: ["an argument too many", asked],
  UNKNOWN_COMMAND: ["there is no such command", "the hint names the nearest"],
  UNKNOWN_FLAG: ["there is no such flag", "the hint names the nearest"],
  UNKNOWN_GROUP: ["the group is not in /etc/group of the root", "a number needs no entry"],
  UNKNOWN_SIGNAL: ["there is no such signal", "signal(7)"],
  UNKNOWN_USER: ["the user is not in /etc/passwd of the root", "a number needs no entry"],
  USAGE: ["a command line that says nothing that tupper understands", asked],
  VOLUME_UNSUPPORTED: ["volumes are not there yet", "name a directory with a slash"],
} as const satisfies Readonly<Record<string, readonly [cause: string, remedy: string]>>;
