/**
 * Which compiler made a filter: the build puts a digest of this directory in place of this module, so that a filter on
 * disk is not taken for one of another compiler.
 */
export const COMPILER_VERSION = "unbuilt";
