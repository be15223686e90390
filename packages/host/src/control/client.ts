/** Asks a virtual machine that runs in another process, through its socket. */

import type {
  AgentCommand,
  AgentExit,
  AgentFileStatus,
  AgentInput,
  AgentOutput,
  AgentProcess,
  AgentTreeStep,
  CopyInOptions,
  CopyOutOptions,
} from '@ringfence/core';
import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod/mini';
import { HostError } from '../failure.ts';
import type { ConsoleViewer, GuestCalls } from '../guest/calls.ts';
import { checkedName, nearNames } from '../vm/names.ts';
import { ByteQueue } from './byte-queue.ts';
import { CHUNK_BYTES, FRAME, type Frame, FrameLink, INPUT_WINDOW_BYTES, jsonIn } from './frames.ts';
import {
  FAILURE,
  type MachineEndReport,
  type OperationInput,
  type OperationName,
  type OperationOutput,
  OPERATIONS,
  PROCESS_STARTED,
  type ProcessorFigures,
  type ProcessEvent,
  PROTOCOL_VERSION,
  TREE_STEP,
  type VMStatus,
  type OpenedDiskView,
  type VMMemoryUsage,
  type VMUsage,
} from './operations.ts';
import { connectTo, namesIn, vmFolder } from './vm-folder.ts';
import { dataOf, errorOf, statusOf, stepOf, toBase64, wireData, wireStep } from './wire.ts';

/** How long a process may take to say what it is. */
const INSPECT_TIMEOUT_MS = 5000;
/** How long its machine may take to stand still or to go on: its disks become quiet first. */
const PAUSE_TIMEOUT_MS = 30_000;
/** How often a process is asked whether it is there while it does what takes as long as it takes, and how long it may be silent then. */
const LOOK_MS = 5000;
const SILENCE_MS = 30_000;
/** Bytes of a program's output that wait to be taken. */
const OUTPUT_QUEUE_BYTES = 256 * 1024;

interface ListedVM {
  readonly name: string;
  readonly status: VMStatus | undefined;
  /** Why there is none. */
  readonly problem?: string;
  /** Whether its process says nothing. */
  readonly isSilent?: boolean;
}

/** A virtual machine of this user, by its name. */
export class RemoteVM implements GuestCalls {
  readonly name: string;
  readonly #folder: string;

  private constructor(folder: string, name: string) {
    this.#folder = folder;
    this.name = name;
  }

  /** Rejects with `not-found`, and names that may have been meant, when there is none. */
  static async find(name: string, folder = vmFolder()): Promise<RemoteVM> {
    checkedName(name);
    const socket = await connectTo(folder, name);
    if (socket === undefined) throw notFound(name, namesIn(folder));
    socket.destroy();
    return new RemoteVM(folder, name);
  }

  /** The one of that name, which is not looked for before something is asked of it. */
  static at(name: string, folder = vmFolder()): RemoteVM {
    return new RemoteVM(folder, checkedName(name));
  }

  /** The process that machines of one trust label share, by what it is found by, which is no name of a machine. */
  static sharedProcess(address: string, folder = vmFolder()): RemoteVM {
    return new RemoteVM(folder, address);
  }

  /** Those that run, in the order of their names. A process that does not answer is there with its failure. */
  static async list(folder = vmFolder()): Promise<ListedVM[]> {
    const found = await Promise.all(
      namesIn(folder).map(async (name) => {
        try {
          return { name, status: await new RemoteVM(folder, name).inspect() };
        } catch (error) {
          if (error instanceof HostError && error.code === 'not-found') return undefined;
          const problem = error instanceof Error ? error.message : String(error);
          return { name, status: undefined, problem, isSilent: error instanceof HostError && error.code === 'timeout' };
        }
      }),
    );
    return found.filter((each) => each !== undefined);
  }

  /** Its name is the one that it is reached by: a machine may have been renamed. */
  async inspect(): Promise<VMStatus> {
    const status = await this.#ask('inspect', {}, INSPECT_TIMEOUT_MS);
    return { ...status, name: this.name };
  }

  /** Resolves when the machine has ended. */
  async stop(options: { readonly timeoutMs: number }): Promise<'shutdown' | 'forced'> {
    const { how } = await this.#ask('stop', options);
    return how;
  }

  async pause(): Promise<void> {
    await this.#ask('pause', {}, PAUSE_TIMEOUT_MS);
  }

  async resume(): Promise<void> {
    await this.#ask('resume', {}, PAUSE_TIMEOUT_MS);
  }

  /** Resolves when the guest takes commands. */
  async ready(): Promise<void> {
    await this.#ask('ready', {});
  }

