import type { Operation } from '@ringfence/api';
import { OPERATIONS } from '@ringfence/api/operations';
import { expect, test } from 'vitest';
import { VERBS } from './commands/daemon/verbs.ts';
import { runCommandLine } from './program.ts';

const WITH_WORDS = Object.entries<Operation>(OPERATIONS).filter(([, { verb }]) => verb !== undefined);

async function said(...words: readonly string[]): Promise<string> {
  let text = '';
  const write = (more: string): void => void (text += more);
  await runCommandLine(words, { stdout: write, stderr: write });
  return text;
}

test('every operation of the contract that has words is a command that does something', () => {
  const done = WITH_WORDS.map(([name]) => name).filter((name) => name !== 'vm.create');
  expect(Object.keys(VERBS).toSorted()).toEqual(done.toSorted());
});

test('each has help with examples that begin with its words, and is in the list of commands', async () => {
  const all = await said('--help');
  for (const [, { verb, summary }] of WITH_WORDS) {
    const { words = '', examples = [] } = verb ?? {};
    expect(all).toMatch(new RegExp(`^  ${words} `, 'm'));
    const help = await said('help', words);
    expect(help.replaceAll(/\s+/g, ' ')).toContain(summary);
    expect(help).toContain('--json');
    for (const example of examples) {
      expect(help).toContain(example);
      expect(example).toContain(`ringfence ${words}`);
    }
  }
});

test('what an operation does is told in the list as what a verb asks for', async () => {
  const all = (await said('--help')).replaceAll(/\s+/g, ' ');
  expect(all).toContain('let a virtual machine stand still ');
  expect(all).toContain('take in a folder that is a virtual machine ');
  expect(all).toContain('tell what a virtual machine is and how it is getting on ');
});
