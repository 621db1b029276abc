/** Which versions of the runtime-spec there is code for. */

/** The one that is written into state, `spec` and `features`. */
export const SPEC_VERSION = "1.3.0";
/** The oldest that is read: within a major version the spec is compatible. */
export const OLDEST_SPEC_VERSION = "1.0.0";
