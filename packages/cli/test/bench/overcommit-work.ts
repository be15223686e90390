/** What machines do that use more memory than there is: for `bench:overcommit` and `bench:daemon-overcommit`. */

/** Fills two files in memory of `mib` together, one that packs and one that does not, and reads them again `rounds` times; fails where a byte is another. */
export function overcommitWork(mib: number, rounds: number): string {
  const half = Math.floor(mib / 2);
  return `
mkdir -p /data && mount -t tmpfs -o size=90% none /data && cd /data || exit 1
name=$(hostname)
dd if=/dev/urandom of=noise bs=1M count=${half} 2>/dev/null || exit 1
i=0; while [ $i -lt 1024 ]; do echo "$name $i of $$"; i=$((i+1)); done > seed
while [ $(stat -c %s seed) -lt 1048576 ]; do cat seed seed > more; mv more seed; done
i=0; while [ $i -lt ${half} ]; do { head -c 1048560 seed; echo $i; } >> text || exit 1; i=$((i+1)); done
rm seed
first=$(cat noise text | sha256sum)
round=0; while [ $round -lt ${rounds} ]; do
  [ "$(cat noise text | sha256sum)" = "$first" ] || { echo "other bytes in round $round"; exit 2; }
  round=$((round+1))
done; echo same`;
}
