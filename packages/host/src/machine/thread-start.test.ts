import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { threadStart } from './thread-start.ts';

test('a thread is started as the process was, but for the kind of a program that came as text', () => {
  expect(
    threadStart(['--no-warnings', '--input-type=module', '--input-type', 'module', '--trace-gc']).execArgv,
  ).toEqual(['--no-warnings', '--trace-gc']);
});

test('a program that came as text can have threads of ours', async () => {
  const program = `
    import { ThreadedCompiler } from ${JSON.stringify(new URL('region-compiler.ts', import.meta.url).href)};
    const held = setInterval(() => {}, 1000);
    const memory = new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true });
    const wasm = { module: 'env', name: 'memory', initialPages: 2, maximumPages: 2, shared: true };
    const batch = { requests: [], first: 0x400, memory: wasm, pageMap: 0x8000, includesCold: true, isAlone: true, names: false };
    const { regions } = await new ThreadedCompiler().compile({ ...batch, fusedMultiplyAdd: false }, memory);
    clearInterval(held);
    console.log(regions.length);`;
  const running = promisify(execFile)(process.execPath, ['--input-type=module', '-'], { timeout: 15_000 });
  running.child.stdin?.end(program);
  expect((await running).stdout).toBe('0\n');
});
