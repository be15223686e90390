/**
 * How quick a guest's TCP is through our gateway and through QEMU's user network (slirp), side by side: the same kernel, the same image, the
 * same program in the guest (guest/net.c), the same servers on this computer's loopback.
 *
 *     guest -> host   receive, send: one connection that is kept full     ask: one octet there and back, one after the other
 *     host -> guest   serve: a small web server in the guest, asked over several connections through a published port
 *
 *     npx node tools/bench/network.ts [OPTIONS]
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
import { freePort } from './free-port.ts';
import { median } from './statistics.ts';

const ROOT = join(import.meta.dirname, '../..');
const RUN_TIMEOUT_MS = 600_000;
/** Where the guest's web server listens. */
const GUEST_PORT = 8080;

const values = scriptOptions('npx node tools/bench/network.ts', 'What a guest’s network carries, beside QEMU’s.', {
  rounds: { default: 1, says: 'rounds of each' },
  megabytes: { default: 500, says: 'megabytes in each direction' },
  asks: { default: 5000, says: 'questions' },
  seconds: { default: 10, says: 'seconds of requests' },
  connections: { default: 16, says: 'connections at once' },
  suite: { default: 'stable', says: 'Debian’s suite' },
  engine: { choices: ['interpreter', 'jit'], says: 'Ringfence’s engine' },
  only: { choices: ['ringfence', 'qemu'], says: 'one of the two' },
});

type Side = 'ringfence' | 'qemu';

/** What is measured, and how a figure of the guest's or of the load's becomes one that is better the larger it is. */
const UNITS: Readonly<
  Record<string, { readonly name: string; readonly of: (count: number, seconds: number) => number }>
> = {
  receive: { name: 'Mbit/s', of: (count, seconds) => (count * 8) / seconds / 1e6 },
  send: { name: 'Mbit/s', of: (count, seconds) => (count * 8) / seconds / 1e6 },
  ask: { name: 'questions/s', of: (count, seconds) => count / seconds },
  serve: { name: 'requests/s', of: (count, seconds) => count / seconds },
};

/** Asks the guest's web server; its end is the guest's program's end. */
async function load(port: number): Promise<{ readonly perSecond: number; readonly says: string }> {
  const words = [
    join(import.meta.dirname, 'network-load.ts'),
    `${port}`,
    String(values.connections),
    String(values.seconds),
  ];
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  await once(child, 'close');
  const [answers = 0, failures = 0, seconds = 1, middle = 0, late = 0] = text.trim().split(' ').map(Number);
  return {
    perSecond: answers / seconds,
    says: `${failures} failed of ${answers + failures}; half within ${middle} us, 99 % within ${late} us`,
  };
}

async function serve(port: number, figures: Map<string, number>): Promise<void> {
  const { perSecond, says } = await load(port);
  figures.set('serve', perSecond);
  console.log(`    serve: ${says}`);
}

/** Runs a guest to its end and gives what it and the load measured. */
async function measure(child: ChildProcess, input: Uint8Array | undefined, port: number): Promise<Map<string, number>> {
  const figures = new Map<string, number>();
  let text = '';
  let loading: Promise<void> | undefined;
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
    if (loading !== undefined || !text.includes('NET serving')) return;
    loading = serve(port, figures);
  });
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(input);
  const timer = setTimeout(() => child.kill('SIGKILL'), RUN_TIMEOUT_MS);
  await once(child, 'close');
  clearTimeout(timer);
  await loading;
  for (const [, what = '', count, seconds] of text.matchAll(/NET (\w+) (\d+) ([\d.]+)/g))
    figures.set(what, UNITS[what]?.of(Number(count), Number(seconds)) ?? NaN);
  return figures;
}

