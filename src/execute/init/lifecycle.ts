/** Steps of the init process that have to do with who waits for whom: hooks, the end of create, the wait for start. */
import { ContainerError } from "../../error.ts";
import { PR_SET_PDEATHSIG } from "../../sys/constants.ts";
import { raw, sys } from "../../sys/sys.ts";
import { receive, send } from "../channel.ts";
import { findCommand } from "../exec-command.ts";
import { runHooks } from "../run-hooks.ts";
import { awaitStart } from "../start-socket.ts";
import { type Performers, slotValue } from "./context.ts";

type Ops = "awaitHooks" | "runHooks" | "findCommand" | "reportCreated" | "waitForStart";

export const lifecycleSteps: Performers<Ops> = {
  awaitHooks(_step, { channel }) {
    send(channel, { kind: "hooks" });
    awaitDone(channel);
  },

  runHooks({ kind, hooks, state }) {
    runHooks(kind, hooks, state, raw.getpid());
  },

  findCommand({ args, env, cwd }) {
    findCommand(args, env, cwd);
  },

  reportCreated(_step, { channel }) {
    send(channel, { kind: "created" });
    awaitDone(channel);
    sys.prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
  },

  waitForStart({ socket }, context) {
    // The caller of create may wait for the end of its pipes.
    if (context.terminal !== undefined) for (const fd of [0, 1, 2]) sys.dup3(context.terminal, fd, 0);
    raw.close(context.channel);
    const waiting = slotValue(context.slots, socket);
    context.channel = awaitStart(waiting);
    raw.close(waiting);
  },
};

function awaitDone(channel: number): void {
  if (receive(channel)?.message.kind === "done") return;
  throw new ContainerError("PARENT_GONE", "the parent went away during set-up");
}
