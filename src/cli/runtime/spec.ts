/** `tupper-runtime spec`. */
import { Command } from "commander";
import { ContainerError } from "../../error.ts";
import { absolute, within } from "../../runtime/bundle.ts";
import { type DefaultConfigOptions, defaultConfig } from "../../spec/default-config.ts";
import { AT_FDCWD, O_CLOEXEC, O_CREAT, O_TRUNC, O_WRONLY } from "../../sys/constants.ts";
import { createFile, writeAll } from "../../sys/files.ts";
import { raw, SysError, sys } from "../../sys/sys.ts";

interface SpecOptions {
  bundle: string;
  file?: string;
  rootless?: boolean;
}

export const specCommand = new Command("spec")
  .summary("write a config.json to begin with")
  .description("Writes a config.json to begin with: a shell in a terminal, in a root filesystem named rootfs.")
  .option("-b, --bundle <DIRECTORY>", "where to", ".")
  .option("-f, --file <FILE>", "another name than config.json; what is there is written over")
  .option("--rootless", "for the user who calls this")
  .action(({ bundle, file = "", rootless }: SpecOptions) => {
    const path = file.startsWith("/") ? file : within(absolute(bundle), file || "config.json");
    const options: DefaultConfigOptions = {
      cgroup2: raw.faccessat(AT_FDCWD, "/sys/fs/cgroup/cgroup.controllers", 0) === 0,
      ...(rootless ? { rootless: { uid: sys.geteuid(), gid: sys.getegid() } } : {}),
    };
    try {
      const write = file === "" ? createFile : writeOver;
      write(path, `${JSON.stringify(defaultConfig(options), null, "\t")}\n`, 0o666);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      throw new ContainerError(
        "SPEC_UNWRITABLE",
        error.code === "EEXIST" ? `${path} exists: remove it first` : `cannot write ${path}`,
        {
          field: file === "" ? "--bundle" : "--file",
          cause: error,
          ...(error.code === "ENOENT" ? { hint: "make the directory first; --bundle names it" } : {}),
        },
      );
    }
  });

/** In its place, as crun does: a link or device, such as /dev/stdout, stays what it is. */
function writeOver(path: string, text: string, mode: number): void {
  const fd = sys.openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  try {
    writeAll(fd, text);
  } finally {
    raw.close(fd);
  }
}
