/**
 * Moves a machine to and fro between two daemons while it writes to its disk, and at a random moment kills a machine's process or a daemon, cuts, slows
 * or silences what is between them, or lets the target be of another version, or short of memory. Afterwards exactly one daemon has the machine and the other one nothing of it, and it runs there unless its own process was
 * killed; what its guest was told is there, in its memory where it still runs, and on its disks: one of its own, and one that both daemons reach.
 *
 * With `memory` its guest writes to that much of its memory all the time as well, and looks whether what it wrote is there. With `postCopy` pages may follow
 * when it runs there: then two of three faults come while they do, and the guest may end where it is killed that keeps them or needs them. With `label` it is in
 * the process of that, where it comes to, too.
 */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MachineView } from '@ringfence/api';
import { ApiError } from '@ringfence/api/errors';
import { Between } from '../testing/between.ts';
import { RealDaemon } from '../testing/daemon.ts';
import {
  acknowledged,
  checkContent,
  checkWritten,
  contentOf,
  putOutside,
  SECTOR_BYTES,
  startWriting,
  WRITTEN_BYTES,
} from '../testing/disk-writer.ts';
import { checkMemory, startWritingMemory, writtenPages } from '../testing/memory-writer.ts';
import { OtherVersion } from '../testing/other-version.ts';
import { LAUNCHER } from '../testing/ringfence.ts';
import { numbers } from './numbers.ts';
import { processesOf } from './processes.ts';
import type { Rounds } from './snapshot-rounds.ts';

const NAME = 'traveller';
export const FAULTS = [
  'nothing',
  'the machine killed where it leaves',
  'the machine killed where it comes to',
  'the daemon killed that it leaves',
  'the daemon killed that it comes to',
  'the link cut',
  'the link cut for a while',
  'the link slow',
  'the link silent for a while',
  'the link silent for long',
  'the key not trusted',
  'different versions',
  'too little memory where it comes to',
  'no more memory where it comes to',
  'the machine held where it leaves, and the link cut',
] as const;
export type Fault = (typeof FAULTS)[number];
/** Of those after which it is known what becomes of the machine. */
const ANSWERS: Partial<Record<Fault, string>> = {
  nothing: 'moved',
  'the link slow': 'moved',
  'the link silent for a while': 'moved',
  'the key not trusted': 'untrusted',
  'different versions': 'other-version',
  'too little memory where it comes to': 'no-memory',
};
/** Those that a machine may end with. */
const DEADLY: readonly Fault[] = [
  'the machine killed where it leaves',
  'the machine killed where it comes to',
  'no more memory where it comes to',
];
/** The longest time between the beginning of a migration and the fault. */
const LONGEST_WAIT_MS = 1500;
/** The same of one that writes to its memory, and behind the beginning of what follows. */
const LONGEST_BUSY_WAIT_MS = 4000;
const LONGEST_WAIT_AFTER_MS = 600;
const REST_TIMEOUT_MS = 120_000;
const LEFT_TIMEOUT_MS = 10_000;
/** Of each of its disks, at its beginning, there is a token of each round, and then something that has to be moved each time. */
const DISKS = ['/dev/vda', '/dev/vdb'] as const;
const NOISE_AT_MIB = 1;
const NOISE_MIB = 6;
/** How long a slow link is. */
const SLOW_MS = 1500;
/** Of a silent link: less than anybody gives up after (core's MAXIMUM_SILENCE_MS, 10 s, is the least), and more than all do (host's QUIET_MS, 30 s). */
const CUT_MS = { least: 500, most: 6000 } as const;
const SILENT_MS = { least: 500, most: 5000, long: 35_000 } as const;
/** How long a process is held: more and less than it may take to say what becomes of its machine, and than it has to end (host's GIVE_UP_MS, MOVED_GRACE_MS). */
const HELD_MS = { least: 1000, most: 12_000 } as const;
/** What a daemon has for machines that has not enough for this one. */
const LITTLE_MEMORY = '64M';

