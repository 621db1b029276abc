// A reporter of node:test for the guest: an event a line as JSON behind a record separator, so that what tests print
// themselves cannot be taken for one.
export default async function* report(source) {
  for await (const { type, data } of source) {
    if (type !== "test:start" && type !== "test:pass" && type !== "test:fail") continue;
    const { name, nesting, skip, todo, details } = data;
    const error = details?.error;
    const cause = error?.cause ?? error;
    yield `\x1e${JSON.stringify({
      type: type.slice(5),
      name,
      nesting,
      skip: skip === true ? "" : skip,
      todo,
      isSuite: details?.type === "suite",
      durationMs: details?.duration_ms,
      error: error === undefined ? undefined : String(cause?.stack ?? cause ?? error),
      failureType: error?.failureType,
    })}\n`;
  }
}
