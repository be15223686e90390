#!/bin/sh
# Runs programs of the benchmark, in the guest (busybox sh) and natively: `B=FOLDER T=SCRATCH sh suite.sh NAME...`. What it prints:
#
#     USERLAND                      as soon as it runs
#     START name                    before each program
#     RESULT name seconds check     one or more per program; the check is the same on every engine
#     END                           when all of them have run
#
# Names: loop sha nbody nofma matmul chase sort memcpy sieve indir fork bbtrue sys pipe fault churn sig ash gzip sha256sum
echo USERLAND
B=${B:-/bench}
T=${T:-/tmp}
text() { [ -f "$T/text" ] || "$B/kern" mkfile "$T/text"; }
for name; do
  case $name in gzip | sha256sum) text ;; esac
  echo "START $name"
  case $name in
    loop) "$B/loop" ;;
    nofma) "$B/kern_nofma" nbody ;;
    fork) "$B/kern" fork "$B/true" ;;
    bbtrue)
      ln -sf "$(command -v busybox)" "$T/true"
      "$B/kern" fork "$T/true" | sed s/forkexec200/forkexec200bb/
      ;;
    ash) "$B/kern" time ashloop200k busybox sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done' ;;
    gzip)
      "$B/kern" time gzip32MB busybox gzip -c "$T/text" >"$T/text.gz"
      "$B/kern" time gunzip32MB busybox gunzip -c "$T/text.gz" >/dev/null
      ;;
    sha256sum) "$B/kern" time bbsha256sum32MB busybox sha256sum "$T/text" ;;
    *) "$B/kern" "$name" ;;
  esac
done
echo END
