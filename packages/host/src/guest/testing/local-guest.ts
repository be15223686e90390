/** A guest that is this computer, seen from a folder on: programs run here, files are here. For tests of what stands between. */

import { spawn } from 'node:child_process';
import { lstat, stat } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { AgentError, type AgentExit, type AgentOutput, type AgentProcess, type AgentTreeStep } from '@ringfence/core';
import { readTree } from '../../copy/read-tree.ts';
import { writeTree } from '../../copy/write-tree.ts';
import type { GuestCalls } from '../calls.ts';

export class LocalGuest implements GuestCalls {
  /** Processes that were closed before they had ended. */
  closed = 0;
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  async exec(command: Parameters<GuestCalls['exec']>[0]): Promise<AgentProcess> {
    const [program = '', ...words] = command.argv.map((word) => Buffer.from(word).toString());
    const child = spawn(program, words, { env: { ...process.env, ...command.env }, detached: true });
    const pid = await new Promise<number>((resolve, reject) => {
      child.once('spawn', () => resolve(child.pid ?? 0));
      child.once('error', () =>
        reject(new AgentError('refused', `The guest could not run "${program}": no such file.`, 'ENOENT')),
      );
    });
    const exited = new Promise<AgentExit>((resolve) => {
      child.once('exit', (code, signal) =>
        resolve(
          signal === null
            ? { kind: 'exited', code: code ?? 0 }
            : { kind: 'signaled', signal: constants.signals[signal] },
        ),
      );
    });
    child.stdin.on('error', () => undefined);
    if (command.stdin === 'empty') child.stdin.end();
    let isOver = false;
    void exited.then(() => (isOver = true));
    return {
      pid,
      stdin: {
        write: (bytes) => new Promise((resolve) => child.stdin.write(bytes, () => resolve())),
        end: () => void child.stdin.end(),
        get isClosed() {
          return child.stdin.destroyed;
        },
      },
      stdout: output(child.stdout),
      stderr: output(child.stderr),
      exited,
      signal: (signal) => void process.kill(-pid, signal),
      resize: () => undefined,
      close: () => {
        if (isOver) return;
        this.closed++;
        process.kill(-pid, 'SIGKILL');
      },
    };
  }

  async stat(
    path: string | Uint8Array,
    { follow = false }: { readonly follow?: boolean } = {},
  ): ReturnType<GuestCalls['stat']> {
    const place = this.#place(path);
    const found = await (follow ? stat(place) : lstat(place)).catch(() => undefined);
    if (found === undefined)
      throw new AgentError('refused', `The guest could not read "${String(path)}": no such file.`, 'ENOENT');
    for await (const step of readTree(place, { follow })) if (step.kind === 'entry') return step.status;
    throw new Error('a tree has an entry');
  }

  copyOut(path: string | Uint8Array, options: { readonly follow?: boolean } = {}): AsyncIterable<AgentTreeStep> {
    return readTree(this.#place(path), options);
  }

  async copyIn(
    path: string | Uint8Array,
    steps: Iterable<AgentTreeStep> | AsyncIterable<AgentTreeStep>,
  ): Promise<void> {
    await writeTree(
      this.#place(path),
      (async function* () {
        yield* steps;
      })(),
    );
  }

  #place(path: string | Uint8Array): string {
    return join(this.#root, Buffer.from(path).toString());
  }
}

function output(stream: NodeJS.ReadableStream): AgentOutput {
  return {
    [Symbol.asyncIterator]: () => stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>,
    discard: () => void stream.resume(),
  };
}
