/** For tests beside sources: the golden files of tests/golden. */
export { assertGolden } from "../../tests/golden.ts";
