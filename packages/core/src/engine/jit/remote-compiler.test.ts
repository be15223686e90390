import { expect, test } from 'vitest';
import type { BatchRequest } from './batch.ts';
import { type CompilerMessage, RemoteCompiler } from './remote-compiler.ts';

const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
const batch: BatchRequest = {
  requests: [],
  first: 0,
  memory: { module: 'env', name: 'memory', initialPages: 1, maximumPages: 1, shared: true },
  includesCold: false,
  isAlone: true,
  names: false,
  fusedMultiplyAdd: false,
};

test('who asks a thread that has ended is told so at once, as those who waited for it are', async () => {
  const sent: CompilerMessage[] = [];
  const compiler = new RemoteCompiler((message) => sent.push(message));
  const waiting = compiler.compile(batch, memory);
  expect(sent.map(({ kind }) => kind)).toEqual(['memory', 'batch']);
  compiler.fail(new Error('it has ended'));
  await expect(waiting).rejects.toThrow('it has ended');
  await expect(compiler.compile(batch, memory)).rejects.toThrow('it has ended');
  expect(sent).toHaveLength(2);
});
