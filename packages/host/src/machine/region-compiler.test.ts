import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { BatchAnswer, BatchRequest } from '@ringfence/core';
import { CompilerThread } from '@ringfence/core/compiler';
import { describe, expect, test } from 'vitest';
import { ThreadedCompiler } from './region-compiler.ts';

const FRAME = 0x1000;
/** Room for the page map, heat page and fetch TLB that there are none of. */
const EMPTY = 0x8000;

/** Memory with the two instructions `addi a0, a0, 1; ret` at FRAME. */
function memoryWithCode(): WebAssembly.Memory {
  const memory = new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true });
  new Uint32Array(memory.buffer).set([0x0015_0513, 0x0000_8067], FRAME / 4);
  return memory;
}

/** One region, at FRAME. */
const BATCH: BatchRequest = {
  requests: [
    {
      entryOffset: 0,
      pages: [{ page: 0, frame: FRAME, records: 0, heat: EMPTY, number: FRAME / 4096 }],
      pageNumber: 0x80000,
      context: 1,
      fetchTlb: EMPTY,
    },
  ],
  first: 0x400,
  memory: { module: 'env', name: 'memory', initialPages: 2, maximumPages: 2, shared: true },
  includesCold: true,
  isAlone: true,
  names: false,
  fusedMultiplyAdd: false,
};

function opCountOf([first]: BatchAnswer['regions']): number | undefined {
  return typeof first === 'object' ? first.opCount : undefined;
}

describe('a thread that compiles', () => {
  test('gives what this thread would have compiled from the same memory', async () => {
    const memory = memoryWithCode();
    const { module, regions, bytes } = await new ThreadedCompiler().compile(BATCH, memory);
    const here = new CompilerThread();
    here.receive({ kind: 'memory', memory });
    const own = here.receive({ kind: 'batch', number: 0, batch: BATCH })?.answer;
    expect({ regions, bytes }).toEqual({ regions: own?.regions, bytes: own?.bytes });
    expect(opCountOf(regions)).toBe(2);
    expect(module).toBeInstanceOf(WebAssembly.Module);
  });

  test('sees what is written to the memory later, and another memory when it is given one', async () => {
    const compiler = new ThreadedCompiler();
    const memory = memoryWithCode();
    await compiler.compile(BATCH, memory);
    new Uint32Array(memory.buffer)[FRAME / 4] = 0;
    expect((await compiler.compile(BATCH, memory)).regions).toEqual([undefined]);
    expect(opCountOf((await compiler.compile(BATCH, memoryWithCode())).regions)).toBe(2);
  });

  test('answers each of several batches with its own', async () => {
    const compiler = new ThreadedCompiler();
    const memory = memoryWithCode();
    const second = { ...BATCH, requests: BATCH.requests.map((each) => ({ ...each, entryOffset: 4 })) };
    const answers = await Promise.all([BATCH, second, BATCH].map((batch) => compiler.compile(batch, memory)));
    expect(answers.map(({ regions }) => opCountOf(regions))).toEqual([2, 1, 2]);
  });

  test('says that it could not compile a batch that nobody can, and compiles the next', async () => {
    const compiler = new ThreadedCompiler();
    const memory = memoryWithCode();
    const broken = {
      ...BATCH,
      requests: BATCH.requests.map((each) => ({ ...each, fetchTlb: 2 ** 31, entryOffset: -8 })),
    };
    expect(await compiler.compile(broken, memory)).toEqual({
      module: undefined,
      regions: [undefined],
      bytes: 0,
      failed: 1,
    });
    expect((await compiler.compile(BATCH, memory)).regions).toHaveLength(1);
  });

  test('ends when it is closed, and with it what was asked of it', async () => {
    const compiler = new ThreadedCompiler();
    const memory = memoryWithCode();
    await compiler.compile(BATCH, memory);
    const asked = compiler.compile(BATCH, memory);
    await Promise.all([expect(asked).rejects.toThrow('The compiler is closed'), compiler.close()]);
    await expect(compiler.compile(BATCH, memory)).rejects.toThrow('The compiler is closed');
  });

  test('keeps no process alive', async () => {
    const program = `
      import { ThreadedCompiler } from ${JSON.stringify(new URL('region-compiler.ts', import.meta.url).href)};
      const memory = new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true });
      const compiler = new ThreadedCompiler();
      const held = setInterval(() => {}, 1000);
      const { regions } = await compiler.compile(${JSON.stringify({ ...BATCH, requests: [] })}, memory);
      clearInterval(held);
      console.log(regions.length);`;
    const running = promisify(execFile)(process.execPath, ['-'], { timeout: 15_000 });
    running.child.stdin?.end(program);
    expect((await running).stdout).toBe('0\n');
  });
});

describe('a thread that fails', () => {
  const program = (text: string): URL => new URL(`data:text/javascript,${encodeURIComponent(text)}`);

  test.each([
    [
      'throws',
      "import { parentPort } from 'node:worker_threads'; parentPort.on('message', () => { throw new Error('It broke'); });",
    ],
    ['ends', "import { parentPort } from 'node:worker_threads'; parentPort.once('message', () => process.exit(0));"],
    ['cannot start', "throw new Error('It broke');"],
  ])('and %s rejects what was asked of it, and whatever is asked later', async (_, text) => {
    const compiler = new ThreadedCompiler(program(text));
    const memory = memoryWithCode();
    const asked = [compiler.compile(BATCH, memory), compiler.compile(BATCH, memory)];
    for (const each of await Promise.allSettled(asked)) expect(each.status).toBe('rejected');
    await expect(compiler.compile(BATCH, memory)).rejects.toThrow(/broke|ended/);
  });
});
