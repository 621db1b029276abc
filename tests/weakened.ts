/**
 * The weakened build: each attack is tried on it first, so that its test is known to be able to fail. weaknesses.ts has the
 * switches, `runtime(args, { weak: "drop:mask" })` runs it with one of them on.
 */
import { fileURLToPath } from "node:url";

export const weakenedBinary = fileURLToPath(new URL("../build/weakened/tupper", import.meta.url));

/** The environment in which these switches are on. */
export const switchesOf = (weak: string | undefined): NodeJS.ProcessEnv =>
  weak === undefined ? {} : { TUPPER_WEAK: weak };

/** How often a race is run: some dozen times in the gate, a hundred (or TUPPER_ROUNDS) times as often by `npm run torture`. */
export const rounds = (inTheGate: number): number =>
  process.env.TUPPER_TORTURE === undefined ? inTheGate : inTheGate * Number(process.env.TUPPER_ROUNDS ?? 100);
