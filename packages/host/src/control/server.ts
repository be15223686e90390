/**
 * Answers what is asked of this process's virtual machine over its socket. What comes is an allegation until its schema has passed; the
 * socket's folder lets nobody in but the machine's owner (vm-folder.ts).
 */

import { rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import type { AgentProcess, AgentTreeStep } from '@ringfence/core';
import * as z from 'zod/mini';
import { HostError } from '../failure.ts';
import type { ConsoleViewer, GuestCalls } from '../guest/calls.ts';
import type { WantedOptions } from '../vm/unless-aborted.ts';
import { CHUNK_BYTES, FRAME, type Frame, FrameLink, INPUT_WINDOW_BYTES, jsonIn } from './frames.ts';
import {
  type MachineEndReport,
  type MigrationOutcome,
  type OperationInput,
  type OperationName,
  type OperationOutput,
  OPERATIONS,
  PROCESS_EVENT,
  PROTOCOL_VERSION,
  type ProcessorFigures,
  REQUEST,
  TREE_STEP,
  type VMStatus,
  type OpenedDiskView,
  type VMMemoryUsage,
  type VMUsage,
} from './operations.ts';
import { dataOf, fromBase64, stepOf, wireData, wireFailure, wireStatus, wireStep } from './wire.ts';

/** How long a client may take to say what it wants. */
const REQUEST_TIMEOUT_MS = 10_000;

/** What is served. */
export interface ServedVM {
  readonly guest: GuestCalls;
  status(): VMStatus | Promise<VMStatus>;
  openConsole(): Promise<ConsoleViewer>;
  stop(options: { readonly timeoutMs: number }): Promise<'shutdown' | 'forced'>;
  /** Asks when it is its turn whether that is wanted still. */
  pause(options: WantedOptions): Promise<void>;
  resume(options: WantedOptions): Promise<void>;
  usage(): VMUsage | Promise<VMUsage>;
  disks(): readonly OpenedDiskView[] | Promise<readonly OpenedDiskView[]>;
  processors(input: OperationInput<'processors'>): ProcessorFigures | Promise<ProcessorFigures>;
  memory(input: OperationInput<'memory'>): Promise<VMMemoryUsage>;
  ready(): Promise<void>;
  finished(): Promise<MachineEndReport>;
  /** Writes a snapshot beside its place in a store: gives where, and how long the guest stood still. */
  snapshot(options: {
    readonly store: string;
    readonly name: string;
    readonly parent?: string;
  }): Promise<{ readonly path: string; readonly pausedMs: number }>;
  migrate(options: OperationInput<'migrate'>, link: FrameLink): Promise<MigrationOutcome>;
  settle(owner: 'source' | 'target'): Promise<void>;
  /** Resolves when the link is not needed any more. */
  rejoin(how: OperationInput<'rejoin'>['with'], link: FrameLink): Promise<void>;
  /** Of a process that waits for a machine. */
  arrive?(migration: string, link: FrameLink): Promise<void>;
  /** Of a process that machines of one trust label share. */
  readonly domain?: ServedDomain;
  /** Of one in such a process, and of a fork. */
  rename?(name: string): void;
  /** Gives the names of the forks. */
  fork(options: { readonly count: number; readonly names: readonly string[] }): Promise<readonly string[]>;
}

export interface ServedDomain {
  status(): OperationOutput<'domain'>;
  join(machine: OperationInput<'join'>, asker: JoinAsker): Promise<void>;
  evict(id: string): Promise<void>;
}

/** Who wants a machine to run. */
export interface JoinAsker {
  /** Tells that it could go on from its snapshot. Resolves when it may, and with false when nobody is there any more who could say so. */
  ready(): Promise<boolean>;
  readonly isGone: boolean;
}

type Handlers = {
  readonly [Name in OperationName]: (
    vm: ServedVM,
    input: OperationInput<Name>,
    link: FrameLink,
  ) => OperationOutput<Name> | Promise<OperationOutput<Name>>;
};

const HANDLERS: Handlers = {
  inspect: (vm) => vm.status(),
  exec: async ({ guest }, { argv, ...input }, link) => {
    const program = await guest.exec({ ...input, argv: argv.map(fromBase64) });
    void link.gone.then(() => program.close());
    try {
      await link.sendJson(FRAME.STARTED, { pid: program.pid });
      void feedProcess(program, link);
      const [exit] = await Promise.all([
        program.exited,
        give(program.stdout, link, FRAME.OUTPUT),
        give(program.stderr, link, FRAME.ERROR_OUTPUT),
      ]);
      return exit;
    } finally {
      program.close();
    }
  },
  stat: async ({ guest }, { path, ...options }) => wireStatus(await guest.stat(fromBase64(path), options)),
  'copy-out': async ({ guest }, { path, ...options }, link) => {
    let isWanted = true;
    link.gone.then(() => (isWanted = false)).catch(() => undefined);
    for await (const step of guest.copyOut(fromBase64(path), options)) {
      if (!isWanted) break;
      if (step.kind === 'data') await sendData(step.offsetBytes, step.bytes, link);
      else await link.sendJson(FRAME.STEP, wireStep(step));
    }
    return {};
  },
  'copy-in': async ({ guest }, { path, ...options }, link) => {
    await guest.copyIn(fromBase64(path), stepsOf(link), options);
    return {};
  },
  console: async (vm, _input, link) => {
    const viewer = await vm.openConsole();
    void link.gone.then(() => viewer.close());
    await link.sendJson(FRAME.STARTED, {});
    void feedConsole(viewer, link);
    await give(viewer.output, link, FRAME.OUTPUT);
    return {};
  },
  pause: async (vm, _input, link) => {
    await vm.pause({ isWanted: async () => !(await link.isLeft()) });
    return {};
  },
  resume: async (vm, _input, link) => {
    await vm.resume({ isWanted: async () => !(await link.isLeft()) });
    return {};
  },
  ready: async (vm) => {
    await vm.ready();
    return {};
  },
  migrate: (vm, options, link) => vm.migrate(options, link),
  settle: async (vm, { owner }) => {
    await vm.settle(owner);
    return {};
  },
  domain: (vm) => domainOf(vm).status(),
  join: async (vm, machine, link) => {
    let isGone = false;
    // Reading is what shows that the other side has gone.
    const said = link.next().catch(() => undefined);
    void said.then((frame) => (isGone ||= frame === undefined));
    await domainOf(vm).join(machine, {
      async ready() {
        await link.sendJson(FRAME.STEP, {});
        return (await said)?.kind === FRAME.EVENT;
      },
      get isGone() {
        return isGone;
      },
    });
    return {};
  },
  evict: async (vm, { id }) => {
    await domainOf(vm).evict(id);
    return {};
  },
  rename: (vm, { name }) => {
    if (vm.rename === undefined) throw new HostError('unsupported', 'the machine is found by any name');
    vm.rename(name);
    return {};
  },
  rejoin: async (vm, input, link) => {
    await vm.rejoin(input.with, link);
    return {};
  },
  arrive: async (vm, { migration }, link) => {
    if (vm.arrive === undefined) throw new HostError('wrong-state', 'this machine is here already');
    await vm.arrive(migration, link);
    return {};
  },
  wait: (vm) => vm.finished(),
  usage: (vm) => vm.usage(),
  disks: async (vm) => ({ disks: [...(await vm.disks())] }),
  processors: (vm, input) => vm.processors(input),
  memory: (vm, input) => vm.memory(input),
  fork: async (vm, options) => ({ names: [...(await vm.fork(options))] }),
  snapshot: async (vm, options, link) => {
    // Reading is what shows that the other side has gone.
    void link.next().catch(() => undefined);
    const made = await vm.snapshot(options);
    // Nobody is there any more who would put it into its place.
    if (link.isGone) await rm(made.path, { recursive: true, force: true });
    return made;
  },
  stop: async (vm, { timeoutMs }) => ({ how: await vm.stop({ timeoutMs }) }),
};

/**
 * What is not begun for somebody who has given it up: a process that stood still for a while finds requests that were long answered with "it does not
 * answer", and would do them behind everybody's back.
 */
const LEFT_ALONE: ReadonlySet<OperationName> = new Set(['pause', 'resume', 'fork', 'snapshot', 'stop', 'rename']);

function domainOf({ domain }: ServedVM): ServedDomain {
  if (domain !== undefined) return domain;
  throw new HostError('unsupported', 'the machine has a process of its own');
}

/** The machine of that name; throws a HostError when there is none any more. */
export type ServedByName = (name: string | undefined) => ServedVM;

/** Serves one connection to its end. Never rejects. */
export async function serveConnection(vm: ServedVM | ServedByName, socket: Socket): Promise<void> {
  const link = new FrameLink(socket);
  const patience = setTimeout(() => link.destroy(), REQUEST_TIMEOUT_MS);
  try {
    const first = await link.next();
    clearTimeout(patience);
    if (first === undefined) return link.destroy();
    await link.sendJson(FRAME.RESULT, await answer(vm, first, link));
  } catch (error) {
    await link.sendJson(FRAME.ERROR, wireFailure(error));
  } finally {
    clearTimeout(patience);
    await link.end();
  }
}

async function answer(vm: ServedVM | ServedByName, first: Frame, link: FrameLink): Promise<unknown> {
  const request = z.safeParse(REQUEST, first.kind === FRAME.REQUEST ? jsonIn(first) : undefined);
  if (!request.success) throw new HostError('protocol', 'the first message on the socket is no request');
  const { protocol, operation, input, vm: name } = request.data;
  if (protocol !== PROTOCOL_VERSION)
    throw new HostError(
      'protocol',
      `the virtual machine is run by another version of Ringfence (it speaks ${PROTOCOL_VERSION}, this one ${protocol})`,
    );
  if (!Object.hasOwn(OPERATIONS, operation)) throw new HostError('unsupported', `there is no operation "${operation}"`);
  return handled(operation as OperationName, typeof vm === 'function' ? vm(name) : vm, input, link);
}

async function handled<Name extends OperationName>(
  name: Name,
  vm: ServedVM,
  input: unknown,
  link: FrameLink,
): Promise<unknown> {
  const checked = z.safeParse(OPERATIONS[name].input, input);
  if (!checked.success) {
    const [issue] = checked.error.issues;
    throw new HostError('bad-argument', `${name}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'is wrong'}`);
  }
  if (LEFT_ALONE.has(name) && (await link.isLeft())) throw new HostError('aborted', 'who asked has gone');
  const handler: (vm: ServedVM, input: never, link: FrameLink) => unknown = HANDLERS[name];
  return await handler(vm, checked.data as never, link);
}

/** Sends all of a stream. */
async function give(
  output: AsyncIterable<Uint8Array>,
  link: FrameLink,
  kind: typeof FRAME.OUTPUT | typeof FRAME.ERROR_OUTPUT,
): Promise<void> {
  for await (const bytes of output)
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) await link.send(kind, bytes.subarray(at, at + CHUNK_BYTES));
}

