/**
 * A command's first output inside a running daemon, by a fork of a machine that is warm (docs/forks.md): `npm run bench:daemon-fork`. Counted from the
 * client's question to the daemon, over its socket, to the first octet that the fork's guest has written, as the client has it; the client runs already.
 *
 *     fork      until the daemon has answered that the fork is made and takes commands
 *     output    until the first octet of `echo` in it
 *
 * Options: --memory SIZE, --rounds N.
 */

import { join } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { RemoteVM } from '@ringfence/host/control';
import { RealDaemon } from '../testing/daemon.ts';

/** What is wanted of the median until the first octet. */
const WANTED_MS = 30;
/** Rounds before what is counted: code is compiled in these. */
const WARM_ROUNDS = 5;

const { values } = parseArgs({
  options: { memory: { type: 'string', default: '512M' }, rounds: { type: 'string', default: '20' } },
});

await using daemon = new RealDaemon();
await daemon.start();
await daemon.create('warm', { memory: values.memory });
await daemon.client.run('vm.start', { vm: 'warm' });
await daemon.exec('warm', 'echo', 'warm');
const sockets = join(daemon.folder, 'run/ringfence');

async function round(): Promise<{ readonly forkMs: number; readonly outputMs: number }> {
  const startMs = performance.now();
  const { made: [name = ''] = [] } = await daemon.client.run('vm.fork', { vm: 'warm' });
  const forkMs = performance.now() - startMs;
  const fork = RemoteVM.at(name, sockets);
  const program = await fork.exec({ argv: ['echo', 'first'], stdin: 'empty' });
  program.stderr.discard();
  let outputMs: number | undefined;
  for await (const bytes of program.stdout) if (bytes.length > 0) outputMs ??= performance.now() - startMs;
  await program.exited;
  if (outputMs === undefined) throw new Error(`the fork "${name}" said nothing`);
  await fork.stop({ timeoutMs: 0 });
  return { forkMs, outputMs };
}

for (let warm = 0; warm < WARM_ROUNDS; warm++) await round();
const taken = [];
for (let counted = 0; counted < Number(values.rounds); counted++) taken.push(await round());

function say(what: string, times: readonly number[], wanted = ''): void {
  const ordered = times.toSorted((a, b) => a - b);
  const at = (share: number): string => `${ordered[Math.floor((ordered.length - 1) * share)]?.toFixed(1) ?? '?'} ms`;
  process.stdout.write(`${what.padEnd(40)} median ${at(0.5)}, least ${at(0)}, most ${at(1)}${wanted}\n`);
}
say(
  'a fork is made and takes commands',
  taken.map(({ forkMs }) => forkMs),
);
say(
  'a command’s first output in it',
  taken.map(({ outputMs }) => outputMs),
  `; wanted: ${WANTED_MS} ms`,
);
