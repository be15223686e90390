/**
 * How quick a guest's disk is on Ringfence and on QEMU, side by side: the same kernel, the same image, the same program in the guest
 * (guest/disk.c, which goes past the guest's page cache), a copy of the same qcow2 file, the same cache mode (writeback).
 *
 *     npx node tools/bench/disk.ts [OPTIONS]
 *
 * Rounds alternate between the two, and the median of each counts: whatever else the computer does falls on both.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { scriptOptions } from '@ringfence/core/testing/script-options';
import { openTiny } from '@ringfence/images';
import { diskRounds, fullDisk } from './disk-rounds.ts';
import { type Side, sideBySide } from './side-by-side.ts';

const ROOT = join(import.meta.dirname, '../..');
const RUN_TIMEOUT_MS = 600_000;

/** Mode, bytes of a request, requests at once. */
const LOADS = [
  ['randread', 4096, 1],
  ['randread', 4096, 32],
  ['randwrite', 4096, 1],
  ['randwrite', 4096, 32],
  ['sync', 4096, 1],
  ['read', 131_072, 4],
  ['write', 131_072, 4],
  ['read', 1_048_576, 2],
] as const;

const values = scriptOptions('npx node tools/bench/disk.ts', 'Loads on a disk, beside QEMU’s.', {
  rounds: { default: 1, says: 'rounds of each' },
  seconds: { default: 3, says: 'seconds of a load' },
  megabytes: { default: 256, says: 'of the disk' },
  suite: { default: 'stable', says: 'Debian’s suite' },
  engine: { choices: ['interpreter', 'jit'], says: 'Ringfence’s engine' },
  only: { choices: ['ringfence', 'qemu'], says: 'one of the two' },
  loads: { choices: LOADS.map(nameOf), several: true, says: 'these loads alone' },
});

const chosenLoads = LOADS.filter((load) => values.loads?.split(',').includes(nameOf(load)) ?? true);

function nameOf([mode, bytes, depth]: (typeof LOADS)[number]): string {
  return `${mode}-${bytes / 1024}k-${depth}`;
}

/** Requests a second of each load that a guest reports until it ends. */
async function measure(child: ChildProcess, input: Uint8Array | undefined): Promise<Map<string, number>> {
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(input);
  const timer = setTimeout(() => child.kill('SIGKILL'), RUN_TIMEOUT_MS);
  await once(child, 'close');
  clearTimeout(timer);
  const lines = text.matchAll(/DISK (\S+) (\d+) ([\d.]+) (\d+)/g);
  return new Map(Array.from(lines, ([, what = '', count, seconds]) => [what, Number(count) / Number(seconds)]));
}

const folder = mkdtempSync(join(tmpdir(), 'ringfence-bench-'));
try {
  const program = join(folder, 'bench/disk');
  mkdirSync(join(folder, 'bench'));
  execFileSync('riscv64-linux-gnu-gcc', [
    '-O2',
    '-static',
    '-s',
    '-o',
    program,
    join(import.meta.dirname, 'guest/disk.c'),
  ]);
  const script = chosenLoads.map((words) => `$1 /dev/vda ${words.join(' ')} ${values.seconds}`).join('; ');
  const image = await openTiny({ suite: values.suite });
  mkdirSync(join(folder, 'root'));
  writeFileSync(join(folder, 'root/.profile'), `set -- /bench/disk; ${script}; poweroff -f\n`);
  const archive = execFileSync('sh', ['-c', 'cd "$0" && find bench root | cpio --quiet -o -H newc -R 0:0', folder]);
  const initrd = join(folder, 'initrd');
  writeFileSync(initrd, Buffer.concat([readFileSync(image.initrdPath), archive]));
  const whole = fullDisk(folder, values.megabytes);

  const disk = join(folder, 'disk.qcow2');
  const sides: Readonly<Record<Side, () => Promise<Map<string, number>>>> = {
    ringfence() {
      const command = `cat >/tmp/disk; chmod +x /tmp/disk; set -- /tmp/disk; ${script}`;
      const options = ['--suite', values.suite, '--net', 'none', '--disk', `${disk},cache=writeback`];
      if (values.engine !== undefined) options.push('--engine', values.engine);
      const words = [join(ROOT, 'packages/cli/bin/ringfence.js'), 'run', ...options, '--', 'sh', '-c', command];
      return measure(spawn(process.execPath, words, { stdio: ['pipe', 'pipe', 'inherit'] }), readFileSync(program));
    },
    qemu() {
      const append = ['console=ttyS0', 'quiet', ...image.kernelParameters].join(' ');
      const machine = ['-M', 'virt', '-m', '512M', '-nographic', '-no-reboot', '-nic', 'none'];
      const drive = ['-drive', `file=${disk},format=qcow2,if=none,id=d,cache=writeback,discard=unmap`];
      const words = [...machine, ...drive, '-device', 'virtio-blk-pci,drive=d', '-kernel', image.kernelPath];
      const child = spawn('qemu-system-riscv64', [...words, '-initrd', initrd, '-append', append], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      return measure(child, undefined);
    },
  };

  const measured = await diskRounds({ whole, disk, rounds: values.rounds, only: values.only }, sides);
  console.log(`\n${sideBySide('requests a second (mode-size-depth)', chosenLoads.map(nameOf), measured).join('\n')}`);
} finally {
  rmSync(folder, { recursive: true });
}