async function sendData(offsetBytes: number, bytes: Uint8Array, link: FrameLink): Promise<void> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES)
    await link.send(FRAME.DATA, wireData(offsetBytes + at, bytes.subarray(at, at + CHUNK_BYTES)));
}

/** Gives a program what its client sends. Input goes its own way, so that a signal is not behind input that nobody reads. */
async function feedProcess(program: AgentProcess, link: FrameLink): Promise<void> {
  let waitingBytes = 0;
  const take = async (before: Promise<void>, payload: Buffer): Promise<void> => {
    await before;
    // What a program that has ended does not take is dropped, and its client told that there is room.
    await program.stdin.write(Uint8Array.from(payload)).catch(() => undefined);
    waitingBytes -= payload.length;
    await credit(link, payload);
  };
  const end = async (before: Promise<void>): Promise<void> => {
    await before;
    program.stdin.end();
  };
  let written = Promise.resolve();
  try {
    for (let frame = await link.next(); frame !== undefined; frame = await link.next()) {
      const { kind, payload } = frame;
      if (kind === FRAME.INPUT) {
        waitingBytes += payload.length;
        if (waitingBytes > INPUT_WINDOW_BYTES) throw new HostError('protocol', 'a client sent more than it may');
        written = take(written, payload);
      } else if (kind === FRAME.INPUT_END) written = end(written);
      else if (kind === FRAME.EVENT) {
        const event = z.parse(PROCESS_EVENT, jsonIn(frame));
        if (event.kind === 'signal') program.signal(event.signal);
        else program.resize(event.columns, event.rows);
      }
    }
  } catch {
    // A client that says what makes no sense is one that has gone.
    link.destroy();
  }
}

async function feedConsole(viewer: ConsoleViewer, link: FrameLink): Promise<void> {
  try {
    for (let frame = await link.next(); frame !== undefined; frame = await link.next()) {
      if (frame.kind !== FRAME.INPUT) continue;
      await viewer.write(Uint8Array.from(frame.payload));
      await credit(link, frame.payload);
    }
  } catch {
    link.destroy();
  }
  viewer.close();
}

function credit(link: FrameLink, { length }: Buffer): Promise<void> {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(length);
  return link.send(FRAME.CREDIT, payload);
}

async function* stepsOf(link: FrameLink): AsyncGenerator<AgentTreeStep> {
  for (;;) {
    const frame = await link.next();
    // A copy that its client leaves unfinished is none.
    if (frame === undefined) throw new HostError('aborted', 'the copy was broken off');
    if (frame.kind === FRAME.INPUT_END) return;
    if (frame.kind === FRAME.DATA) yield dataOf(frame.payload);
    else if (frame.kind === FRAME.STEP) {
      const step = z.safeParse(TREE_STEP, jsonIn(frame));
      if (!step.success) throw new HostError('protocol', 'what came over the socket is no step of a copy');
      yield stepOf(step.data);
    }
  }
}