const folder = mkdtempSync(join(tmpdir(), 'ringfence-bench-'));
const server = spawn(process.execPath, [join(import.meta.dirname, 'network-server.ts')], {
  stdio: ['pipe', 'pipe', 'inherit'],
});
try {
  const program = join(folder, 'bench/net');
  mkdirSync(join(folder, 'bench'));
  const compiling = ['-O2', '-static', '-s', '-o', program, join(import.meta.dirname, 'guest/net.c')];
  execFileSync('riscv64-linux-gnu-gcc', compiling);
  const [ports] = (await once(server.stdout, 'data')) as [Buffer];
  const [source, sink, echo] = ports.toString().trim().split(' ');
  const bytes = values.megabytes * 1e6;
  const script = [
    `until ip route | grep -q default; do sleep 0.1; done`,
    `$1 receive 10.0.2.2 ${source} ${bytes}`,
    `$1 send 10.0.2.2 ${sink} ${bytes}`,
    `$1 ask 10.0.2.2 ${echo} ${values.asks}`,
    `$1 serve ${GUEST_PORT}`,
  ].join('; ');
  const image = await openTiny({ suite: values.suite });
  mkdirSync(join(folder, 'root'));
  writeFileSync(join(folder, 'root/.profile'), `set -- /bench/net; ${script}; poweroff -f\n`);
  const archive = execFileSync('sh', ['-c', 'cd "$0" && find bench root | cpio --quiet -o -H newc -R 0:0', folder]);
  const initrd = join(folder, 'initrd');
  writeFileSync(initrd, Buffer.concat([readFileSync(image.initrdPath), archive]));

  const sides: Readonly<Record<Side, () => Promise<Map<string, number>>>> = {
    async ringfence() {
      const port = await freePort();
      const command = `cat >/tmp/net; chmod +x /tmp/net; set -- /tmp/net; ${script}`;
      const options = ['--suite', values.suite, '--publish', `127.0.0.1:${port}:${GUEST_PORT}`];
      if (values.engine !== undefined) options.push('--engine', values.engine);
      const words = [join(ROOT, 'packages/cli/bin/ringfence.js'), 'run', ...options, '--', 'sh', '-c', command];
      const child = spawn(process.execPath, words, { stdio: ['pipe', 'pipe', 'inherit'] });
      return measure(child, readFileSync(program), port);
    },
    async qemu() {
      const port = await freePort();
      const append = ['console=ttyS0', 'quiet', ...image.kernelParameters].join(' ');
      const machine = ['-M', 'virt', '-m', '512M', '-nographic', '-no-reboot', '-kernel', image.kernelPath];
      const network = [
        '-netdev',
        `user,id=n,hostfwd=tcp:127.0.0.1:${port}-:${GUEST_PORT}`,
        '-device',
        'virtio-net-pci,netdev=n,romfile=',
      ];
      const words = [...machine, '-initrd', initrd, ...network, '-append', append];
      const child = spawn('qemu-system-riscv64', words, { stdio: ['ignore', 'pipe', 'inherit'] });
      return measure(child, undefined, port);
    },
  };

  const measured: Record<Side, Map<string, number[]>> = { ringfence: new Map(), qemu: new Map() };
  for (let round = 1; round <= values.rounds; round++) {
    for (const side of ['ringfence', 'qemu'] as const) {
      if (values.only !== undefined && values.only !== side) continue;
      console.log(`round ${round}, ${side}`);
      for (const [what, figure] of await sides[side]()) {
        console.log(`    ${what.padEnd(8)} ${figure.toFixed(0)} ${UNITS[what]?.name ?? ''}`);
        measured[side].set(what, [...(measured[side].get(what) ?? []), figure]);
      }
    }
  }
  console.log('\nmedians          ringfence       qemu   ratio');
  for (const what of Object.keys(UNITS)) {
    const [ours, theirs] = [measured.ringfence.get(what), measured.qemu.get(what)].map(
      (figures) => figures && median(figures),
    );
    const ratio = ours !== undefined && theirs !== undefined ? (ours / theirs).toFixed(2) : '-';
    const cells = [ours, theirs].map((figure) => (figure?.toFixed(0) ?? '-').padStart(10));
    console.log(`${what.padEnd(16)}${cells.join(' ')} ${ratio.padStart(7)}   ${UNITS[what]?.name ?? ''}`);
  }
} finally {
  server.stdin.end();
  rmSync(folder, { recursive: true });
}
