/**
 * How quick two guests of one process are for each other, over a network with a name: the program guest/net.c in both, found by name.
 *
 *     guest one --send, ask--> card -- switch -- card --> guest two
 *
 *     npx node tools/bench/guest-to-guest.ts [OPTIONS]
 *
 * Both machines share a thread (docs/library.md): where one has 1 processor they take turns, and the figure is what both do on one core.
 */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { scriptOptions } from '@ringfence/core/testing/script-options';
import { VM } from '@ringfence/host';
import { median } from './statistics.ts';

const NETWORK = 'bench';
const PROGRAM = '/tmp/net';
const PORT = 5000;
const RUN_TIMEOUT_MS = 600_000;

const values = scriptOptions(
  'npx node tools/bench/guest-to-guest.ts',
  'Two guests of one network, and what goes between them.',
  {
    megabytes: { default: 500, says: 'megabytes that are sent' },
    asks: { default: 5000, says: 'questions' },
    rounds: { default: 3, says: 'rounds of both' },
    cpus: { default: 1, says: 'harts of each' },
    suite: { default: 'stable', says: 'Debian’s suite' },
  },
);

/** Count over seconds, as the program in the guest `from` says it; `server` is what the one in `to` is. */
async function between(
  from: VM,
  to: VM,
  server: 'sink' | 'echo',
  what: 'send' | 'ask',
  count: number,
): Promise<number> {
  const serving = await to.spawn([PROGRAM, server, `${PORT}`]);
  const output = serving.stdout[Symbol.asyncIterator]();
  await output.next();
  const address = `$(nslookup "$0" | awk '/^Address: 10/ { print $2 }')`;
  const command = `${PROGRAM} ${what} ${address} ${PORT} ${count}`;
  const { stdout, stderr } = await from.exec(['sh', '-c', command, to.name], { timeoutMs: RUN_TIMEOUT_MS });
  const [, done, seconds] = /NET \w+ (\d+) ([\d.]+)/.exec(stdout) ?? [];
  if (Number(done) !== count) throw new Error(`guest "${from.name}" did not finish: ${stdout}${stderr}`);
  while ((await output.next()).done !== true);
  await serving.exited;
  return count / Number(seconds);
}

const folder = mkdtempSync(join(tmpdir(), 'ringfence-bench-'));
try {
  const program = join(folder, 'net');
  const source = join(import.meta.dirname, 'guest/net.c');
  execFileSync('riscv64-linux-gnu-gcc', ['-O2', '-static', '-s', '-o', program, source]);
  const options = { suite: values.suite, network: NETWORK, cpus: values.cpus, reachable: false };
  await using one = await VM.start({ ...options, name: 'one' });
  await using two = await VM.start({ ...options, name: 'two' });
  for (const vm of [one, two]) await vm.copyIn(program, PROGRAM);

  const figures: Record<string, number[]> = { throughput: [], questions: [] };
  for (let round = 1; round <= values.rounds; round++) {
    const [from, to] = round % 2 === 1 ? [one, two] : [two, one];
    const bytes = Math.round(values.megabytes * 1e6);
    const megabits = ((await between(from, to, 'sink', 'send', bytes)) * 8) / 1e6;
    const questions = await between(from, to, 'echo', 'ask', values.asks);
    console.log(
      `round ${round}, ${from.name} to ${to.name}: ${megabits.toFixed(0)} Mbit/s, ${questions.toFixed(0)} questions/s`,
    );
    figures['throughput']?.push(megabits);
    figures['questions']?.push(questions);
  }
  console.log(
    `medians: ${median(figures['throughput'] ?? []).toFixed(0)} Mbit/s, ${median(figures['questions'] ?? []).toFixed(0)} questions/s`,
  );
} finally {
  rmSync(folder, { recursive: true });
}
