/**
 * For the training build: names and objects that nobody has seen before. QuickJS looks for a name, and for a shape, by
 * walking a chain of others with the same hash, so any of them may be read by any command.
 */
declare const __observe: (on: boolean) => void;

__observe(true);
const found: unknown[] = [];
for (let i = 0; i < 20_000; i++) found.push(({} as Record<string, unknown>)[`name ${i}`], Object.create({ i }));