/** Rejects with what was found wrong. `fault` says which it is to be in each round; chance when it is not given. */
export async function migrationRounds({
  rounds,
  seed,
  say,
  fault,
  memory,
  postCopy = false,
  label,
}: Rounds & {
  readonly fault?: (round: number) => Fault;
  /** MiB that its guest writes to; none when it is not given. */
  readonly memory?: number;
  readonly postCopy?: boolean;
  /** That it has, and keeps at both: then all of its disks are its own. */
  readonly label?: string;
}): Promise<void> {
  const random = numbers(seed);
  using other = new OtherVersion();
  await using one = new RealDaemon({ listens: true });
  await using two = new RealDaemon({ listens: true });
  await Promise.all([one.start(), two.start()]);
  const labels = label === undefined ? [] : [label];
  await one.trust(two, labels);
  await two.trust(one, labels);
  const { vm } = await one.create(NAME, {
    ...(label === undefined ? {} : { label }),
    disks: [{ size: String(WRITTEN_BYTES) }, { size: '1M' }],
    ...(memory === undefined ? {} : { memory: `${memory + 200}M` }),
  });
  // By which its processes are known: it is alone in that of its label.
  const mark = label ?? vm.id;
  const [folder = ''] = readdirSync(one.machinesFolder);
  const outside = label === undefined ? putOutside(one, folder, 'disks/disk1.qcow2') : undefined;
  await one.client.run('vm.start', { vm: NAME });
  await one.exec(
    NAME,
    'sh',
    '-c',
    `dd if=/dev/urandom of=/dev/vda bs=1M seek=${NOISE_AT_MIB} count=${NOISE_MIB} conv=fsync`,
  );
  const begin = async (daemon: RealDaemon): Promise<void> => {
    await startWriting(daemon, NAME);
    if (memory !== undefined) await startWritingMemory(daemon, NAME, memory);
  };
  await begin(one);
  let [from, to] = [one, two];
  const tokens: string[] = [];
  for (let round = 1; round <= rounds; round++) {
    const what = fault?.(round) ?? FAULTS[random(FAULTS.length)] ?? 'nothing';
    const isAfter = postCopy && random(3) > 0;
    const waitMs = random(
      isAfter ? LONGEST_WAIT_AFTER_MS : memory === undefined ? LONGEST_WAIT_MS : LONGEST_BUSY_WAIT_MS,
    );
    const when = `after ${waitMs} ms${isAfter ? ' of what follows' : ''}`;
    const written = memory === undefined ? 0 : await writtenPages(from, NAME);
    const token = `${seed}-${round}`;
    const keep = DISKS.map(
      (disk) =>
        `printf '%-${SECTOR_BYTES}s' ${token} | dd of=${disk} bs=${SECTOR_BYTES} seek=${tokens.length} conv=notrunc,fsync`,
    );
    await from.exec(NAME, 'sh', '-c', `echo ${token} >/tmp/token; ${keep.join('; ')}`);
    tokens.push(token);
    const answer = await oneRound(from, to, mark, what, { waitMs, isAfter, postCopy, labels }, random, other);
    const found = await whereIs(mark, from, to);
    say(`round ${round}: ${what} ${when}: ${answer}; ${found.machine.state} ${found.daemon === to ? 'there' : 'here'}`);
    const said = `round ${round}: ${what} ${when}`;
    const runs = await check(found.daemon, found.machine, mark, labels, said, what, answer, tokens);
    if (!runs) await begin(found.daemon);
    else if (memory !== undefined) await checkMemory(found.daemon, NAME, written, memory);
    if (found.daemon === to) [from, to] = [to, from];
    await leftNothing(to, `round ${round}: ${what}`);
  }
  const last = await acknowledged(from, NAME);
  await from.client.run('vm.stop', { vm: NAME, timeoutMs: 0 });
  const { folder: lastFolder } = await from.machine(NAME);
  checkContent(contentOf(join(lastFolder, 'disks/disk0.qcow2')), last);
  const second = outside ?? join(lastFolder, 'disks/disk1.qcow2');
  assert.deepEqual(tokensIn(contentOf(second).toString('latin1', 0, SECTOR_BYTES * tokens.length)), tokens);
}

