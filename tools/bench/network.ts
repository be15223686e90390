/**
 * How fast a guest's TCP is through our gateway and through QEMU's user network (slirp), side by side: the same kernel, the same image, the
 * same program in the guest (guest/net.c), the same servers on this computer's loopback.
 *
 *     npx node tools/bench/network.ts [--megabytes N] [--asks N] [--suite NAME] [--engine NAME] [--only ringfence|qemu]
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openTiny } from '@ringfence/images';

const ROOT = join(import.meta.dirname, '../..');
const RUN_TIMEOUT_MS = 300_000;

interface Result {
  readonly what: string;
  readonly count: number;
  readonly seconds: number;
}

const { values } = parseArgs({
  options: {
    megabytes: { type: 'string', default: '200' },
    asks: { type: 'string', default: '500' },
    suite: { type: 'string', default: 'stable' },
    engine: { type: 'string' },
    only: { type: 'string' },
  },
});
const bytes = Number(values.megabytes) * 1e6;

/** All that the guest prints, until it ends by itself. */
async function output(child: ChildProcess, input: Uint8Array | undefined): Promise<string> {
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(input);
  const timer = setTimeout(() => child.kill('SIGKILL'), RUN_TIMEOUT_MS);
  await once(child, 'close');
  clearTimeout(timer);
  return text;
}

function results(text: string): Result[] {
  return Array.from(text.matchAll(/NET (\w+) (\d+) ([\d.]+)/g), ([, what = '', count, seconds]) => ({
    what,
    count: Number(count),
    seconds: Number(seconds),
  }));
}

const folder = mkdtempSync(join(tmpdir(), 'ringfence-bench-'));
const server = spawn(process.execPath, [join(import.meta.dirname, 'network-server.ts')], {
  stdio: ['pipe', 'pipe', 'inherit'],
});
try {
  const program = join(folder, 'bench/net');
  mkdirSync(join(folder, 'bench'));
  execFileSync('riscv64-linux-gnu-gcc', [
    '-O2',
    '-static',
    '-s',
    '-o',
    program,
    join(import.meta.dirname, 'guest/net.c'),
  ]);
  const [ports] = (await once(server.stdout, 'data')) as [Buffer];
  const [source, sink, echo] = ports.toString().trim().split(' ');
  const script = [
    `until ip route | grep -q default; do sleep 0.1; done`,
    `$1 receive 10.0.2.2 ${source} ${bytes}`,
    `$1 send 10.0.2.2 ${sink} ${bytes}`,
    `$1 ask 10.0.2.2 ${echo} ${values.asks}`,
  ].join('; ');
  const image = await openTiny({ suite: values.suite });

  const measured = new Map<string, Result[]>();
  if (values.only !== 'qemu') {
    const command = `cat >/tmp/net; chmod +x /tmp/net; set -- /tmp/net; ${script}`;
    const words = [
      join(ROOT, 'packages/cli/bin/ringfence.js'),
      'run',
      '--suite',
      values.suite,
      ...(values.engine === undefined ? [] : ['--engine', values.engine]),
      '--',
      'sh',
      '-c',
      command,
    ];
    const child = spawn(process.execPath, words, { stdio: ['pipe', 'pipe', 'inherit'] });
    measured.set('ringfence', results(await output(child, readFileSync(program))));
  }
  if (values.only !== 'ringfence') {
    mkdirSync(join(folder, 'root'));
    writeFileSync(join(folder, 'root/.profile'), `set -- /bench/net; ${script}; poweroff -f\n`);
    const archive = execFileSync('sh', ['-c', 'cd "$0" && find bench root | cpio --quiet -o -H newc -R 0:0', folder]);
    const initrd = join(folder, 'initrd');
    writeFileSync(initrd, Buffer.concat([readFileSync(image.initrdPath), archive]));
    const words = [
      '-M',
      'virt',
      '-m',
      '512M',
      '-nographic',
      '-no-reboot',
      '-kernel',
      image.kernelPath,
      '-initrd',
      initrd,
    ];
    const network = ['-netdev', 'user,id=n', '-device', 'virtio-net-pci,netdev=n,romfile='];
    const append = ['-append', ['console=ttyS0', 'quiet', ...image.kernelParameters].join(' ')];
    const child = spawn('qemu-system-riscv64', [...words, ...network, ...append], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    measured.set('qemu', results(await output(child, undefined)));
  }
  for (const [engine, list] of measured) {
    for (const { what, count, seconds } of list) {
      const speed =
        what === 'ask'
          ? `${((seconds / count) * 1e6).toFixed(0)} us a question`
          : `${((count * 8) / seconds / 1e6).toFixed(0)} Mbit/s`;
      console.log(`${engine.padEnd(10)} ${what.padEnd(8)} ${speed}`);
    }
  }
  const [ours, theirs] = [measured.get('ringfence') ?? [], measured.get('qemu') ?? []];
  for (const { what, count, seconds } of ours) {
    const other = theirs.find((result) => result.what === what);
    if (other)
      console.log(`${what.padEnd(8)} ${(count / seconds / (other.count / other.seconds)).toFixed(2)} times QEMU's`);
  }
} finally {
  server.stdin.end();
  rmSync(folder, { recursive: true });
}
