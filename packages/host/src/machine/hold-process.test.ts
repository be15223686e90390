import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { expect, test } from 'vitest';

test('a process that waits for a module to be compiled, and for nothing else, stays until it is', () => {
  const program = new URL('./hold-process.ts', import.meta.url).href;
  // As the start snapshot's main function: no module waits for it.
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [
      '--input-type=commonjs',
      '-e',
      `import(${JSON.stringify(program)}).then(({ holdingProcess }) => {
         let settle;
         const work = new Promise((resolve) => (settle = resolve));
         holdingProcess(work).then(() => console.log('done'));
         // Nothing that keeps a process alive.
         setTimeout(settle, 100).unref();
       });`,
    ],
    { encoding: 'utf8' },
  );
  expect([stdout, stderr]).toEqual(['done\n', '']);
});
