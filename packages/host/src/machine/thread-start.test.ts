import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { threadStart } from './thread-start.ts';

/** Two processes, each of which loads the sources, on a busy computer. */
const PATIENCE_MS = 60_000;

test('a thread is started as the process was, unless that was told of what kind its text is', () => {
  expect(threadStart(['--no-warnings', '--max-semi-space-size=2'])).toEqual({});
  expect(threadStart(['--no-warnings', '--input-type=module'])).toEqual({ execArgv: [] });
  expect(threadStart(['--input-type', 'module'])).toEqual({ execArgv: [] });
});

test(
  'a process with words for V8, as the launcher starts it, can have threads of ours',
  async () => {
    expect(await compiles(['--max-semi-space-size=2', '--no-wasm-loop-peeling', '--input-type=module'])).toBe('0\n');
    expect(await compiles(['--max-semi-space-size=2', '--no-wasm-loop-peeling'])).toBe('0\n');
  },
  PATIENCE_MS,
);

/** What a program says that has an empty batch compiled, in a process with these words before it. */
async function compiles(words: readonly string[]): Promise<string> {
  const program = `
    import { ThreadedCompiler } from ${JSON.stringify(new URL('region-compiler.ts', import.meta.url).href)};
    const held = setInterval(() => {}, 1000);
    const memory = new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true });
    const wasm = { module: 'env', name: 'memory', initialPages: 2, maximumPages: 2, shared: true };
    const batch = { requests: [], first: 0x400, memory: wasm, pageMap: 0x8000, includesCold: true, isAlone: true, names: false };
    const { regions } = await new ThreadedCompiler().compile({ ...batch, fusedMultiplyAdd: false }, memory);
    clearInterval(held);
    console.log(regions.length);`;
  const running = promisify(execFile)(process.execPath, [...words, '-'], { timeout: PATIENCE_MS / 2 });
  running.child.stdin?.end(program);
  return (await running).stdout;
}
