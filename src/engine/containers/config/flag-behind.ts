/** Which flag of `tupper run` a mount of the config comes from: looked for when something with it has failed. */
import { ContainerError } from "../../../error.ts";
import type { Config } from "../../../spec/config.ts";
import type { RunOptions } from "../run-options.ts";
import { normalize } from "./flag-value.ts";

/** The same error with `--volume /srv:/data (mounts[8].source)` in place of `mounts[8].source`. */
export function byFlag(error: unknown, options: RunOptions, { mounts = [] }: Config): unknown {
  if (!(error instanceof ContainerError) || error.field === undefined) return error;
  const index = /^mounts\[(\d+)\]/.exec(error.field)?.[1];
  const flag = index === undefined ? undefined : flagBehind(mounts[Number(index)]?.destination, options);
  if (flag === undefined) return error;
  const { code, message, field, hint, evidence, cause, exitCode } = error;
  return new ContainerError(code, message, {
    field: `${flag} (${field})`,
    ...(hint === undefined ? {} : { hint }),
    evidence,
    cause,
    exitCode,
  });
}

function flagBehind(destination: string | undefined, { volume, mount, tmpfs }: RunOptions): string | undefined {
  const isIt = (path: string | undefined) => path !== undefined && normalize(path) === destination;
  const named = (flag: string, values: readonly string[] | undefined, path: (value: string) => string | undefined) => {
    const value = values?.find((candidate) => isIt(path(candidate)));
    return value === undefined ? undefined : `${flag} ${value}`;
  };
  return (
    named("--volume", volume, (value) => value.split(":")[1]) ??
    named("--tmpfs", tmpfs, (value) => value.split(":")[0]) ??
    named("--mount", mount, (value) => /(?:^|,)(?:dst|destination|target)=([^,]*)/.exec(value)?.[1])
  );
}
