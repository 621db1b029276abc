/** The name that was probably meant: for every message about a name that does not exist. */

/** At most this share of the longer word may differ. */
const MAX_DIFFERENCE = 0.5;

/** The candidate with the fewest edits, when it is near enough to have been meant. Case and leading dashes do not count. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const wanted = plain(word);
  let best: string | undefined;
  let bestDistance = 4;
  for (const candidate of candidates) {
    const name = plain(candidate);
    // At least as many edits; a name in a config may have any length.
    if (Math.abs(wanted.length - name.length) >= bestDistance) continue;
    const distance = editDistance(wanted, name);
    const allowed = Math.max(wanted.length, name.length) * MAX_DIFFERENCE;
    if (distance < bestDistance && distance <= allowed) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** `did you mean "memory"?`, or undefined when nothing is near. */
export function didYouMean(word: string, candidates: readonly string[]): string | undefined {
  const name = nearest(word, candidates);
  return name === undefined ? undefined : `did you mean ${name}?`;
}

const plain = (word: string): string => word.replace(/^-+/, "").toLowerCase();

/** Damerau-Levenshtein in its "optimal string alignment" form: insertions, deletions, substitutions, swapped neighbours. */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (last[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let distance = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, substitution);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        distance = Math.min(distance, (beforeLast[j - 2] ?? 0) + 1);
      }
      row.push(distance);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? 0;
}