  /** Resolves when the machine has ended; rejects with `ended` when its process went without a word. */
  wait(): Promise<MachineEndReport> {
    return this.#ask('wait', {});
  }

  /** Gives the names of the forks. */
  async fork({ count, names }: { readonly count: number; readonly names: readonly string[] }): Promise<string[]> {
    return (await this.#askPatiently('fork', { count, names: [...names] })).names;
  }

  /** Resolves when it is written beside its place; who asks puts it there. */
  snapshot(options: OperationInput<'snapshot'>): Promise<OperationOutput<'snapshot'>> {
    return this.#askPatiently('snapshot', options);
  }

  usage(): Promise<VMUsage> {
    return this.#ask('usage', {}, INSPECT_TIMEOUT_MS);
  }

  async disks(): Promise<readonly OpenedDiskView[]> {
    return (await this.#ask('disks', {}, INSPECT_TIMEOUT_MS)).disks;
  }

  processors(input: OperationInput<'processors'>): Promise<ProcessorFigures> {
    return this.#ask('processors', input, INSPECT_TIMEOUT_MS);
  }

  memory(input: OperationInput<'memory'>): Promise<VMMemoryUsage> {
    return this.#ask('memory', input, INSPECT_TIMEOUT_MS);
  }

  async exec(command: AgentCommand): Promise<AgentProcess> {
    const { argv, env, user, workdir, terminal, stdin, timeoutMs } = command;
    const link = await this.#request('exec', {
      ...given({ env, user, workdir, terminal, stdin, timeoutMs }),
      argv: argv.map(toBase64),
    });
    const started = await this.#frame(link, FRAME.STARTED);
    const { pid } = z.parse(PROCESS_STARTED, jsonIn(started));
    return new RemoteProcess(this, link, pid);
  }

