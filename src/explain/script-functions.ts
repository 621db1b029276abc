/**
 * The fixed parts of a printed script: shell functions that several steps use. Each is printed only when it is used.
 *
 * `tool` is the heart. After pivot_root the host's programs cannot be found by any path, and the container may have
 * none. So the few that are needed are copied into a tmpfs of the set-up's own mount namespace, with their libraries
 * and their dynamic loader, and the shell stands in that directory: lazily unmounted with the old root, it is in no
 * mount table any more, but it is still the working directory, and `./ld.so ./mount` still finds it. The last hop is
 * `./setpriv … ./env -C /`: env(1) leaves the directory and executes the command, and with that the tmpfs is gone.
 */
export const FUNCTIONS = {
  die: ["die() {", "  printf 'error: %s\\n' \"$*\" >&2", "  exit 125", "}"],

  warn: ["warn() { printf 'warning: %s\\n' \"$*\" >&2; }"],

  pack: [
    "# pack TOOL...: copies programs with their libraries and their dynamic loader into $bag.",
    "pack() {",
    "  for name; do",
    '    file=$(command -v "$name") || die "$name is missing"',
    '    pack_file "$file" "$name"',
    '    ldd "$file" 2>/dev/null | while read -r first arrow second _; do',
    "      case $first$arrow in",
    '        /*) pack_file "$first" ld.so ;;',
    '        libc.so.*) pack_file "$second" "$first"',
    "          # glibc before 2.34 loads this when it looks up a user.",
    '          directory=$(dirname "$second")',
    '          [ ! -e "$directory/libnss_files.so.2" ] || pack_file "$directory/libnss_files.so.2" libnss_files.so.2 ;;',
    '        *\'=>\') pack_file "$second" "$first" ;;',
    "      esac",
    "    done",
    "  done",
    "}",
    "",
    "# The C library reads /etc/nsswitch.conf, /etc/passwd and /etc/ld.so.preload, and loads libraries that they name:",
    "# inside they would be the container's, and its code would run with all privileges of the set-up. The copies look",
    '# for /etc in the working directory instead: a name of the same length, ".////", in place of "/etc/".',
    "pack_file() {",
    '  [ -e "$bag/$2" ] || { LC_ALL=C sed \'s,/etc/,.////,g\' <"$1" >"$bag/$2" && chmod 755 "$bag/$2"; }',
    "}",
  ],

  tool: [
    "# tool NAME ARGUMENT...: a program from the bag. Its loader is told where the libraries are, so that none of the",
    "# container's is loaded. A static program, as busybox may be, has no loader.",
    "tool() {",
    "  name=$1",
    "  shift",
    '  $ld "./$name" "$@"',
    "}",
  ],

  mask: [
    "# mask PATH: /dev/null over a file, an empty read-only tmpfs over a directory (one for all).",
    "mask() {",
    '  if [ -d "$1" ]; then',
    '    if [ -n "$masked" ]; then',
    '      tool mount -n -i --bind "$masked" "$1"',
    "    else",
    '      tool mount -n -i -t tmpfs -o ro,size=0k tmpfs "$1"',
    "      masked=$1",
    "    fi",
    '  elif [ -e "$1" ]; then',
    '    tool mount -n -i --bind /dev/null "$1"',
    "  fi",
    "}",
  ],

  make_readonly: [
    "# make_readonly PATH: a bind mount of it on itself, read-only with all that is mounted below.",
    "make_readonly() {",
    '  [ -e "$1" ] || return 0',
    '  tool mount -n -i --rbind "$1" "$1"',
    '  set_mount_flags recursive ro "$1"',
    "}",
  ],

  set_mount_flags: [
    "# set_mount_flags this|recursive FLAGS TARGET: adds flags to a mount. The flags that it has are read from mountinfo",
    "# and repeated: the kernel takes a remount's flags as the whole truth, and in a user namespace refuses to lose one.",
    "set_mount_flags() {",
    "  top=",
    "  while read -r id _ _ _ point _; do",
    "    case $point in *\\\\*) point=$(printf '%b' \"$point\") ;; esac # a space is \\040 there",
    '    [ "$point" != "$3" ] || top=$id',
    "  done </proc/self/mountinfo",
    '  [ -n "$top" ] || die "$3 is not a mount point"',
    '  below=" $top "',
    "  while read -r id parent _ _ point _; do",
    '    if [ "$id" != "$top" ]; then',
    '      [ "$1" = recursive ] || continue',
    '      case $below in *" $parent "*) below="$below$id " ;; *) continue ;; esac',
    "    fi",
    '    $tool mount -n -i --options-source mtab -o "remount,bind,$2" "$(printf \'%b\' "$point")"',
    "  done </proc/self/mountinfo",
    "}",
  ],

  take_tree: [
    "# take_tree SOURCE TREE --bind|--rbind [rprivate]: a second view of a file or a directory, kept beside the tools for",
    "# now; with the last word, what the machine mounts below it later does not show.",
    "take_tree() {",
    '  if [ -d "$1" ]; then mkdir "$bag/$2"; else : >"$bag/$2"; fi',
    '  mount -n -i "$3" "$1" "$bag/$2"',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: an expansion of the shell
    '  [ -z "${4-}" ] || mount -n -i --make-"$4" "$bag/$2"',
    "}",
  ],

  place_tree: [
    "# place_tree TREE TARGET: moves a taken tree to its place, which is made when missing: a file for a file.",
    "place_tree() {",
    '  if [ ! -e "$2" ]; then',
    '    if [ -d "$1" ]; then',
    '      tool mkdir -p "$2"',
    "    else",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: an expansion of the shell
    '      case $2 in /*/*) tool mkdir -p "${2%/*}" ;; esac',
    '      : >"$2"',
    "    fi",
    "  fi",
    "  # -c: the tree's path has no absolute form any more.",
    '  tool mount -n -i -c --move "./$1" "$2"',
    "}",
  ],
} as const;

export type FunctionName = keyof typeof FUNCTIONS;

/** Functions that a function calls. */
export const CALLS: Partial<Record<FunctionName, readonly FunctionName[]>> = {
  pack: ["die"],
  mask: ["tool"],
  make_readonly: ["tool", "set_mount_flags"],
  set_mount_flags: ["die", "tool"],
  place_tree: ["tool"],
};

/** PID 1 of a container with `--init`: reaps what is orphaned, passes signals on, ends with the command's exit code. */
export const REAPER = [
  "# PID 1. The shell reaps every child it gets; the command is one of them, with the standard input that was given.",
  "exec 3<&0",
  "for signal in HUP INT QUIT USR1 USR2 TERM CONT WINCH; do",
  '  trap "kill -s $signal \\"\\$child\\" 2>/dev/null" "$signal"',
  "done",
  '"$@" <&3 3<&- &',
  "child=$!",
  "exec 3<&- </dev/null",
  "while :; do",
  "  status=0",
  '  wait "$child" || status=$?',
  '  kill -0 "$child" 2>/dev/null || exit "$status"',
  "done",
];
