/**
 * Words of docker, podman, runc and crun that these programs do not have, and what does the same here. Looked at only when a
 * command line has failed. A slip of the finger in a word of our own is what nearest.ts finds.
 */

type Entry = readonly [words: string, hint: string];

const NO_IMAGES = "there are no images: ROOT of `tupper run` is a directory with a root filesystem, or host";
const NOT_LEFT = "what runs in the foreground cannot be left; put & behind it to have the shell back";
const IN_RUNTIME = "tupper-runtime has it, for the containers that it made";
const JQ = "there are no templates: --format json, and jq(1)";

/** By the command that would have the word: words with the same hint stand together. */
export const TABLES: Readonly<Record<string, readonly Entry[]>> = {
  tupper: [
    ["attach", "`tupper exec NAME sh` opens a shell in it; its own output goes where its `tupper run` was started"],
    ["container", "leave the word away: tupper ps, tupper inspect NAME"],
    ["cp diff export", "`tupper ps` tells the PID of a container: its files are below /proc/PID/root"],
    ["create start", "`tupper run` makes and starts a container at once; tupper-runtime has create and start"],
    ["delete rm", "a container is removed when it ends, and `tupper kill NAME` ends it"],
    ["enter shell", "tupper exec NAME sh"],
    ["events", "`tupper wait NAME` waits until a container ends, and says why it did"],
    ["info", "tupper --version, or tupper-runtime info"],
    ["logs", "what a container prints goes where its `tupper run` was started, and is not kept"],
    ["network port", "flags of `tupper run` say it: --network private (loopback alone), host, or container:NAME"],
    ["pause unpause resume update", IN_RUNTIME],
    ["checkpoint restore mounts features spec", "tupper-runtime has it"],
    ["rename", "`tupper run --name NAME` gives the name"],
    ["restart", "`tupper kill NAME`, and `tupper run` again"],
    ["state", "tupper inspect NAME; tupper-runtime has state, for the containers that it made"],
    ["stop", "`tupper kill --signal TERM NAME`, and `tupper kill NAME` if it does not end"],
    ["top", "tupper exec NAME ps -ef; `tupper stats` shows what containers use"],
    ["version -V", "tupper --version"],
    ["-D --debug -l --log-level", "`tupper run --trace` shows each step"],
    ["compose pod", "a `tupper run` for each; --network container:NAME has them share a network"],
    ["nsenter", "tupper exec NAME COMMAND"],
    ["unshare", "`tupper run host COMMAND` runs a program of the machine in namespaces of its own"],
    ["system", "tupper ps, tupper stats"],
    ["volume", "`tupper run --volume ./DIRECTORY:/DESTINATION` shows a directory of the machine"],
    ["build commit history image images import load login logout pull push rmi save search tag", NO_IMAGES],
  ],
  "tupper run": [
    ["-d --detach", "it stays in the foreground: put & behind it, or use tupper-runtime create and start"],
    [
      "-p --publish -P --publish-all --expose --link --ip --ip6 --mac-address --network-alias",
      "a network of its own has loopback alone; with --network host it listens on the machine's ports",
    ],
    ["--entrypoint", "there are no images, so there is no entrypoint: the command stands behind ROOT"],
    ["--rootfs", "ROOT is the first word that is no flag: tupper run ./rootfs sh"],
    ["--add-host", "it has the /etc/hosts of its ROOT; --volume ./hosts:/etc/hosts gives it another"],
    [
      "--dns --dns-search --dns-opt --dns-option",
      "it has the /etc/resolv.conf of its ROOT; --volume ./resolv.conf:/etc/resolv.conf gives it another",
    ],
    ["--restart", "nothing starts it again: a loop of the shell can, or a unit of systemd"],
    ["--gpus", "--device names each device node"],
    ["--pull --platform --arch --os", NO_IMAGES],
    ["--stop-signal --stop-timeout", "`tupper kill --signal SIGNAL NAME` sends any signal"],
    ["--log-driver --log-opt", "what it prints goes to stdout and stderr of `tupper run`"],
    ["-a --attach --sig-proxy", "stdin, stdout, stderr and signals are always passed on"],
    ["--cidfile --pidfile", "--name gives it a name; `tupper ps --format json` tells its PID"],
    [
      "--health-cmd --health-interval --health-retries --health-start-period --health-timeout --no-healthcheck",
      "nothing watches its health; `tupper exec NAME COMMAND` runs a check in it",
    ],
    ["--volumes-from", "--volume shows a directory of the machine in as many containers as you like"],
    ["--storage-opt", "--size says how much can be written"],
    ["--runtime", "tupper makes containers itself; docs/engines.md says how docker and podman use it as their runtime"],
    ["--replace", "`tupper kill NAME` ends the other one"],
    ["--tz", "--env TZ=Europe/Berlin"],
    ["-D --debug --log-level", "`tupper run --trace` shows each step"],
    ["--pod", "--network, --ipc, --uts and --pid container:NAME share the namespaces of another container"],
    ["--detach-keys", NOT_LEFT],
  ],
  "tupper exec": [
    ["-d --detach", "it stays in the foreground: put & behind it"],
    ["--detach-keys", NOT_LEFT],
  ],
  "tupper ps": [
    ["-f --filter", "tupper ps --format json, and jq(1)"],
    ["-n --last -l --latest", "`tupper ps --all` lists all, those that have ended from the newest on"],
    ["--no-trunc", "`tupper ps --format json` has the whole command"],
    ["-s --size", "tupper stats"],
  ],
  "tupper inspect": [["-f", JQ]],
  "tupper stats": [["-a --all", "it shows all that run"]],
  "tupper kill": [["-a --all", "tupper kill $(tupper ps --quiet)"]],
  "tupper-runtime": [
    ["attach logs", "who calls create or run holds the container's output, or its terminal (--console-socket)"],
    ["init", "create and run need no such word"],
    ["inspect", "tupper-runtime state ID"],
    ["ls", "tupper-runtime list"],
    ["rm", "tupper-runtime delete ID"],
    ["stats", "tupper-runtime events --stats ID"],
    ["stop", "`tupper-runtime kill ID TERM`, and `tupper-runtime delete ID` when it has ended"],
    ["top", "tupper-runtime ps ID"],
    ["unpause", "tupper-runtime resume ID"],
    ["version -V", "tupper-runtime --version"],
    ["-D", "--debug"],
  ],
  "tupper-runtime exec": [
    ["-i --interactive", "stdin is always passed on"],
    ["-w --workdir", "--cwd DIRECTORY"],
    ["--env-file", "--env NAME=VALUE, for each"],
    ["--privileged", "--cap NAME, for each capability"],
    ["--group-add", "--additional-gids GID"],
  ],
  "tupper-runtime kill": [["-s --signal", "the signal follows the ID: tupper-runtime kill ID TERM"]],
  "tupper-runtime run": [
    [
      "-e --env -u --user -v --volume -w --workdir",
      "config.json has it: process.env, process.user, mounts, process.cwd",
    ],
    ["-i -t --tty", "process.terminal of config.json asks for a terminal"],
    ["--rm", "a container is deleted when it ends, unless --keep is given"],
  ],
};

/** What does here what `word`, a command or a flag, does elsewhere. `path`: the command that it was given to. */
export function otherWord(path: string, word: string): string | undefined {
  const table = TABLES[LIKE_RUN.test(path) ? "tupper run" : path];
  return table?.find(([words]) => words.split(" ").includes(word))?.[1];
}

/** They take the words of `tupper run`. */
const LIKE_RUN = /^tupper (learn|explain run|script run)$/;

/** The hint for the value `{{.ID}}` of `--format`. */
export const templateHint = (value: string): string | undefined => (value.includes("{{") ? JQ : undefined);
