/** Completion for zsh: a function per command, each with `_arguments`. zshcompsys(1). */
import { allCommands, type CompletionCommand, type CompletionFlag, offersKnown, type Values } from "./program-tree.ts";

export function zshCompletion(program: CompletionCommand): string {
  const { name } = program;
  return `#compdef ${name}
# zsh completion for ${name}: ${name} completion zsh > a directory of $fpath, as _${name}

${namesFunction("containers", name, `${program.listCommand} --quiet`)}
${offersKnown(program) ? `\n${namesFunction("known", name, `${program.listCommand} --all --quiet`)}\n` : ""}
_${name}_root() {
  _alternative 'words:root:(host)' 'directories:directory:_directories'
}

${allCommands(program)
  .map((command) => commandFunction(command, name))
  .join("\n\n")}

if [[ $funcstack[1] == _${name} ]]; then _${name} "$@"; else compdef _${name} ${name}; fi
`;
}

const namesFunction = (kind: Values["kind"], program: string, list: string): string => `_${program}_${kind}() {
  local -a names
  names=(\${(f)"$(${program} ${list} 2>/dev/null)"})
  _describe container names
}`;

function commandFunction(command: CompletionCommand, program: string): string {
  const specs = [...command.flags.map((flag) => flagSpec(flag, program)), ...argumentSpecs(command, program)];
  const stop = command.stopsAtArgument ? " -A '-*'" : "";
  const lines = [
    `${functionName(command)}() {`,
    ...(command.commands.length > 0 ? ["  local context state state_descr line", "  typeset -A opt_args"] : []),
    `  _arguments -s -S${command.commands.length > 0 ? " -C" : ""}${stop} \\`,
    ...specs.map((spec, i) => `    ${quote(spec)}${i < specs.length - 1 ? " \\" : ""}`),
  ];
  if (command.commands.length > 0) lines.push(...dispatch(command, program));
  return [...lines, "}"].join("\n");
}

/** After the first word the subcommand's function takes over. */
function dispatch(command: CompletionCommand, program: string): string[] {
  const first = command.arguments[0];
  const words = command.commands.map(({ name, description }) => `${name}:${plain(description)}`);
  return [
    "  case $state in",
    "  command)",
    `    local -a commands=(${words.map(quote).join(" ")})`,
    `    _describe command commands`,
    ...(first === undefined ? [] : [`    ${action(first.values, program).trim() || ":"}`]),
    "    ;;",
    "  argument)",
    "    case $line[1] in",
    ...command.commands.map((child) => `    ${[child.name, ...child.aliases].join("|")}) ${functionName(child)} ;;`),
    "    esac",
    "    ;;",
    "  esac",
  ];
}

const functionName = ({ path }: CompletionCommand): string => `_${path.join("_")}`;

/** `(-m --memory)-m[memory]:BYTES:` once for each name. */
function flagSpec({ names, description, metavar, values, repeatable }: CompletionFlag, program: string): string {
  const exclusive = repeatable ? "*" : names.length > 1 ? `(${names.join(" ")})` : "";
  const value = metavar === undefined ? "" : `:${plain(metavar)}:${action(values, program)}`;
  const text = `[${plain(description)}]${value}`;
  // Braces are the shell's, outside the quotes: -m and --memory from one line.
  return names.length > 1 ? `${exclusive}\u0000{${names.join(",")}}\u0000${text}` : `${exclusive}${names[0]}${text}`;
}

function argumentSpecs(command: CompletionCommand, program: string): string[] {
  if (command.commands.length > 0) return ["1: :->command", "*:: :->argument"];
  return command.arguments.map(({ name, values, repeated }, i) => {
    if (values.kind === "command") return "*::command: _normal";
    return `${repeated ? "*" : i + 1}:${name}:${action(values, program)}`;
  });
}

function action(values: Values, program: string): string {
  switch (values.kind) {
    case "words":
      return `(${values.words.map((word) => word.replace(/[:()\\ ]/g, "\\$&")).join(" ")})`;
    case "files":
      return "_files";
    case "directories":
      return "_directories";
    case "root":
      return `_${program}_root`;
    case "containers":
      return `_${program}_containers`;
    case "command":
      return "_normal";
    case "known":
      return `_${program}_known`;
    case "nothing":
      return " ";
  }
}

/** Without what `_arguments` reads as its own. */
const plain = (text: string): string => text.replace(/[:[\]\\]/g, "\\$&").replaceAll("\n", " ");
const quote = (text: string): string =>
  text
    .split("\u0000")
    .map((part) => (/^\{.*\}$/.test(part) ? part : part === "" ? "" : `'${part.replaceAll("'", "'\\''")}'`))
    .join("");
