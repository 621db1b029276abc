/** Completion for bash: a walk over the words finds the command; tables say what may follow. */
import { allCommands, type CompletionCommand, offersKnown, type Values } from "./program-tree.ts";

export function bashCompletion(program: CompletionCommand): string {
  const { name } = program;
  const commands = allCommands(program);
  return `# bash completion for ${name}: source <(${name} completion bash)

# Which command a word leads to.
_${name}_command() {
  case "$1 $2" in
${commands.flatMap(subcommandCases).join("\n")}
  *) return 1 ;;
  esac
}

# Commands whose flags end at their first argument.
_${name}_stops() {
  case "$1" in ${stopping(commands)}) return 0 ;; *) return 1 ;; esac
}

_${name}_flags() {
  case "$1" in
${commands.map(flagCase).join("\n")}
  esac
}

# What follows a flag; fails for a flag without a value.
_${name}_value() {
  case "$1 $2" in
${commands.flatMap(valueCases).join("\n")}
  *) return 1 ;;
  esac
}

# What can stand as the nth argument.
_${name}_argument() {
  kind=nothing words=
  case "$1 $2" in
${commands.flatMap(argumentCases).join("\n")}
  esac
}

_${name}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} command=${name} flag= count=0 kind= words= word i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ -n $flag ]]; then
      flag=
    elif [[ $count -gt 0 ]] && _${name}_stops "$command"; then
      count=$((count + 1))
    elif [[ $word == -* ]]; then
      _${name}_value "$command" "$word" && flag=$word
    elif [[ $count -gt 0 ]] || ! _${name}_command "$command" "$word"; then
      count=$((count + 1))
    fi
  done
  COMPREPLY=()
  if [[ -n $flag ]]; then
    _${name}_value "$command" "$flag"
  elif [[ $cur == -* ]] && { [[ $count -eq 0 ]] || ! _${name}_stops "$command"; }; then
    kind=words words=$(_${name}_flags "$command")
  else
    _${name}_argument "$command" "$count"
  fi
  case $kind in
  containers) words="$words $(${name} ${program.listCommand} --quiet 2>/dev/null)" ;;
${offersKnown(program) ? `  known) words="$words $(${name} ${program.listCommand} --all --quiet 2>/dev/null)" ;;\n` : ""}  directories) compopt -o dirnames 2>/dev/null ;;
  files) compopt -o default 2>/dev/null ;;
  esac
  [[ -z $words ]] || COMPREPLY=($(compgen -W "$words" -- "$cur"))
}

complete -F _${name} ${name}
`;
}

function subcommandCases(command: CompletionCommand): string[] {
  return command.commands.map((child) => {
    const patterns = [child.name, ...child.aliases].map((word) => quote(`${pathOf(command)} ${word}`));
    return `  ${patterns.join("|")}) command=${quote(pathOf(child))} ;;`;
  });
}

const flagCase = (command: CompletionCommand): string =>
  `  ${quote(pathOf(command))}) echo ${quote(command.flags.flatMap(({ names }) => names).join(" "))} ;;`;

function valueCases(command: CompletionCommand): string[] {
  return command.flags
    .filter(({ metavar }) => metavar !== undefined)
    .map(({ names, values }) => {
      const patterns = names.map((flag) => quote(`${pathOf(command)} ${flag}`));
      return `  ${patterns.join("|")}) ${assignments(values)} ;;`;
    });
}

function argumentCases(command: CompletionCommand): string[] {
  const commands = command.commands.map(({ name }) => name);
  const first = command.arguments[0]?.values ?? { kind: "nothing" };
  const rest = command.arguments.slice(1);
  const any = command.arguments.findLast(({ repeated }) => repeated)?.values;
  const path = pathOf(command);
  return [
    `  ${quote(`${path} 0`)}) ${assignments(first, commands)} ;;`,
    ...rest.map(({ values }, i) => `  ${quote(`${path} ${i + 1}`)}) ${assignments(values)} ;;`),
    ...(any === undefined ? [] : [`  ${quote(`${path} `)}*) ${assignments(any)} ;;`]),
  ];
}

/** `kind` and `words`, as the last lines of the function read them. */
function assignments(values: Values, more: readonly string[] = []): string {
  const kind = {
    words: "words",
    files: "files",
    command: "files",
    directories: "directories",
    root: "directories",
    containers: "containers",
    known: "known",
    nothing: "nothing",
  }[values.kind];
  const words = [...more, ...(values.kind === "words" ? values.words : values.kind === "root" ? ["host"] : [])];
  return `kind=${kind} words=${quote(words.join(" "))}`;
}

const pathOf = ({ path }: CompletionCommand): string => path.join(" ");
const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
const stopping = (commands: readonly CompletionCommand[]): string =>
  commands
    .filter(({ stopsAtArgument }) => stopsAtArgument)
    .map((command) => quote(pathOf(command)))
    .join("|");
