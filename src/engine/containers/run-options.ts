/** The flags of `tupper run` as the command line gives them: split into strings, meaning not yet looked at. */
export interface RunOptions {
  /** The container ID: `--name`, or a random one. */
  id: string;
  /** The command and its arguments; empty is the default command. */
  command: readonly string[];

  // root filesystem
  rootKind?: string;
  size?: string;
  readOnly?: boolean;
  volume?: readonly string[];
  mount?: readonly string[];
  tmpfs?: readonly string[];
  shmSize?: string;

  // namespaces and names
  hostname?: string;
  domainname?: string;
  pid?: string;
  ipc?: string;
  uts?: string;
  network?: string;
  cgroupns?: string;
  userns?: string;
  timens?: string;
  timeOffset?: readonly string[];
  uidmap?: readonly string[];
  gidmap?: readonly string[];

  // process
  env?: readonly string[];
  envFile?: readonly string[];
  workdir?: string;
  user?: string;
  groupAdd?: readonly string[];
  tty?: boolean;
  init?: boolean;
  ulimit?: readonly string[];
  oomScoreAdj?: string;
  umask?: string;

  // limits
  memory?: string;
  memorySwap?: string;
  memoryReservation?: string;
  memorySwappiness?: string;
  oomKillDisable?: boolean;
  cpus?: string;
  cpuShares?: string;
  cpuPeriod?: string;
  cpuQuota?: string;
  cpusetCpus?: string;
  cpusetMems?: string;
  pidsLimit?: string;
  blkioWeight?: string;
  blkioWeightDevice?: readonly string[];
  deviceReadBps?: readonly string[];
  deviceWriteBps?: readonly string[];
  deviceReadIops?: readonly string[];
  deviceWriteIops?: readonly string[];
  cgroupParent?: string;

  // privileges
  device?: readonly string[];
  deviceCgroupRule?: readonly string[];
  capAdd?: readonly string[];
  capDrop?: readonly string[];
  privileged?: boolean;
  securityOpt?: readonly string[];
  sysctl?: readonly string[];

  // notes
  annotation?: readonly string[];
  label?: readonly string[];
}
