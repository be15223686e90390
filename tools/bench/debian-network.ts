/**
 * How quick real servers in a Debian guest are for this computer, and how quick QEMU's user network is beside it: the same kernel, the same
 * image of the system with nginx and iperf3, the same user data that starts them, wrk and iperf3 on this computer as clients of a published
 * port (QEMU: hostfwd).
 *
 *     wrk    -> nginx    requests a second, none failed; a large file
 *     iperf3 -> iperf3   receive: to the guest; send: from it (-R)
 *
 *     npx node tools/bench/debian-network.ts [OPTIONS]
 *
 * Rounds alternate between the two, and the median of each counts. Ends with 1 when a request failed.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { scriptOptions } from '@ringfence/core/testing/script-options';
import { guestInitrd, imageNamed } from '@ringfence/host';
import { freePort } from './free-port.ts';
import { median } from './statistics.ts';
import { parseIperf, parseWrk } from './network-clients.ts';

const ROOT = join(import.meta.dirname, '../..');
const PACKAGES = ['iperf3', 'nginx'];
const WEB_PORT = 80;
const IPERF_PORT = 5201;
const FILE_MEGABYTES = 128;
const FILE_TIMEOUT = '60s';
/** From the start of a machine until its servers answer. */
const READY_TIMEOUT_MS = 600_000;
const MEMORY = '1G';
/** Added to what a client was told to take, before it counts as stuck. */
const CLIENT_PATIENCE_MS = 60_000;

const values = scriptOptions(
  'npx node tools/bench/debian-network.ts',
  'A web server and iperf3 in Debian, beside QEMU’s.',
  {
    seconds: { default: 60, says: 'seconds of requests' },
    connections: { default: 16, says: 'connections at once' },
    'iperf-seconds': { default: 10, says: 'seconds in each direction' },
    rounds: { default: 1, says: 'rounds of each' },
    cpus: { default: 2, says: 'harts' },
    suite: { default: 'stable', says: 'Debian’s suite' },
    only: { choices: ['ringfence', 'qemu'], says: 'one of the two' },
  },
);

/** The system starts nginx by itself; the file says that everything else is there too. */
const USER_DATA = `#!/bin/sh
dd if=/dev/zero of=/dev/shm/large bs=1M count=${FILE_MEGABYTES} 2>/dev/null
ln -sf /dev/shm/large /var/www/html/large
iperf3 -s -D
echo yes >/var/www/html/ready
`;

interface Ports {
  readonly web: number;
  readonly iperf: number;
}

/** What is measured; all figures are better the larger they are, but for failures. */
const UNITS: Readonly<Record<string, string>> = {
  requests: 'requests/s',
  failed: 'failed requests',
  file: 'MB/s of a large file',
  receive: 'Mbit/s to the guest',
  send: 'Mbit/s from the guest',
};

/** The output of a client of this computer. */
function client(program: string, words: readonly string[], seconds: number): string {
  const timeout = seconds * 1000 + CLIENT_PATIENCE_MS;
  return execFileSync(program, words, { encoding: 'utf8', timeout, maxBuffer: 16 * 1024 ** 2 });
}

async function isAnswering(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const request = get({ host: '127.0.0.1', port, path: '/ready', timeout: 5000, agent: false }, (response) => {
    response.resume();
    response.on('end', () => resolve(response.statusCode === 200));
    response.on('error', () => resolve(false));
  });
  request.on('timeout', () => request.destroy());
  request.on('error', () => resolve(false));
  return promise;
}

/** Waits for a machine's servers, and measures them. */
async function measure(machine: ChildProcess, ports: Ports): Promise<Map<string, number>> {
  let said = '';
  for (const stream of [machine.stdout, machine.stderr])
    stream?.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-4000);
    });
  const ended = once(machine, 'close');
  try {
    const untilMs = performance.now() + READY_TIMEOUT_MS;
    while (!(await isAnswering(ports.web))) {
      if (machine.exitCode !== null || performance.now() > untilMs)
        throw new Error(`the guest's servers do not answer; the machine said last:\n${said}`);
      await delay(500);
    }
    const url = `http://127.0.0.1:${ports.web}`;
    const seconds = values.seconds;
    const page = parseWrk(
      client('wrk', ['-t1', `-c${values.connections}`, `-d${seconds}s`, '--latency', `${url}/`], seconds),
    );
    console.log(`    page: ${page.says}`);
    const fileSeconds = values['iperf-seconds'];
    // The large file may take longer than the two seconds after which wrk takes a request for failed.
    const words = ['-t1', '-c1', `-d${fileSeconds}s`, '--timeout', FILE_TIMEOUT, `${url}/large`];
    const file = parseWrk(client('wrk', words, fileSeconds));
    console.log(`    file: ${file.says}`);
    const throughput = (...more: string[]): number =>
      parseIperf(
        client(
          'iperf3',
          ['-c', '127.0.0.1', '-p', `${ports.iperf}`, '-t', String(values['iperf-seconds']), '-J', ...more],
          fileSeconds,
        ),
      );
    return new Map([
      ['requests', page.perSecond],
      ['failed', page.failed + file.failed],
      ['file', file.megabytesPerSecond],
      ['receive', throughput() / 1e6],
      ['send', throughput('-R') / 1e6],
    ]);
  } finally {
    if (machine.exitCode === null) machine.kill('SIGKILL');
    await ended;
  }
}