  async stat(path: string | Uint8Array, { user, follow }: CopyOutOptions = {}): Promise<AgentFileStatus> {
    return statusOf(await this.#ask('stat', { ...given({ user, follow }), path: toBase64(path) }));
  }

  async *copyOut(path: string | Uint8Array, { user, follow }: CopyOutOptions = {}): AsyncGenerator<AgentTreeStep> {
    const link = await this.#request('copy-out', { ...given({ user, follow }), path: toBase64(path) });
    try {
      for (;;) {
        const frame = await this.#frame(link, FRAME.STEP, FRAME.DATA, FRAME.RESULT);
        if (frame.kind === FRAME.RESULT) return;
        yield frame.kind === FRAME.DATA ? dataOf(frame.payload) : stepOf(z.parse(TREE_STEP, jsonIn(frame)));
      }
    } finally {
      link.destroy();
    }
  }

  async copyIn(
    path: string | Uint8Array,
    steps: Iterable<AgentTreeStep> | AsyncIterable<AgentTreeStep>,
    { user, keepOwners, makeParents }: CopyInOptions = {},
  ): Promise<void> {
    const link = await this.#request('copy-in', {
      ...given({ user, keepOwners, makeParents }),
      path: toBase64(path),
    });
    // An answer before the end says that nothing more is wanted.
    const answer = this.#frame(link, FRAME.RESULT);
    let isAnswered = false;
    const settled = answer.then(
      () => (isAnswered = true),
      () => (isAnswered = true),
    );
    try {
      for await (const step of steps) {
        if (isAnswered) break;
        const sent =
          step.kind === 'data'
            ? sendData(link, step.offsetBytes, step.bytes)
            : link.sendJson(FRAME.STEP, wireStep(step));
        await Promise.race([sent, settled]);
      }
      await link.send(FRAME.INPUT_END);
      await answer;
    } finally {
      link.destroy();
    }
  }

  async openConsole(): Promise<ConsoleViewer> {
    const link = await this.#request('console', {});
    await this.#frame(link, FRAME.STARTED);
    const output = new ByteQueue(OUTPUT_QUEUE_BYTES);
    const input = new CreditedInput(link);
    void (async () => {
      try {
        for (;;) {
          const frame = await this.#frame(link, FRAME.OUTPUT, FRAME.CREDIT, FRAME.RESULT);
          if (frame.kind === FRAME.RESULT) break;
          if (frame.kind === FRAME.OUTPUT) await output.push(frame.payload);
          else input.credit(frame);
        }
        output.end();
      } catch (error) {
        // A machine that ended while somebody looked at it is no failure.
        output.end(error instanceof HostError && error.code === 'ended' ? undefined : error);
      }
    })();
    return { write: (bytes) => input.write(bytes), output, close: () => link.destroy() };
  }

  async #ask<Name extends OperationName>(
    name: Name,
    input: OperationInput<Name>,
    timeoutMs?: number,
  ): Promise<OperationOutput<Name>> {
    const late = new AbortController();
    const patience = timeoutMs === undefined ? undefined : setTimeout(() => late.abort(), timeoutMs);
    try {
      return await this.#answer(name, input, late.signal);
    } finally {
      clearTimeout(patience);
    }
  }

  /** Of what takes as long as it takes: it is given up when the process says nothing any more, whatever it is asked. */
  async #askPatiently<Name extends OperationName>(
    name: Name,
    input: OperationInput<Name>,
  ): Promise<OperationOutput<Name>> {
    const late = new AbortController();
    const over = new AbortController();
    const watch = async (): Promise<void> => {
      for (;;) {
        await sleep(LOOK_MS, undefined, { signal: over.signal });
        await this.#ask('inspect', {}, SILENCE_MS).catch((error: unknown) => {
          if (error instanceof HostError && error.code === 'timeout') late.abort();
        });
      }
    };
    watch().catch(() => undefined);
    try {
      return await this.#answer(name, input, late.signal);
    } finally {
      over.abort();
    }
  }

  /** Rejects with `timeout` once `late` says so. */
  async #answer<Name extends OperationName>(
    name: Name,
    input: OperationInput<Name>,
    late: AbortSignal,
  ): Promise<OperationOutput<Name>> {
    const link = await this.#request(name, input);
    const giveUp = (): void => link.destroy();
    if (late.aborted) giveUp();
    late.addEventListener('abort', giveUp);
    try {
      const frame = await this.#frame(link, FRAME.RESULT);
      return z.parse(OPERATIONS[name].output, jsonIn(frame)) as OperationOutput<Name>;
    } catch (error) {
      throw late.aborted
        ? new HostError('timeout', `the process of the virtual machine "${this.name}" does not answer`, error)
        : error;
    } finally {
      late.removeEventListener('abort', giveUp);
      link.destroy();
    }
  }

  async #request<Name extends OperationName>(operation: Name, input: OperationInput<Name>): Promise<FrameLink> {
    const socket = await connectTo(this.#folder, this.name);
    if (socket === undefined) throw notFound(this.name, namesIn(this.#folder));
    const link = new FrameLink(socket);
    await link.sendJson(FRAME.REQUEST, { protocol: PROTOCOL_VERSION, operation, input, vm: this.name });
    return link;
  }

  /** The next frame, which must be of these kinds; rejects with the failure that the machine's process reports. */
  async #frame(link: FrameLink, ...kinds: readonly Frame['kind'][]): Promise<Frame> {
    const frame = await link.next();
    if (frame === undefined)
      throw new HostError('ended', `the virtual machine "${this.name}" ended before it was done`);
    if (frame.kind === FRAME.ERROR) throw errorOf(z.parse(FAILURE, jsonIn(frame)));
    if (!kinds.includes(frame.kind))
      throw new HostError('protocol', `the process of the virtual machine "${this.name}" says what makes no sense`);
    return frame;
  }

  /** A connection over which messages of a migration go both ways; it ends with a RESULT or ERROR from the machine. */
  migrate(options: OperationInput<'migrate'>): Promise<FrameLink> {
    return this.#request('migrate', options);
  }

  arrive(migration: string): Promise<FrameLink> {
    return this.#request('arrive', { migration });
  }

  /** What a process is that several machines share. */
  domain(): Promise<OperationOutput<'domain'>> {
    return this.#ask('domain', {}, INSPECT_TIMEOUT_MS);
  }

  /** Resolves when the machine runs there; `commit` is called when it could go on from its snapshot, and it does when that has resolved. */
  async join(machine: OperationInput<'join'>, timeoutMs: number, commit?: () => Promise<void>): Promise<void> {
    const link = await this.#request('join', machine);
    let isLate = false;
    const patience = setTimeout(() => {
      isLate = true;
      link.destroy();
    }, timeoutMs);
    try {
      if (commit !== undefined) {
        await this.#frame(link, FRAME.STEP);
        await commit();
        await link.sendJson(FRAME.EVENT, {});
      }
      await this.#frame(link, FRAME.RESULT);
    } catch (error) {
      if (!isLate) throw error;
      throw new HostError('timeout', `it did not start within ${timeoutMs / 1000} s`, error);
    } finally {
      clearTimeout(patience);
      link.destroy();
    }
  }

  async evict(id: string, timeoutMs: number): Promise<void> {
    await this.#ask('evict', { id }, timeoutMs);
  }

  /** Of one in such a process: lets it be asked by another name, too. */
  async rename(name: string): Promise<void> {
    await this.#ask('rename', { name }, INSPECT_TIMEOUT_MS);
  }

  async settle(owner: 'source' | 'target'): Promise<void> {
    await this.#ask('settle', { owner });
  }

  /** As `migrate`, of a machine that keeps pages: another link for them. */
  rejoin(): Promise<FrameLink> {
    return this.#request('rejoin', { with: 'link' });
  }

  /** Its pages are all there, or not wanted any more. */
  async letGo(how: 'complete' | 'never'): Promise<void> {
    await this.#ask('rejoin', { with: how });
  }

  /** For RemoteProcess. */
  processFrame(link: FrameLink): Promise<Frame> {
    return this.#frame(link, FRAME.OUTPUT, FRAME.ERROR_OUTPUT, FRAME.CREDIT, FRAME.RESULT);
  }
}

