/** The exit code of the command that was called: an action sets it, `main` returns it. commander drops what actions return. */
let exitCode = 0;

/** An action that returns its exit code, for commander. */
export function exitsWith<A extends unknown[]>(action: (...args: A) => number): (...args: A) => void {
  return (...args) => {
    exitCode = action(...args);
  };
}

export const lastExitCode = (): number => exitCode;