const folder = mkdtempSync(join(tmpdir(), 'ringfence-bench-'));
try {
  console.log(`the image: Debian ${values.suite} with ${PACKAGES.join(' and ')} (made now if it is not in the cache)`);
  const debian = imageNamed('debian');
  const image = await debian.load({
    suite: values.suite,
    packages: PACKAGES,
    userData: USER_DATA,
    onProgress: () => undefined,
  });
  const userData = join(folder, 'user-data');
  const initrd = join(folder, 'initrd');
  writeFileSync(userData, USER_DATA);
  writeFileSync(initrd, (await guestInitrd(debian, image, { hostname: 'debian', network: undefined })).bytes);

  const sides = {
    ringfence({ web, iperf }: Ports): ChildProcess {
      const words = [
        '--suite',
        values.suite,
        '--cpus',
        String(values.cpus),
        '--memory',
        MEMORY,
        '--user-data',
        userData,
      ];
      const publish = [`127.0.0.1:${web}:${WEB_PORT}`, `127.0.0.1:${iperf}:${IPERF_PORT}`];
      words.push('--packages', PACKAGES.join(','), ...publish.flatMap((port) => ['--publish', port]));
      const launcher = join(ROOT, 'packages/cli/bin/ringfence.js');
      return spawn(process.execPath, [launcher, 'run', 'debian', ...words, '--', 'sleep', 'infinity'], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
    },
    qemu({ web, iperf }: Ports): ChildProcess {
      const disk = join(folder, `disk-${web}.qcow2`);
      execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', image.diskPath ?? '', disk]);
      const forward = [`tcp:127.0.0.1:${web}-:${WEB_PORT}`, `tcp:127.0.0.1:${iperf}-:${IPERF_PORT}`];
      const words = ['-M', 'virt', '-smp', String(values.cpus), '-m', MEMORY, '-nographic', '-no-reboot'];
      words.push('-kernel', image.kernel.name, '-initrd', initrd);
      words.push('-append', ['console=ttyS0', 'panic=-1', ...image.kernelParameters].join(' '));
      words.push('-drive', `file=${disk},if=none,id=d,format=qcow2,cache=unsafe`, '-device', 'virtio-blk-pci,drive=d');
      words.push('-netdev', ['user,id=n', ...forward.map((port) => `hostfwd=${port}`)].join(','));
      words.push('-device', 'virtio-net-pci,netdev=n,romfile=');
      return spawn('qemu-system-riscv64', words, { stdio: ['ignore', 'pipe', 'pipe'] });
    },
  };

  const measured = { ringfence: new Map<string, number[]>(), qemu: new Map<string, number[]>() };
  for (let round = 1; round <= values.rounds; round++) {
    for (const side of ['ringfence', 'qemu'] as const) {
      if (values.only !== undefined && values.only !== side) continue;
      console.log(`round ${round}, ${side}`);
      const ports = { web: await freePort(), iperf: await freePort() };
      for (const [what, figure] of await measure(sides[side](ports), ports)) {
        console.log(`    ${what.padEnd(8)} ${figure.toFixed(0)} ${UNITS[what] ?? ''}`);
        measured[side].set(what, [...(measured[side].get(what) ?? []), figure]);
      }
    }
  }
  console.log('\nmedians          ringfence       qemu   ratio');
  for (const [what, unit] of Object.entries(UNITS)) {
    const [ours, theirs] = [measured.ringfence.get(what), measured.qemu.get(what)].map(
      (figures) => figures && median(figures),
    );
    const isRatio = ours !== undefined && theirs !== undefined && what !== 'failed';
    const cells = [ours, theirs].map((figure) => (figure?.toFixed(0) ?? '-').padStart(10));
    const ratio = isRatio ? (ours / theirs).toFixed(2) : '-';
    console.log(`${what.padEnd(16)}${cells.join(' ')} ${ratio.padStart(7)}   ${unit}`);
  }
  const failures = measured.ringfence.get('failed') ?? [];
  if (failures.some((count) => count > 0)) process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true });
}
