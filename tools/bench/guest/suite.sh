#!/bin/sh
# Runs programs of the benchmark, in the guest (busybox sh) and natively: `B=FOLDER T=SCRATCH sh suite.sh NAME...`. What it prints:
#
#     USERLAND                      as soon as it runs
#     START name                    before each program
#     RESULT name seconds check     one or more per program; the check is the same on every engine
#     END                           when all of them have run
#
# The names are those of programs.ts.
echo USERLAND
B=${B:-/bench}
T=${T:-/tmp}
export LC_ALL=C
text() { [ -f "$T/text" ] || "$B/kern" mkfile "$T/text"; }
words() { [ -f "$T/words" ] || "$B/wide" words "$T/words" 2000000; }
parts() {
  words
  [ -d "$T/parts" ] || { mkdir "$T/parts" && (cd "$T/parts" && split -l 200 "$T/words"); }
}
for name; do
  case $name in
    gzip | sha256sum) text ;;
    awk | bbsort | grep | sed | bzip2) words ;;
    tar) parts ;;
  esac
  echo "START $name"
  case $name in
    loop) "$B/loop" ;;
    nofma) "$B/kern_nofma" nbody ;;
    fork) "$B/kern" fork "$B/true" ;;
    bbtrue)
      # Not `command -v`: where busybox is the shell, that names itself without a path.
      for busybox in /bin/busybox /usr/bin/busybox; do [ -x $busybox ] && ln -sf $busybox "$T/true"; done
      "$B/kern" fork "$T/true" | sed s/forkexec200/forkexec200bb/
      ;;
    ash) "$B/kern" time ashloop200k busybox sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done' ;;
    gzip)
      "$B/kern" time gzip32MB busybox gzip -c "$T/text" >"$T/text.gz"
      "$B/kern" time gunzip32MB busybox gunzip -c "$T/text.gz" >/dev/null
      ;;
    sha256sum) "$B/kern" time bbsha256sum32MB busybox sha256sum "$T/text" ;;
    awk)
      "$B/wide" command awk busybox awk '
        { for (i = 2; i <= NF; i++) count[$i]++; sum += $1 % 97; if (length($0) > longest) longest = length($0) }
        END { for (word in count) total += count[word] * length(word); print NR, sum, longest, total }' "$T/words"
      ;;
    bbsort) "$B/wide" command bbsort busybox sort -k 2 "$T/words" ;;
    grep) "$B/wide" command grep busybox grep -c -E '(st|h)[oa].*(birds|light) |7[0-9]*9 ' "$T/words" ;;
    sed) "$B/wide" command sed busybox sed -e 's/\(river\|stone\) \([a-z]*\)/\2 \1/g' -e '/^[0-4]/d' "$T/words" ;;
    tar) "$B/wide" command tar sh -c 'cd "$0/parts" && for i in 1 2 3 4 5 6 7 8 9 10 11 12; do busybox tar cf - x?? | busybox tar xOf -; done' "$T" ;;
    bzip2) "$B/wide" command bzip2 sh -c 'busybox bzip2 -c "$0/words" | busybox bunzip2 -c | busybox md5sum' "$T" ;;
    sha | nbody | matmul | chase | sort | memcpy | sieve | indir | sys | pipe | fault | churn | sig) "$B/kern" "$name" ;;
    *) "$B/wide" "$name" "$T" ;;
  esac
done
echo END