/** The other daemon has no file of it, soon. */
async function leftNothing({ machinesFolder }: RealDaemon, what: string): Promise<void> {
  const left = (): string[] => (existsSync(machinesFolder) ? readdirSync(machinesFolder) : []);
  for (const until = performance.now() + LEFT_TIMEOUT_MS; left().length > 0 && performance.now() < until;)
    await sleep(20);
  assert.deepEqual(left(), [], `${what}: what is left of it at the other daemon`);
}

/** What the disks hold, past the guest's cache. */
async function checkTokens(daemon: RealDaemon, tokens: readonly string[], what: string): Promise<void> {
  for (const disk of DISKS) {
    const read = `dd if=${disk} bs=${SECTOR_BYTES} count=${tokens.length} iflag=direct 2>/dev/null`;
    assert.deepEqual(tokensIn(await daemon.exec(NAME, 'sh', '-c', read)), tokens, `${what}: ${disk}`);
  }
}

function tokensIn(text: string): string[] {
  return text.split(/ +/).filter((token) => token !== '');
}

interface RoundHow {
  readonly waitMs: number;
  readonly isAfter: boolean;
  readonly postCopy: boolean;
  readonly labels: string[];
}

async function oneRound(
  from: RealDaemon,
  to: RealDaemon,
  mark: string,
  fault: Fault,
  { waitMs, isAfter, postCopy, labels }: RoundHow,
  random: (below: number) => number,
  other: OtherVersion,
): Promise<string> {
  // Who has no machine may come and go.
  if (fault === 'different versions') await startAgain(to, () => (to.launcher = other.launcher));
  if (fault === 'too little memory where it comes to') await startAgain(to, undefined, '--memory', LITTLE_MEMORY);
  await using link = await Between.open(to.listens);
  const { own } = await from.client.ask('host.trust', {});
  if (fault === 'the key not trusted') await to.client.ask('host.trust', { fingerprint: own, remove: true });
  if (fault === 'the link slow') link.slow(waitMs + SLOW_MS);
  const here = processesOf(mark);
  const following = Promise.withResolvers<void>();
  const onProgress = ({ step }: { step: string }): void =>
    void (step.startsWith('sending the rest') && following.resolve());
  const input = { vm: NAME, target: link.address, sharedDisks: labels.length === 0, ...(postCopy ? { postCopy } : {}) };
  const moving = from.client.run('vm.migrate', input, { onProgress }).then(
    () => 'moved',
    (error: unknown) => (error instanceof ApiError ? error.code : Promise.reject(error)),
  );
  moving.catch(() => undefined);
  if (isAfter) {
    await Promise.race([following.promise, moving.catch(() => undefined)]);
    // So that pages are missing still when it happens.
    link.slow(waitMs);
  }
  await sleep(waitMs);
  switch (fault) {
    case 'the machine killed where it leaves':
      signal(here, 'SIGKILL');
      break;
    case 'the machine killed where it comes to':
      signal(
        processesOf(mark).filter((pid) => !here.includes(pid)),
        'SIGKILL',
      );
      break;
    case 'the daemon killed that it leaves':
      await from.kill();
      await from.start();
      break;
    case 'the daemon killed that it comes to':
      await to.kill();
      await to.start();
      break;
    case 'the link cut':
      link.cut();
      break;
    case 'the link cut for a while':
      link.close();
      await sleep(CUT_MS.least + random(CUT_MS.most - CUT_MS.least));
      link.close(false);
      break;
    case 'the link silent for a while':
      link.silence(SILENT_MS.least + random(SILENT_MS.most - SILENT_MS.least));
      break;
    case 'the link silent for long':
      link.silence(SILENT_MS.long);
      break;
    case 'the machine held where it leaves, and the link cut':
      signal(here, 'SIGSTOP');
      link.cut();
      await sleep(HELD_MS.least + random(HELD_MS.most - HELD_MS.least));
      signal(here, 'SIGCONT');
      break;
    case 'no more memory where it comes to':
      for (const pid of processesOf(mark)) if (!here.includes(pid)) letGrow(pid, false);
      break;
    default:
  }
  const answer = await moving;
  // Each end has to find out by itself.
  await link.heardAgain();
  if (fault === 'the key not trusted') await to.trust(from, labels);
  if (fault === 'no more memory where it comes to')
    for (const pid of processesOf(mark)) if (!here.includes(pid)) letGrow(pid, true);
  if (fault === 'different versions' || fault === 'too little memory where it comes to')
    await startAgain(to, () => (to.launcher = LAUNCHER));
  return answer;
}

