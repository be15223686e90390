/** Debian's own kernels boot to userland, find every device, and run a script with the right output. */

import { createHash } from 'node:crypto';
import { MemoryBlockStore } from '@ringfence/core';
import { OPENSBI, debianFile, missing } from '@ringfence/core/testing/firmware';
import { DEFAULT_TIER, BOOTING_TIERS } from '@ringfence/core/testing/tiers';
import { describe, expect, test } from 'vitest';
import { Guest } from './testing/guest.ts';

/** Prints what can be known beforehand: one line for each thing that must work. */
const SCRIPT = String.raw`
uname -s -m
echo "input: $(cat)"
seq 1 100 | awk '{ sum += $1 * $1; harmonic += 1 / $1 } END { printf "sum %d %.9f\n", sum, harmonic }'
printf 'pear\napple\nfig\n' | sort | tr a-z A-Z | tr '\n' ' '; echo
seq 1 50000 | sha256sum
seq 1 50000 | gzip -c | gunzip -c | wc -c
mkdir -p /tmp/a/b && echo hello >/tmp/a/b/file && find /tmp/a -type f && sed s/l/L/g /tmp/a/b/file
(exit 3); echo "status $?"
trap 'echo caught' TERM; kill -TERM $$
sleep 0.2 & wait $! && echo slept
expr $(date +%Y) '>' 2023
echo 'to stderr' >&2
exit 42
`;

const NUMBERS = Array.from({ length: 50_000 }, (_, index) => `${index + 1}\n`).join('');
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

const EXPECTED = `Linux riscv64
input: a line from the host
sum 338350 5.187377518
APPLE FIG PEAR 
${sha256(NUMBERS)}  -
${NUMBERS.length}
/tmp/a/b/file
heLLo
status 3
caught
slept
1
`;

async function runScript(guest: Guest): Promise<void> {
  guest.feed('a line from the host\n', true);
  expect(await guest.end()).toEqual({ kind: 'poweroff' });
  expect(guest.stdout.text).toBe(EXPECTED);
  expect(guest.stderr.text).toBe('to stderr\n');
  expect(guest.control.text).toBe('ready\nexit 42\n');
}

describe.each(['stable', 'testing'] as const)("Debian's kernel of suite %s", (suite) => {
  // The whole way to userland is long: on each tier once.
  test.each(suite === 'stable' ? BOOTING_TIERS : [DEFAULT_TIER])(
    'boots to userland and runs a script of busybox commands; its output, errors and exit code stay apart (%s)',
    async (engine) => {
      await runScript(await Guest.create({ suite, argv: ['sh', '-c', SCRIPT], engine }));
    },
  );

  test('has a disk, randomness and a clock', async () => {
    const content = new Uint8Array(4 << 20);
    content.set(new TextEncoder().encode('written by the host\n'), 512);
    let flushes = 0;
    class CountingStore extends MemoryBlockStore {
      override flush(): Promise<void> {
        flushes++;
        return super.flush();
      }
    }
    const guest = await Guest.create({
      suite,
      disks: [{ store: new CountingStore(content), serial: 'disk-of-the-test' }],
      argv: [
        'sh',
        '-c',
        String.raw`
        cat /sys/block/vda/size /sys/block/vda/serial; echo
        dd if=/dev/vda bs=512 skip=1 count=1 2>/dev/null | head -n 1
        yes 'written by the guest' | head -c 1000000 | dd of=/dev/vda bs=4096 seek=256 conv=fsync 2>/dev/null
        dd if=/dev/vda bs=4096 skip=256 count=245 2>/dev/null | head -c 1000000 | md5sum
        cat /sys/class/misc/hw_random/rng_current
        dd if=/dev/hwrng bs=64 count=4 2>/dev/null | wc -c
        [ "$(head -c 16 /dev/hwrng | md5sum)" != "$(head -c 16 /dev/hwrng | md5sum)" ] && echo different
        cat /sys/class/rtc/rtc0/since_epoch || date +%s
      `,
      ],
    });
    guest.feed('', true);
    const before = Date.now() / 1000;
    expect(await guest.end()).toEqual({ kind: 'poweroff' });
    const lines = guest.stdout.text.split('\n');
    const written = Buffer.alloc(1_000_000, 'written by the guest\n');
    expect(lines.slice(0, 7)).toEqual([
      '8192',
      'disk-of-the-test',
      'written by the host',
      `${createHash('md5').update(written).digest('hex')}  -`,
      'virtio_rng.0',
      '256',
      'different',
    ]);
    expect(Buffer.from(content.subarray(1 << 20, (1 << 20) + 1_000_000)).equals(written)).toBe(true);
    expect(flushes).toBeGreaterThan(0);
    expect(Number(lines[7])).toBeGreaterThanOrEqual(Math.floor(before) - 1);
    expect(Number(lines[7])).toBeLessThanOrEqual(Date.now() / 1000 + 1);
    expect(guest.stderr.text).toBe('');
    expect(guest.control.text).toBe('ready\nexit 0\n');
  });
});

const absent = missing(OPENSBI);

test.skipIf(absent !== undefined)(
  `OpenSBI starts Debian's kernel, which runs the same script${absent === undefined ? '' : `: ${absent}`}`,
  async () => {
    const guest = await Guest.create({ suite: 'stable', argv: ['sh', '-c', SCRIPT], firmware: debianFile(OPENSBI) });
    await runScript(guest);
    expect(guest.serial.text).toContain('OpenSBI v');
  },
);
