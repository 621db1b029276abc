/** What the host calls at start. Everything above this is evaluated once, in the build. */
import "./sys/prelude.ts";
import { main } from "./cli/main.ts";

(globalThis as { __main?: typeof main }).__main = main;
