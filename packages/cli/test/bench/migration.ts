/**
 * What moving a machine takes, between two daemons of this computer, and between two QEMUs in the same run: `npm run bench:migration`. A guest of 512 MiB that
 * does nothing, or writes 64 or 200 MiB again and again, and ticks every millisecond.
 *
 *     stood still   as the end that it left measured it: until it was heard to run at the other
 *     worst gap     between two ticks, as the guest saw it (its clock goes on meanwhile; QEMU's stands, so only other gaps are seen there)
 *     in all        from asking for it until it is done; of QEMU both processes are there already
 *
 * With --asked somebody outside asks the guest over TCP every millisecond, through a port that is published (of QEMU nobody does): the worst time
 * without an answer, in which the client connects again, as its connection ends when the machine moves.
 */

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { scriptOptions } from '@ringfence/core/testing/script-options';
import { openTiny } from '@ringfence/images';
import { cpioArchive } from '@ringfence/images/guest';
import { RealDaemon } from '../testing/daemon.ts';
import { AskingClient } from './asking-client.ts';

const values = scriptOptions('npm run bench:migration --', 'Machines that move between two daemons, beside QEMU’s.', {
  rounds: { default: 3, says: 'moves of each' },
  qemu: { default: true, says: 'Ringfence alone' },
  only: { choices: ['idle', '64', '200'], says: 'one load alone: none, or MiB that are written to' },
  'post-copy': { default: false, says: 'pages may follow' },
  asked: { default: false, says: 'somebody asks the guest over TCP all the time' },
});
const rounds = values.rounds;
const LOADS = ['idle', '64', '200'].filter((load) => values.only === undefined || values.only === load);
/** How long the guest writes before it is moved, and between two moves. */
const WARM_MS = 2500;
const TIMEOUT_MS = 60_000;
let machines = 0;

const folder = mkdtempSync(join(tmpdir(), 'ringfence-bench-'));
const COMPILER =
  'riscv64-linux-gnu-gcc -static -nostdlib -fno-tree-loop-distribute-patterns -O2 -s -Wl,--build-id=none'.split(' ');
const compiled = (name: string): string => {
  const path = join(folder, name);
  execFileSync(COMPILER[0] ?? '', [...COMPILER.slice(1), '-o', path, join(import.meta.dirname, `${name}.c`)]);
  return path;
};
const ticks = compiled('ticks');
/** A shell's words that bring a program there and run it. */
const program = (path: string, word: string): string =>
  `P=/tmp/${basename(path)}; echo ${readFileSync(path).toString('base64')} | base64 -d > $P; chmod +x $P; exec $P ${word}`;
const mebibytes = (load: string): string => (load === 'idle' ? '0' : load);
/** Where it is asked, in the guest. */
const ASKED_PORT = 7;

const say = (what: string, figures: readonly string[]): void =>
  void process.stdout.write(`${what.padEnd(34)}${figures.map((figure) => figure.padStart(16)).join('')}\n`);
const list = (numbers: readonly number[]): string => numbers.map((each) => each.toFixed(0)).join('/');

async function measureRingfence(load: string): Promise<void> {
  await using one = new RealDaemon({ listens: true });
  await using two = new RealDaemon({ listens: true });
  await Promise.all([one.start(), two.start()]);
  await one.trust(two);
  await two.trust(one);
  const port = values.asked ? await freePort() : undefined;
  const network = port === undefined ? {} : { network: 'user' as const, publish: [`${port}:${ASKED_PORT}`] };
  await one.create('moved', { memory: '512M', ...network });
  await one.client.run('vm.start', { vm: 'moved' });
  // It outlives the connection that it was started over, as that does not move.
  const start = (words: string, to: string): Promise<string> =>
    one.exec('moved', 'sh', '-c', `trap '' HUP; (${words}) >> ${to} 2>&1 < /dev/null & echo started`);
  await start(program(ticks, mebibytes(load)), '/tmp/gaps');
  if (port !== undefined) await start(program(compiled('answers'), `${ASKED_PORT}`), '/dev/null');
  const client = port === undefined ? undefined : new AskingClient(port);
  await client?.answers();
  await sleep(WARM_MS);
  let [from, to] = [one, two];
  const [stood, gaps, whole]: [number[], number[], number[]] = [[], [], []];
  const notes: string[] = [];
  const asked: number[] = [];
  for (let round = 0; round < rounds; round++) {
    await from.exec('moved', 'sh', '-c', ': > /tmp/gaps');
    client?.take();
    const startMs = performance.now();
    const done = await from.client.run('vm.migrate', {
      vm: 'moved',
      target: to.listens,
      postCopy: values['post-copy'],
    });
    whole.push(performance.now() - startMs);
    const [note = ''] = done.notes ?? [];
    const [, still = '0'] = /stood still for (\d+) ms/.exec(note) ?? [];
    stood.push(Number(still));
    notes.push(note.replace(/^it stood still for /, ''));
    await sleep(500);
    if (client) {
      const { worstMs, connections } = client.take();
      asked.push(worstMs);
      notes.push(`asked: ${worstMs.toFixed(0)} ms without an answer, ${connections} connections`);
    }
    gaps.push(worstIn(await to.exec('moved', 'cat', '/tmp/gaps')));
    [from, to] = [to, from];
    await sleep(WARM_MS);
  }
  client?.end();
  say(`Ringfence, ${load}`, [list(stood), list(gaps), list(whole), ...(client ? [list(asked)] : [])]);
  for (const note of notes) process.stdout.write(`    ${note}\n`);
}

