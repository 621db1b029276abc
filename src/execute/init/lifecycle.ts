/** Steps of the init process that have to do with who waits for whom: hooks, the end of create, the wait for start. */
import { ContainerError } from "../../error.ts";
import type { Hook } from "../../spec/config.ts";
import { PR_SET_PDEATHSIG } from "../../sys/constants.ts";
import { raw, sys } from "../../sys/sys.ts";
import { receive, send } from "../channel.ts";
import { findCommand } from "../exec-command.ts";
import { withHome } from "../home.ts";
import { runHooks, streamsOf } from "../run-hooks.ts";
import { awaitStart } from "../start-socket.ts";
import { type Performers, slotValue } from "./context.ts";
import { closeInherited } from "./descriptors.ts";
import { releaseKernelRoots } from "./proc.ts";

type Ops = "awaitHooks" | "runHooks" | "findCommand" | "reportCreated" | "waitForStart";

export const lifecycleSteps: Performers<Ops> = {
  awaitHooks(_step, { channel }) {
    send(channel, { kind: "hooks" });
    awaitDone(channel);
  },

  runHooks({ kind, hooks, state, inherited, output }, { slots }) {
    const wanted = inherited === undefined ? hooks : withEnvironment(hooks, inherited);
    runHooks(kind, wanted, state, raw.getpid(), { streams: streamsOf(output, slots) });
  },

  findCommand({ args, env, cwd }) {
    findCommand(args, env, cwd);
  },

  reportCreated(_step, { channel }) {
    send(channel, { kind: "created" });
    awaitDone(channel);
    sys.prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
  },

  waitForStart({ socket, preservedFds, keeps = [] }, context) {
    // The caller of create may wait for the end of its pipes.
    if (context.terminal !== undefined) for (const fd of [0, 1, 2]) sys.dup3(context.terminal, fd, 0);
    context.terminal = undefined;
    const waiting = slotValue(context.slots, socket);
    releaseKernelRoots(context);
    // What steps left open for close-on-exec would stay open for as long as nobody says start.
    const preserved = Array.from({ length: preservedFds }, (_, i) => 3 + i);
    const kept = keeps.map((slot) => slotValue(context.slots, slot));
    closeInherited([
      waiting,
      ...preserved,
      ...kept,
      ...(context.initIsReady === undefined ? [] : [context.initIsReady]),
    ]);
    context.channel = awaitStart(waiting);
    raw.close(waiting);
  },
};

/** Hooks that name no environment get the command's. */
function withEnvironment(hooks: readonly Hook[], { env, homeOf }: { env: string[]; homeOf?: number }): Hook[] {
  const inherited = homeOf === undefined ? env : withHome(env, homeOf);
  return hooks.map((hook) => (hook.env === undefined ? { ...hook, env: inherited } : hook));
}

function awaitDone(channel: number): void {
  if (receive(channel)?.message.kind === "done") return;
  throw new ContainerError("PARENT_GONE", "the parent went away during set-up");
}
