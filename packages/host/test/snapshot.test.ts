/** Snapshots of a booted guest: taken while it works, built on one another, and gone on with in other processes, with another number of the computer's processors. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SnapshotStore, VM } from '../src/index.ts';
import { HOT_FILE } from '../src/snapshot/hot-pages.ts';

const RESTORE_PROCESS = fileURLToPath(new URL('testing/restore-process.ts', import.meta.url));

let folder: string;
let store: SnapshotStore;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-vm-snapshots-'));
  store = new SnapshotStore(join(folder, 'snapshots'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Processors of this computer that this process may use (taskset(1)), all of them and the first alone. */
const allCores =
  execFileSync('taskset', ['-pc', String(process.pid)])
    .toString()
    .split(': ')
    .at(-1)
    ?.trim() ?? '';
const [oneCore = ''] = allCores.split(/[-,]/);

const restored = (cores: string, name: string, engine: string, ...command: string[]): string =>
  execFileSync('taskset', [
    '-c',
    cores,
    process.execPath,
    RESTORE_PROCESS,
    store.folder,
    name,
    engine,
    ...command,
  ]).toString();

/** Who takes the snapshot has one processor of this computer, and who goes on from it all of them; and the other way round. */
describe.each([
  [1, 'one', oneCore, allCores],
  [2, 'all', allCores, oneCore],
])('a guest with %d processors, on %s of this computer', (cpus, _which, takersCores, restorersCores) => {
  let vm: VM;
  const runOn = (cores: string): void => {
    execFileSync('taskset', ['-apc', cores, String(process.pid)], { stdio: 'ignore' });
    if (cores === oneCore) expect(availableParallelism()).toBe(1);
  };
  beforeAll(async () => {
    runOn(takersCores);
    vm = await VM.start({ cpus, memory: '256M', network: 'user', reachable: false });
  }, 120_000);
  afterAll(async () => {
    runOn(allCores);
    await vm.kill();
  });

  test('is taken while it works, and goes on in other processes, whatever executes it', async () => {
    // Each writes for itself, and for nobody: what a caller of the agent holds ends with the caller.
    const busy = Array.from(
      { length: cpus },
      (_, n) => `setsid sh -c 'i=0; while :; do i=$((i+1)); echo $i >>/tmp/count${n}; done' & `,
    ).join('');
    const load = await vm.spawn(['sh', '-c', `${busy} echo one >/tmp/state`]);
    load.stdout.discard();
    load.stderr.discard();
    await load.exited;
    await expect.poll(async () => (await vm.exec(['cat', '/tmp/state'])).stdout, { timeout: 20_000 }).toBe('one\n');
    const startMs = performance.now();
    const first = await vm.snapshot(store, `first${cpus}`);
    const tookMs = performance.now() - startMs;
    await vm.exec(['sh', '-c', 'echo two >/tmp/state']);
    const second = await vm.snapshot(store, `second${cpus}`, { parent: `first${cpus}` });
    expect((await vm.exec(['cat', '/tmp/state'])).stdout).toBe('two\n');
    expect(second.pages.own).toBeLessThan(first.pages.own / 3);
    expect(second.manifest.parent).toBe(first.manifest.id);
    // How short is judged by `npm run bench:snapshot`.
    expect(first.pausedNs.quiet + first.pausedNs.held).toBeLessThan((1e6 * tookMs) / 2);

    const ask =
      'cat /tmp/state; hostname; date +%s; head -c 16 /dev/urandom | od -An -tx1; a=$(wc -l </tmp/count0); sleep 1; [ "$(wc -l </tmp/count0)" -gt "$a" ] && echo counts';
    const answers = [
      ['first', 'jit'],
      ['first', 'interpreter'],
      ['second', 'jit'],
    ].map(([name = '', engine = '']) =>
      restored(restorersCores, `${name}${cpus}`, engine, 'sh', '-c', ask).trim().split('\n'),
    );
    expect(answers.map(([state, hostname]) => [state, hostname])).toEqual([
      ['one', vm.name],
      ['one', vm.name],
      ['two', vm.name],
    ]);
    for (const [, , time, , last] of answers) {
      expect(Math.abs(Number(time) - Date.now() / 1000)).toBeLessThan(120);
      expect(last).toBe('counts');
    }
    expect(new Set(answers.map(([, , , random]) => random)).size).toBe(3);
    // The second that went on from the first had what the first one had needed, at once; but for what a thread of its own has executed.
    const hotBytes = statSync(join(store.folder, `first${cpus}`, HOT_FILE)).size;
    expect(hotBytes).toBeGreaterThan(cpus === 1 ? 1024 ** 2 : 0);
  }, 240_000);
});