/** The same program, as what its kernel starts. */
async function measureQemu(load: string): Promise<void> {
  const image = await openTiny();
  const initrd = join(folder, 'initrd');
  const init = { kind: 'file', names: ['init'], mode: 0o755, content: readFileSync(ticks) } as const;
  const console = { kind: 'character-device', name: 'dev/console', mode: 0o600, major: 5, minor: 1 } as const;
  writeFileSync(initrd, cpioArchive([init, { kind: 'folder', name: 'dev', mode: 0o755 }, console], 0));
  let from = qemu(image.kernelPath, initrd, load);
  await sleep(WARM_MS + 6000);
  const [stood, gaps, whole]: [number[], number[], number[]] = [[], [], []];
  for (let round = 0; round < rounds; round++) {
    const port = await freePort();
    const to = qemu(image.kernelPath, initrd, load, '-incoming', `tcp:127.0.0.1:${port}`);
    await sleep(1000);
    const before = from.said.length;
    // Without it 128 MiB/s are the most.
    from.child.stdin?.write('migrate_set_parameter max-bandwidth 64g\n');
    from.child.stdin?.write(`migrate -d tcp:127.0.0.1:${port}\n`);
    let said = '';
    from.child.stdout?.on('data', (bytes: Buffer) => (said += bytes.toString()));
    for (const until = performance.now() + TIMEOUT_MS; !said.includes('Migration status: completed');) {
      if (performance.now() > until) throw new Error(`QEMU did not migrate: ${said}`);
      from.child.stdin?.write('info migrate\n');
      await sleep(50);
    }
    const last = said.slice(said.indexOf('Migration status: completed'));
    stood.push(Number(/downtime: (\d+)/.exec(last)?.[1]));
    whole.push(Number(/total time: (\d+)/.exec(last)?.[1]));
    await sleep(500);
    gaps.push(worstIn(from.said.slice(before) + to.said));
    const gone = once(from.child, 'exit');
    from.child.stdin?.write('quit\n');
    await gone;
    from = to;
    await sleep(WARM_MS);
  }
  from.child.kill();
  say(`QEMU, ${load}`, [list(stood), list(gaps), list(whole)]);
}

interface Qemu {
  readonly child: ChildProcess;
  /** What its serial port has said. */
  readonly said: string;
}

function qemu(kernel: string, initrd: string, load: string, ...words: readonly string[]): Qemu {
  const serial = join(folder, `serial-${++machines}`);
  const machine = `-machine virt -m 512M -display none -monitor stdio -serial file:${serial}`.split(' ');
  const boot = ['-kernel', kernel, '-initrd', initrd, '-append', `console=ttyS0 quiet -- ${mebibytes(load)}`];
  const child = spawn('qemu-system-riscv64', [...machine, ...boot, ...words], { stdio: ['pipe', 'pipe', 'inherit'] });
  return {
    child,
    get said() {
      return readFileSync(serial, 'utf8');
    },
  };
}

/** The longest of the times that the program has said, in ms. */
function worstIn(said: string): number {
  return Math.max(0, ...said.split('\n').map((line) => Number(line) || 0)) / 1000;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

try {
  say('', ['stood still, ms', 'worst gap, ms', 'in all, ms', ...(values.asked ? ['unanswered, ms'] : [])]);
  for (const load of LOADS) {
    await measureRingfence(load);
    if (values.qemu && spawnSync('qemu-system-riscv64', ['--version']).status === 0) await measureQemu(load);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(0);
