import { readFileSync, readdirSync } from 'node:fs';
import os from 'node:os';
import process from 'node:process';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { letV8GiveWay } from './background-threads.ts';

const isLinux = process.platform === 'linux';

/** The nice values of a process's threads, by their names. */
function niceValues(pid: number): Map<string, number[]> {
  const found = new Map<string, number[]>();
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const name = readFileSync(`/proc/${pid}/task/${thread}/comm`, 'utf8').trim();
    found.set(name, [...(found.get(name) ?? []), os.getPriority(Number(thread))]);
  }
  return found;
}

test.runIf(isLinux)(
  'threads on which V8 compiles give way to the others of their process, however often they are told',
  async () => {
    const child = spawn(process.execPath, ['-e', 'process.stdout.write("."); setInterval(() => {}, 1000)']);
    try {
      await once(child.stdout, 'data');
      const pid = child.pid ?? 0;
      const own = os.getPriority(pid);
      letV8GiveWay(pid);
      letV8GiveWay(pid);
      const { 'node-V8Worker': workers = [], ...others } = Object.fromEntries(niceValues(pid));
      expect(workers.length).toBeGreaterThan(0);
      expect(new Set(workers)).toEqual(new Set([Math.min(19, own + 5)]));
      expect(new Set(Object.values(others).flat())).toEqual(new Set([own]));
    } finally {
      child.kill();
    }
  },
);

test.runIf(isLinux)('a thread gives way alone', async () => {
  const program = new URL('./background-threads.ts', import.meta.url).href;
  const worker = new Worker(
    `import(${JSON.stringify(program)}).then(({ giveWay }) => { giveWay(); const os = require('node:os');
     require('node:worker_threads').parentPort.postMessage([os.getPriority(0), os.getPriority(process.pid)]); })`,
    { eval: true },
  );
  const [[own, main]] = (await once(worker, 'message')) as [[number, number]];
  expect(own).toBe(Math.min(19, main + 5));
  expect(main).toBe(os.getPriority(process.pid));
  await worker.terminate();
});

test.runIf(isLinux)('a process ends behind others, also when it has given up how that is said', async () => {
  const program = new URL('./background-threads.ts', import.meta.url).href;
  const child = spawn(process.execPath, [
    '-e',
    `import(${JSON.stringify(program)}).then(({ endBehindOthers }) => { const os = require('node:os');
     os.setPriority = undefined; endBehindOthers(); console.log(os.getPriority()); })`,
  ]);
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  expect(Number(said)).toBe(Math.min(19, os.getPriority() + 10));
});

test('a process that is no more is no failure', () => {
  expect(() => letV8GiveWay(2 ** 22 + 1)).not.toThrow();
});