/** Input that waits until the other side has taken what came before. */
class CreditedInput {
  readonly #link: FrameLink;
  #window = INPUT_WINDOW_BYTES;
  #onCredit: (() => void)[] = [];
  isClosed = false;

  constructor(link: FrameLink) {
    this.#link = link;
    void link.gone.then(() => this.close());
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length && !this.isClosed;) {
      if (this.#window === 0) {
        await new Promise<void>((resolve) => this.#onCredit.push(resolve));
        continue;
      }
      const chunk = bytes.subarray(at, at + Math.min(this.#window, CHUNK_BYTES));
      at += chunk.length;
      this.#window -= chunk.length;
      await this.#link.send(FRAME.INPUT, chunk);
    }
  }

  credit({ payload }: Frame): void {
    if (payload.length !== 4) throw new HostError('protocol', 'what came over the socket is no message of Ringfence');
    this.#window = Math.min(INPUT_WINDOW_BYTES, this.#window + payload.readUInt32BE());
    for (const resolve of this.#onCredit.splice(0)) resolve();
  }

  close(): void {
    this.isClosed = true;
    for (const resolve of this.#onCredit.splice(0)) resolve();
  }
}

class RemoteProcess implements AgentProcess {
  readonly pid: number;
  readonly stdin: AgentInput;
  readonly stdout: AgentOutput;
  readonly stderr: AgentOutput;
  readonly exited: Promise<AgentExit>;
  readonly #link: FrameLink;

  constructor(vm: RemoteVM, link: FrameLink, pid: number) {
    this.pid = pid;
    this.#link = link;
    const input = new CreditedInput(link);
    const stdout = new ByteQueue(OUTPUT_QUEUE_BYTES);
    const stderr = new ByteQueue(OUTPUT_QUEUE_BYTES);
    // Input of several calls goes in the order of the calls, and its end behind it.
    let written: Promise<void> = Promise.resolve();
    this.stdin = {
      write: (bytes) => (written = written.then(() => input.write(bytes))),
      end: () => void (written = written.then(() => link.send(FRAME.INPUT_END))),
      get isClosed() {
        return input.isClosed;
      },
    };
    this.stdout = stdout;
    this.stderr = stderr;
    this.exited = (async () => {
      try {
        for (;;) {
          const frame = await vm.processFrame(link);
          if (frame.kind === FRAME.OUTPUT) await stdout.push(frame.payload);
          else if (frame.kind === FRAME.ERROR_OUTPUT) await stderr.push(frame.payload);
          else if (frame.kind === FRAME.CREDIT) input.credit(frame);
          else return z.parse(OPERATIONS.exec.output, jsonIn(frame));
        }
      } finally {
        stdout.end();
        stderr.end();
        input.close();
        link.destroy();
      }
    })();
    this.exited.catch(() => undefined);
  }

  signal(signal: number): void {
    this.#event({ kind: 'signal', signal });
  }

  resize(columns: number, rows: number): void {
    this.#event({ kind: 'resize', columns, rows });
  }

  close(): void {
    this.#link.destroy();
  }

  #event(event: ProcessEvent): void {
    void this.#link.sendJson(FRAME.EVENT, event);
  }
}

async function sendData(link: FrameLink, offsetBytes: number, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES)
    await link.send(FRAME.DATA, wireData(offsetBytes + at, bytes.subarray(at, at + CHUNK_BYTES)));
}

function notFound(name: string, names: readonly string[]): HostError {
  const near = nearNames(name, names);
  const advice =
    names.length === 0
      ? 'none is running'
      : near.length > 0
        ? `did you mean ${near
            .slice(0, 3)
            .map((each) => `"${each}"`)
            .join(' or ')}?`
        : '"ringfence ps" lists those that run';
  return new HostError('not-found', `there is no virtual machine "${name}"; ${advice}`);
}

/** The properties that have a value. */
function given<T extends object>(value: T): { [Key in keyof T]?: Exclude<T[Key], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as {
    [Key in keyof T]?: Exclude<T[Key], undefined>;
  };
}
