/**
 * The agent as a program of this machine, built with sanitizers, on a pair of sockets in the place of its port. What concerns a whole
 * machine (its clock, its end, frozen file systems) it leaves out.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Duplex, PassThrough } from 'node:stream';
import { AgentClient, type AgentPort } from '@ringfence/core';
import { nodeClock, nodeTurns } from '@ringfence/core/testing/node-host';

const SOURCES = join(import.meta.dirname, '../../agent');

/** Builds it once into a folder of its own, with another `main` if one is named; gives the program's path. */
export function buildNativeAgent(...more: readonly string[]): string {
  const program = join(mkdtempSync(join(tmpdir(), 'ringfence-agent-')), 'agent');
  const sources = [...readdirSync(SOURCES).filter((name) => name.endsWith('.c')), ...more];
  const options = ['-std=gnu11', '-O1', '-g', '-Wall', '-Wextra', '-Werror', '-DHOSTED'];
  const sanitizers = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-fno-omit-frame-pointer'];
  execFileSync('gcc', [...options, ...sanitizers, '-o', program, ...sources], { cwd: SOURCES, stdio: 'pipe' });
  return program;
}

/** A pair of sockets as the client's port. */
export class SocketPort implements AgentPort {
  onData: ((bytes: Uint8Array) => void) | undefined;
  onOpen: (() => void) | undefined;
  onClose: (() => void) | undefined;
  hostOpen = true;
  guestOpen = false;
  readonly #socket: Duplex;

  constructor(socket: Duplex) {
    this.#socket = socket;
    socket.on('data', (bytes: Buffer) => this.onData?.(Uint8Array.from(bytes)));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.guestOpen = false;
      this.onClose?.();
    });
    setImmediate(() => {
      this.guestOpen = true;
      this.onOpen?.();
    });
  }

  write(bytes: Uint8Array): number {
    this.#socket.write(Uint8Array.from(bytes));
    return bytes.length;
  }

  async writable(): Promise<void> {
    while (this.#socket.writableNeedDrain) await new Promise((resolve) => this.#socket.once('drain', resolve));
  }

  discard(): void {}

  open(): void {}

  close(): void {
    this.hostOpen = false;
    this.#socket.end();
  }
}

export class NativeAgent {
  readonly child: ChildProcess;
  readonly socket: Duplex;
  readonly client: AgentClient;
  /** What it wrote to its stderr: the sanitizers' complaints. */
  complaints = '';
  readonly ended: Promise<number | null>;

  /** With a `sandbox`, a folder that the program confines itself to, nobody speaks to it but the test. */
  constructor(program: string, { sandbox }: { readonly sandbox?: string } = {}) {
    this.child = spawn(program, sandbox === undefined ? ['--fd', '3'] : [sandbox], {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      // The agent has no heap; and whoever is confined cannot be looked at.
      env: { ASAN_OPTIONS: 'detect_leaks=0', UBSAN_OPTIONS: 'print_stacktrace=1', PATH: '/usr/bin:/bin' },
    });
    this.child.stderr?.on('data', (bytes: Buffer) => (this.complaints += bytes.toString()));
    this.ended = new Promise((resolve) => this.child.once('close', (code) => resolve(code)));
    this.socket = this.child.stdio[3] as Duplex;
    this.socket.on('error', () => undefined);
    this.client = new AgentClient(new SocketPort(sandbox === undefined ? this.socket : new PassThrough()), {
      clock: nodeClock,
      timers: nodeTurns,
    });
  }

  /** What its descriptors are. */
  descriptors(): string[] {
    const folder = `/proc/${this.child.pid}/fd`;
    return readdirSync(folder).map((name) => readlinkSync(join(folder, name)));
  }

  /** Closes the connection; gives the exit code. */
  async end(): Promise<number | null> {
    this.client.close();
    return this.ended;
  }
}
