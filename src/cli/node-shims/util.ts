/** What commander uses of node:util: the visible part of a text, for its width. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: terminal sequences begin with one
const SEQUENCES = /\u001b\[[0-9;]*m/g;
export const stripVTControlCharacters = (text: string): string => text.replace(SEQUENCES, "");
