#!/bin/sh
# tupper-runtime beside crun and runc in a virtual machine of tests/vm, on cgroup v2. Prints a table in Markdown.
#
#   musl-gcc -O2 -static bench/measure.c -o build/measure
#   node --import tsx tests/vm/run.ts --place v2-root --file bench/guest.sh --file build/measure \
#     --exec 'sh /tupper/files/guest.sh 20'
#
# Runs of each, after five for warming up; in turn, A B C A B C. The machine is emulated: its times are several times those of
# a real one, so only ratios say something.
set -eu
runs=${1:-20}
measure=/tupper/files/measure
# It executes what it is given, and searches no PATH.
tupper=$(command -v tupper-runtime) crun=$(command -v crun) runc=$(command -v runc)
work=$(mktemp -d)
mkdir -p "$work/bundle/rootfs/bin" "$work/bundle/rootfs/proc" "$work/bundle/rootfs/dev" "$work/bundle/rootfs/sys"
cp "$(command -v busybox)" "$work/bundle/rootfs/bin/busybox"
for applet in sh sleep true; do ln -s busybox "$work/bundle/rootfs/bin/$applet"; done
cd "$work/bundle"
crun spec
sed -i 's/"terminal": true/"terminal": false/; s/"readonly": true/"readonly": false/' config.json
mkdir other
sed "s/\"sh\"/\"sleep\", \"3600\"/; s|\"rootfs\"|\"$work/bundle/rootfs\"|" config.json >other/config.json
sed -i 's/"sh"/"true"/' config.json

# row TITLE FILE: medians and minima in ms of the three commands whose samples are in FILE.
row() {
  for number in 0 1 2; do
    awk -v number=$number '$1 == number { if ($8 != 0) exit 1; print $2 / 1000 }' "$2" >"$work/samples"
    sort -n "$work/samples" >"$work/$number"
    awk '{ v[NR] = $1 } END { m = NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2; print m, v[1] }' "$work/$number"
  done | awk -v title="$1" '{ m[NR] = $1; cell[NR] = sprintf("%.1f (%.1f)", $1, $2) }
    END { printf "| %s | %s | %s | %s | %.2f |\n", title, cell[1], cell[2], cell[3], m[1] / m[2] }'
}
calls() {
  strace -f -qq -c -o "$work/calls" "$@" >/dev/null 2>&1
  awk '$NF == "total" { print $4 }' "$work/calls"
}

echo "n = $runs, $(uname -sr), $(tupper-runtime --version | head -1), $(crun --version | head -1), $(runc --version | head -1)"
echo
echo "| ms: median (minimum) | tupper | crun | runc | tupper / crun |"
echo "| --- | --- | --- | --- | --- |"
"$measure" "$runs" 5 0 :: "$tupper" run t :: "$crun" run c :: "$runc" run r >"$work/run" 2>"$work/warnings"
row "run \`true\`" "$work/run"
"$measure" "$runs" 5 0 :: "$tupper" create t ';;' "$tupper" start t ';;' "$tupper" delete --force t \
  :: "$crun" create c ';;' "$crun" start c ';;' "$crun" delete --force c \
  :: "$runc" create r ';;' "$runc" start r ';;' "$runc" delete --force r >"$work/create" 2>"$work/warnings"
row "create, start, delete of \`true\`" "$work/create"
for pair in tupper-runtime:t crun:c runc:r; do ${pair%:*} run --detach --bundle other "${pair#*:}x" </dev/null >/dev/null 2>&1; done
"$measure" "$runs" 5 0 :: "$tupper" exec tx true :: "$crun" exec cx true :: "$runc" exec rx true >"$work/exec" 2>"$work/warnings"
row "exec \`true\`" "$work/exec"
echo "| system calls of run | $(calls tupper-runtime run t) | $(calls crun run c) | $(calls runc run r) | |"
echo "| system calls of exec | $(calls tupper-runtime exec tx true) | $(calls crun exec cx true) | $(calls runc exec rx true) | |"
for pair in tupper-runtime:t crun:c runc:r; do ${pair%:*} delete --force "${pair#*:}x"; done
