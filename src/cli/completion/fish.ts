/** Completion for fish: a line per command, flag and argument, under the condition that its command was typed. */
import { allCommands, type CompletionCommand, type Values } from "./program-tree.ts";

export function fishCompletion(program: CompletionCommand): string {
  const { name } = program;
  return `# fish completion for ${name}: ${name} completion fish > ~/.config/fish/completions/${name}.fish

# Whether the words so far are exactly these commands, flags aside.
function __${name}_at
    set -l words (commandline -opc)
    set -e words[1]
    for wanted in $argv
        test "$words[1]" = "$wanted"; or return 1
        set -e words[1]
    end
    return 0
end

# The same, and none of the command's subcommands follows.
function __${name}_first
    __${name}_at $argv; or return 1
    set -l words (commandline -opc)
    set -l before (math 1 + (count $argv))
    test (count $words) -eq $before
end

complete -c ${name} -f
${allCommands(program)
  .flatMap((command) => commandLines(command, program))
  .join("\n")}
`;
}

function commandLines(command: CompletionCommand, { name: program, listCommand }: CompletionCommand): string[] {
  const list = `${program} ${listCommand} --quiet`;
  const words = command.path.slice(1);
  const at = quote([`__${program}_at`, ...words].join(" "));
  const first = quote([`__${program}_first`, ...words].join(" "));
  const start = `complete -c ${program}`;
  return [
    ...command.commands.map(
      ({ name, description }) => `${start} -n ${first} -a ${name} -d ${quote(firstLine(description))}`,
    ),
    ...command.flags.map(({ names, description, metavar, values }) => {
      const flags = names
        .map((flag) => (flag.startsWith("--") ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`))
        .join(" ");
      const value = metavar === undefined ? "" : ` ${values.kind === "files" ? "-r" : "-x"}${offer(values, list)}`;
      return `${start} -n ${words.length === 0 ? first : at} ${flags}${value} -d ${quote(firstLine(description))}`;
    }),
    ...command.arguments.flatMap(({ values }) =>
      offer(values, list) === "" ? [] : [`${start} -n ${at}${offer(values, list)}`],
    ),
  ];
}

/** `list`: the command that lists containers. */
function offer(values: Values, list: string): string {
  switch (values.kind) {
    case "words":
      return ` -a ${quote(values.words.join(" "))}`;
    case "files":
    case "command":
      return " -F";
    case "directories":
      return ` -a '(__fish_complete_directories)'`;
    case "root":
      return ` -a 'host (__fish_complete_directories)'`;
    case "containers":
      return ` -a '(${list} 2>/dev/null)'`;
    case "known":
      return ` -a '(${list} --all 2>/dev/null)'`;
    case "nothing":
      return "";
  }
}

const firstLine = (text: string): string => text.split("\n")[0] ?? "";
const quote = (text: string): string => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
