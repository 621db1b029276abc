/** A terminal for tests: a shell in tmux(1), typed into and looked at as a person would. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { atEnd, output } from "./harness.ts";

let opened = 0;

export interface Terminal {
  /** Types text and a return. */
  line(text: string): void;
  /** Presses keys by tmux's names: `C-c`, `Enter`, `Up`. */
  press(...keys: string[]): void;
  /** What is on the screen, without trailing blanks. */
  screen(): string;
  /**
   * Waits until the screen matches, as it is or without the prompts before what is printed: a line that is typed before
   * the shell asks for it is echoed first, and its output stands right behind the prompt.
   */
  until(pattern: RegExp): Promise<RegExpExecArray>;
  resize(columns: number, rows: number): void;
}

/** Opens a terminal with a plain shell whose prompt is `outer$`. Closed at the end of the test. */
export async function openTerminal(columns = 100, rows = 30): Promise<Terminal> {
  const socket = `tupper-test-${process.pid}-${++opened}`;
  const tmux = (...args: string[]) =>
    execFileSync("tmux", ["-L", socket, "-f", "/dev/null", ...args], {
      encoding: "utf8",
      env: { ...process.env, TMUX: undefined, LC_ALL: "C.UTF-8" },
    });
  atEnd(() => spawnSync("tmux", ["-L", socket, "kill-server"]));
  // A terminal of a known size: tmux keeps it while no client is attached.
  tmux("new-session", "-d", "-x", String(columns), "-y", String(rows), "exec sh");
  tmux("set-option", "-g", "window-size", "manual");
  const screen = () =>
    tmux("capture-pane", "-p", "-J")
      .replace(/[ \t]+$/gm, "")
      .trimEnd();
  const until = async (pattern: RegExp): Promise<RegExpExecArray> => {
    for (let waitedMs = 0; waitedMs < 20_000; waitedMs += 20) {
      const shown = screen();
      const match = pattern.exec(shown) ?? pattern.exec(shown.replace(/^(?:outer\$|inner#) /gm, ""));
      if (match !== null) return match;
      await sleep(20);
    }
    assert.fail(`the screen never matched ${pattern}:\n${screen()}`);
  };
  const terminal: Terminal = {
    line(text) {
      tmux("send-keys", "-l", text);
      tmux("send-keys", "Enter");
    },
    press(...keys) {
      tmux("send-keys", ...keys);
    },
    screen,
    until,
    resize(width, height) {
      tmux("resize-window", "-x", String(width), "-y", String(height));
    },
  };
  terminal.line("PS1='outer$ '; clear"); // dash gives root "# ", whatever the environment says
  await until(/^outer\$$/);
  return terminal;
}

/** What a command prints in a terminal that nobody types into. script(1) tells the end of its own input with a NUL. */
export function printsOnTerminal(command: string): string {
  return output("script", "-qec", command, "/dev/null").replaceAll("^@", "").replaceAll("\0", "");
}
