/** `--regex` of `kill` and `delete`, as crun has it: one command for all containers whose ID matches. */
import { ContainerError } from "../error.ts";
import { forEachContainer } from "./listed.ts";

/**
 * Calls `act` for each ID on record in which the expression is found. What fails for one is a warning, the others still
 * have their turn. Throws REGEX_INVALID.
 */
export function forMatching(
  root: string,
  pattern: string,
  warn: (text: string) => void,
  act: (id: string) => void,
): void {
  const expression = parseExpression(pattern);
  forEachContainer(root, warn, ({ record: { id } }) => {
    if (expression.test(id)) act(id);
  });
}

function parseExpression(pattern: string): RegExp {
  try {
    return new RegExp(pattern);
  } catch (error) {
    throw new ContainerError("REGEX_INVALID", `${JSON.stringify(pattern)} is not a regular expression`, {
      field: "--regex",
      cause: error,
    });
  }
}