async function startAgain(daemon: RealDaemon, change?: () => void, ...options: readonly string[]): Promise<void> {
  await daemon.stop();
  change?.();
  await daemon.start(...options);
}

/** Whether a process may have more addresses than it has: without, what it asks the system for is refused. */
function letGrow(pid: number, may: boolean): void {
  // It may have ended by now.
  spawnSync('prlimit', ['--pid', String(pid), `--as=${may ? 'unlimited' : sizeOf(pid)}:unlimited`]);
}

function sizeOf(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[0]) * 4096;
  } catch {
    return 0;
  }
}

/** The daemon that has the machine, when both have come to rest: exactly one. */
async function whereIs(
  mark: string,
  ...daemons: readonly RealDaemon[]
): Promise<{ daemon: RealDaemon; machine: MachineView }> {
  for (const until = performance.now() + REST_TIMEOUT_MS; ; await sleep(50)) {
    const found = await Promise.all(
      daemons.map(async (daemon) => (await daemon.client.ask('vm.list', {})).map((machine) => ({ daemon, machine }))),
    );
    const all = found.flat();
    const [first] = all;
    const isResting = all.every(({ machine: { state, pid } }) =>
      state === 'running' ? pid !== undefined && processesOf(mark).includes(pid) : state === 'stopped',
    );
    if (isResting && all.length === 1 && first !== undefined) return first;
    const now = all.map(({ machine, daemon }) => `${machine.state} at ${daemon.listens}`).join(', ');
    assert(performance.now() < until, `the machine is not in one place and at rest: ${now || 'nowhere'}`);
  }
}

/** Whether it ran; one that did not was started again. */
async function check(
  daemon: RealDaemon,
  { state, pid, end, label }: MachineView,
  mark: string,
  labels: readonly string[],
  what: string,
  fault: Fault,
  answer: string,
  tokens: readonly string[],
): Promise<boolean> {
  const expected = ANSWERS[fault];
  if (expected !== undefined) assert.equal(answer, expected, what);
  const processes = state === 'running' ? [pid] : [];
  // That of a label ends behind its last machine.
  for (const until = performance.now() + LEFT_TIMEOUT_MS; performance.now() < until; await sleep(20))
    if (processesOf(mark).length === processes.length) break;
  assert.deepEqual(processesOf(mark), processes, `${what}: its processes`);
  if (state === 'running') {
    assert.equal(label, labels[0], `${what}: its label`);
    assert.equal(await daemon.exec(NAME, 'cat', '/tmp/token'), tokens.at(-1), what);
    await checkTokens(daemon, tokens, what);
    await checkWritten(daemon, NAME, await acknowledged(daemon, NAME));
    return true;
  }
  assert(DEADLY.includes(fault), `${what}: it does not run any more: ${JSON.stringify(end)}`);
  await daemon.client.run('vm.start', { vm: NAME });
  await checkTokens(daemon, tokens, what);
  return false;
}

function signal(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids)
    try {
      process.kill(pid, name);
    } catch {
      // It has ended by itself.
    }
}
