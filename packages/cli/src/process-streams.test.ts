import { AgentError } from '@ringfence/core';
import { describe, expect, test } from 'vitest';
import { exitCodeOf, giveInput, programFailure, TypedInput } from './process-streams.ts';

/** A program's input that takes what it gets when it is let. */
function input(): {
  text: string;
  isClosed: boolean;
  hasEnded: boolean;
  write(bytes: Uint8Array): Promise<void>;
  end(): void;
} {
  return {
    text: '',
    isClosed: false,
    hasEnded: false,
    write(bytes) {
      this.text += Buffer.from(bytes).toString();
      return Promise.resolve();
    },
    end() {
      this.hasEnded = true;
    },
  };
}

test('what is typed before the program is there waits for it, up to a limit', async () => {
  const keys = new TypedInput();
  const program = input();
  keys.push(Buffer.from('ls'));
  keys.push(Buffer.alloc(1024 * 1024));
  keys.connect(program);
  keys.push(Buffer.from('\r'));
  await expect.poll(() => program.text).toBe('ls\r');
});

test('a program gets all of a stream and its end, and no more when it has closed its input', async () => {
  const program = input();
  const chunks = [Buffer.from('one '), Buffer.from('two')];
  await giveInput(ReadableStream.from(chunks), program);
  expect(program).toMatchObject({ text: 'one two', hasEnded: true });
  const closed = { ...input(), isClosed: true };
  await giveInput(ReadableStream.from(chunks), closed);
  expect(closed.text).toBe('');
});

describe('how a program ends', () => {
  test('is an exit code as a shell has it', () => {
    expect(exitCodeOf({ kind: 'exited', code: 7 })).toBe(7);
    expect(exitCodeOf({ kind: 'signaled', signal: 15 })).toBe(143);
  });

  test.each([
    ['ENOENT', 'x: not found\n', 127],
    ['ENOTDIR', 'x: not found\n', 127],
    ['EACCES', 'x: permission denied\n', 126],
    ['ENOEXEC', 'x: cannot be run\n', 126],
  ])('before it began, for %s, is said as a shell says it', (errno, text, code) => {
    expect(programFailure(new AgentError('refused', 'The guest could not run "x": why.', errno), 'x')).toEqual({
      text,
      code,
    });
  });

  test('is no such failure when the user or the folder was not there', () => {
    expect(
      programFailure(new AgentError('refused', 'The guest has no user "y" (ENOENT).', 'ENOENT'), 'x'),
    ).toBeUndefined();
    expect(programFailure(new Error('could not run'), 'x')).toBeUndefined();
  });
});
