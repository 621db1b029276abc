/** The lessons, in the order of the notes that tupper began with. Every command in them is run for real, and every answer is the machine's. */
import { CONTAINER_LESSONS } from "./container-lessons.ts";
import type { Lesson } from "./lesson.ts";
import { NAMESPACE_LESSONS } from "./namespace-lessons.ts";

export const LESSONS: readonly Lesson[] = [...NAMESPACE_LESSONS, ...CONTAINER_LESSONS];

/** By its name or its number. */
export const lessonNamed = (word: string): Lesson | undefined =>
  /^\d+$/.test(word) ? LESSONS[Number(word) - 1] : LESSONS.find(({ name }) => name === word);
