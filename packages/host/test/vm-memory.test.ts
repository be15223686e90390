/** Machines that have ended leave their memory: in a process of its own, which can collect garbage when it is told. */

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const PROGRAM = `
import { queryObjects, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { VM } from ${JSON.stringify(new URL('../src/index.ts', import.meta.url).href)};
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');
const MACHINES = 4;
for (let count = 0; count < MACHINES; count++) {
  await using vm = await VM.start({ memory: '256M', reachable: false });
  // Work that gets compiled, so that the thread that compiles knows the memory too.
  await vm.exec(['sh', '-c', 'i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done']);
}
await new Promise((resolve) => setTimeout(resolve, 100));
collect();
// The class's prototype counts, and what lies on the stack may keep the last one.
console.log(queryObjects(WebAssembly.Memory) - 1);
`;

test('what has ended keeps no memory of a guest', async () => {
  const running = promisify(execFile)(process.execPath, ['--no-warnings', '--input-type=module', '-'], {
    timeout: 110_000,
  });
  running.child.stdin?.end(PROGRAM);
  const { stdout } = await running;
  expect(Number(stdout)).toBeLessThanOrEqual(1);
}, 120_000);
