/**
 * How an error looks to people: one sentence with its code, then where it came from, what the kernel said, what to do.
 *
 *     error: cannot mount /srv/data at /data: the source does not exist (MOUNT_SOURCE_MISSING)
 *       config: mounts[3].source
 *       kernel: open_tree("/srv/data", OPEN_TREE_CLONE) = ENOENT
 *       hint:   create it on the host first; a bind mount never creates its source
 */
import { ContainerError } from "../error.ts";
import { mapStack } from "../sys/stack.ts";
import { SysError } from "../sys/sys.ts";
import type { Colors } from "./terminal.ts";

/** The lines for any error, with a line feed at the end. `map` turns a stack of the bundle into one of the sources. */
export function renderError(error: unknown, colors: Colors, map: (stack: string) => string = mapStack): string {
  if (error instanceof ContainerError) return renderContainerError(error, colors);
  const { message, stack } = error instanceof Error ? error : { message: String(error), stack: undefined };
  const code = error instanceof SysError ? error.code : "INTERNAL";
  const trace = stack === undefined ? "" : map(stack).replace(`${String(error)}\n`, "");
  return (
    `${headline(message, code, colors)}\n` +
    `${detail("hint", "this is a fault of tupper; the lines below say where", colors)}\n` +
    colors.dim(trace === "" || trace.endsWith("\n") ? trace : `${trace}\n`)
  );
}

function renderContainerError(error: ContainerError, colors: Colors): string {
  const { field, kernel, hint } = error;
  const lines = [headline(error.message, error.code, colors)];
  if (field !== undefined) lines.push(detail(field.startsWith("-") ? "flag" : "config", field, colors));
  if (kernel !== undefined) lines.push(detail("kernel", kernel, colors));
  if (hint !== undefined) lines.push(detail("hint", hint, colors));
  return `${lines.join("\n")}\n`;
}

const headline = (message: string, code: string, colors: Colors): string =>
  `${colors.bold(colors.red("error:"))} ${message} ${colors.dim(`(${code})`)}`;

const detail = (label: string, text: string, colors: Colors): string => `  ${colors.dim(`${label}:`.padEnd(8))}${text}`;
