/** Clean-ups whose failure must not take the place of what came before them: a command's exit code, or the error of a step. */
import { ContainerError } from "../error.ts";
import { whyItStays } from "../explain-failure/clean-up.ts";
import { SysError } from "../sys/sys.ts";

/** Whether it went well. If not, a warning says what for, the kernel's answer, a hint, and what is `left`. */
export function cleanUp(what: string, act: () => void, left: () => string, warn: (text: string) => void): boolean {
  try {
    act();
    return true;
  } catch (error) {
    if (!(error instanceof SysError || error instanceof ContainerError)) throw error;
    warn(`cannot ${what}: ${whyItStays(error)}; left: ${left()}`);
    return false;
  }
}
