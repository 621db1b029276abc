/** Data: codes. */
export type ErrorCode = string;
