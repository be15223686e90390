/**
 * Debian's fio on Ringfence and on QEMU, side by side: the image `debian` with the package fio on both, a copy of the same qcow2 file as the
 * disk it loads, past the guest's page cache (direct=1, libaio), cache mode writeback.
 *
 *     npx node tools/bench/fio.ts [OPTIONS]
 *
 * The image is made on the first use, which takes minutes. Rounds alternate between the two, and the median of each counts.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { scriptOptions } from '@ringfence/core/testing/script-options';
import { buildMachine } from '@ringfence/host';
import { debianArchive, loadDebian, readNoCloud } from '@ringfence/images';
import { diskRounds, fullDisk } from './disk-rounds.ts';
import { type Side, sideBySide } from './side-by-side.ts';

const ROOT = join(import.meta.dirname, '../..');
const RUN_TIMEOUT_MS = 1_200_000;
const MEMORY = '1024M';
/** Where each side finds the disk: the system's own disk comes first. */
const DEVICE = '/dev/vdb';

/** What is done, the size of a request, how many at once. */
const JOBS = [
  ['randread', '4k', 1],
  ['randread', '4k', 32],
  ['randwrite', '4k', 1],
  ['randwrite', '4k', 32],
  ['randrw', '16k', 8],
  ['read', '128k', 4],
  ['write', '128k', 4],
  ['read', '1m', 2],
  ['write', '1m', 2],
] as const;

const values = scriptOptions('npx node tools/bench/fio.ts', 'Jobs of fio in Debian on a disk, beside QEMU’s.', {
  rounds: { default: 1, says: 'rounds of each' },
  seconds: { default: 5, says: 'seconds of a job' },
  megabytes: { default: 512, says: 'of the disk' },
  suite: { says: 'Debian’s suite' },
  only: { choices: ['ringfence', 'qemu'], says: 'one of the two' },
  jobs: { choices: JOBS.map(nameOf), several: true, says: 'these jobs alone' },
});

function nameOf([mode, bytes, depth]: (typeof JOBS)[number]): string {
  return `${mode}-${bytes}-${depth}`;
}

const chosen = JOBS.filter((job) => values.jobs?.split(',').includes(nameOf(job)) ?? true);

/** Says `FIO name reads/s writes/s` for each job: fields 8 and 49 of fio's terse output, version 3. */
const script = [
  'set -e',
  'systemctl is-system-running --wait >/dev/null || true',
  ...chosen.map((job) => {
    const [mode, bytes, depth] = job;
    const options = [
      `--name=${nameOf(job)}`,
      `--filename=${DEVICE}`,
      `--rw=${mode}`,
      `--bs=${bytes}`,
      `--iodepth=${depth}`,
      '--direct=1',
      '--ioengine=libaio',
      '--time_based',
      '--ramp_time=2',
      `--runtime=${values.seconds}`,
      '--randseed=7',
      '--output-format=terse',
      '--terse-version=3',
    ];
    return `fio ${options.join(' ')} | awk -F';' '/^3;/ {print "FIO", $3, $8, $49}'`;
  }),
].join('\n');

async function measure(child: ChildProcess): Promise<Map<string, number>> {
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), RUN_TIMEOUT_MS);
  await once(child, 'close');
  clearTimeout(timer);
  const figures = new Map<string, number>();
  for (const [, name = '', reads, writes] of text.matchAll(/FIO (\S+) (\d+) (\d+)/g))
    figures.set(name, Number(reads) + Number(writes));
  if (figures.size < chosen.length)
    throw new Error(
      `the guest reported ${figures.size} of ${chosen.length} jobs; the end of what it said:\n${text.slice(-2000)}`,
    );
  return figures;
}

const folder = mkdtempSync(join(tmpdir(), 'ringfence-fio-'));
try {
  const image = await loadDebian({ suite: values.suite, packages: ['fio'], machine: buildMachine });
  const whole = fullDisk(folder, values.megabytes);
  const disk = join(folder, 'disk.qcow2');

  // Beside the start of the system: the script waits for its end, and it for these commands.
  const data = await readNoCloud({
    userData: `#cloud-config\nruncmd:\n  - [systemd-run, --no-block, --expand-environment=no, bash, -c, ${JSON.stringify(`(${script}) >/dev/ttyS0 2>&1; sync; poweroff -f`)}]\n`,
  });
  const guest = debianArchive({
    hostname: 'fio',
    network: undefined,
    settings: image.apt,
    data,
    instanceId: 'fio',
  });
  const initrd = join(folder, 'initrd');
  writeFileSync(initrd, Buffer.concat([image.initrd, guest]));

  const sides: Readonly<Record<Side, () => Promise<Map<string, number>>>> = {
    ringfence() {
      const options = ['--packages', 'fio', '--net', 'none', '--memory', MEMORY, '--disk', `${disk},cache=writeback`];
      if (values.suite !== undefined) options.push('--suite', values.suite);
      const words = [
        join(ROOT, 'packages/cli/bin/ringfence.js'),
        'run',
        'debian',
        ...options,
        '--',
        'bash',
        '-c',
        script,
      ];
      return measure(spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] }));
    },
    qemu() {
      const system = join(folder, 'system.qcow2');
      execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', image.diskPath, '-F', 'qcow2', system]);
      const drives = [system, disk].flatMap((file, index) => [
        '-drive',
        `file=${file},format=qcow2,if=none,id=d${index},cache=writeback,discard=unmap`,
        '-device',
        `virtio-blk-pci,drive=d${index}`,
      ]);
      const append = ['console=ttyS0', 'quiet', ...image.kernelParameters].join(' ');
      const machine = ['-M', 'virt', '-m', MEMORY, '-nographic', '-no-reboot', '-nic', 'none'];
      const words = [...machine, ...drives, '-kernel', image.kernelPath, '-initrd', initrd, '-append', append];
      return measure(spawn('qemu-system-riscv64', words, { stdio: ['ignore', 'pipe', 'inherit'] }));
    },
  };

  const measured = await diskRounds({ whole, disk, rounds: values.rounds, only: values.only }, sides);
  console.log(`\n${sideBySide('fio, requests a second (mode-size-depth)', chosen.map(nameOf), measured).join('\n')}`);
} finally {
  rmSync(folder, { recursive: true });
}
