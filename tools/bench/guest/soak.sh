#!/bin/sh
# Mixed work for hours, in the guest (busybox sh): rounds that leave nothing behind, each of them with the same outcome. What it prints:
#
#     USERLAND               as soon as it runs
#     ROUND number check     after each round
#
# A round is what building software is like: scripts that write sources, programs that read and rewrite them, archives, checksums; storms
# of processes, mappings, signals and threads; and a program that writes code and calls it.
echo USERLAND
B=${B:-/bench}
T=${T:-/tmp}
export LC_ALL=C

# Writes 24 sources that include each other, "compiles" each into an object, and links the objects.
build() {
  mkdir "$T/src" "$T/obj"
  i=0
  while [ $i -lt 24 ]; do
    {
      echo "#include \"file$((i / 2)).h\""
      j=0
      while [ $j -lt 25 ]; do
        echo "int function_${i}_$j(int a, int b) { return a * $j + b - $((i * j)); }"
        j=$((j + 1))
      done
    } >"$T/src/file$i.c"
    i=$((i + 1))
  done
  for source in "$T"/src/*.c; do
    object="$T/obj/$(basename "$source" .c).o"
    awk '{ gsub(/[(){};,]/, " & "); for (i = 1; i <= NF; i++) print NR, $i }' "$source" | sort -k 2 | uniq -f 1 -c | gzip >"$object"
  done
  for object in "$T"/obj/*.o; do gunzip -c "$object"; done | sed 's/^ *//' | sort | md5sum
  (cd "$T" && tar cf - src | tar xOf - | wc -c)
  grep -c 'function_1.* \* 7 ' "$T"/src/file1*.c | md5sum
  rm -r "$T/src" "$T/obj"
}

storms() {
  "$B/kern" fork "$B/true"
  "$B/kern" pipe
  "$B/kern" fault
  "$B/kern" churn
  "$B/kern" sig
  for program in maps threads trees files strings format bytecode fft jump; do "$B/wide" $program "$T"; done
}

archive() {
  "$B/wide" words "$T/words" 800000
  gzip -c "$T/words" | gunzip -c | sha256sum
  sort "$T/words" | awk '{ sum += $1; words += NF } END { print sum, words }'
  rm "$T/words"
}

round=0
while :; do
  round=$((round + 1))
  # Of RESULT lines the name and the check: seconds differ.
  check=$({ build; archive; storms; } 2>&1 | awk '/^RESULT/ { print $2, $4; next } { print }' | md5sum | cut -c 1-16)
  echo "ROUND $round $check"
done
