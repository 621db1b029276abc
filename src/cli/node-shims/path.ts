/** What commander uses of node:path when a program has no name; tupper's has one. */
const basename = (path: string): string => path.replace(/^.*\//, "");
export default { basename, extname: (path: string): string => /(?<=.)\.[^.]*$/.exec(basename(path))?.[0] ?? "" };
