/**
 * A process that is asked as a machine's is, without a machine: `RunningMachine` sees how such processes end, and what is no end. Started by fork(2) of
 * Node with the socket's path and the words of a machine's process; does what it is told.
 */

import { createServer, type Socket } from 'node:net';
import process from 'node:process';
import type { MachineEndReport, VMStatus } from '../../control/operations.ts';
import type { ServedByName, ServedVM } from '../../control/server.ts';
import { HostError } from '../../failure.ts';
import { serveOn } from '../serve.ts';
import { pretendStatus } from './pretend-status.ts';

export type Told =
  /** Closes all connections. */
  | { readonly kind: 'drop' }
  /** What was answered to `inspect` from now on is sent with `answer`. */
  | { readonly kind: 'hold' }
  | { readonly kind: 'answer' }
  /** Of a rename that it does next nobody hears, whether it is done. */
  | { readonly kind: 'lose'; readonly isDone: boolean; readonly isSilent?: boolean }
  /** Answers again. */
  | { readonly kind: 'speak' }
  /** Ends, or one of its forks does. */
  | { readonly kind: 'end'; readonly fork?: string };

const [, , path = '', id = '', folder = '', ...forkNames] = process.argv;
const names = forkNames.slice(0, forkNames.indexOf('--'));
const ends = new Map(['', ...names].map((name) => [name, Promise.withResolvers<MachineEndReport>()] as const));
const over = new Set<string>();
const sockets = new Set<Socket>();
let held: PromiseWithResolvers<void> | undefined;
/** Whether all connections are closed as they come. */
let isSilent = false;
let losing: (Told & { readonly kind: 'lose' }) | undefined;

const drop = (): void => {
  for (const socket of sockets) socket.destroy();
};

const status = async (): Promise<VMStatus> => {
  const forks = names.filter((name) => !over.has(name));
  process.send?.('asked');
  await held?.promise;
  return {
    ...STATUS,
    id,
    folder,
    forks,
    forkStates: { [names.at(-1) ?? '']: { state: 'paused' } },
    endedForks: [...over],
  };
};
const STATUS = pretendStatus(process.pid);

const server = createServer();
server.on('connection', (socket) => {
  if (isSilent) socket.destroy();
  sockets.add(socket);
  socket.once('close', () => sockets.delete(socket));
});
const served: ServedByName = (name = '') => {
  if (over.has(name)) throw new HostError('ended', 'it has ended');
  const finished = (): Promise<MachineEndReport> => (ends.get(name) ?? ends.get(''))!.promise;
  const rename = (to: string): void => {
    const end = ends.get(name);
    if (end === undefined || name === '') throw new HostError('unsupported', 'only forks are renamed');
    if (losing !== undefined) drop();
    isSilent = losing?.isSilent === true;
    if (losing?.isDone === false) return;
    names.splice(names.indexOf(name), 1, to);
    ends.set(to, end);
    over.add(name);
  };
  return { status: names.includes(name) ? () => STATUS : status, finished, rename } as Partial<ServedVM> as ServedVM;
};
serveOn(server, served, () => names.length);
server.listen(path, () => process.send?.('listens'));

process.on('message', (told: Told) => {
  if (told.kind === 'drop') drop();
  else if (told.kind === 'speak') isSilent = false;
  else if (told.kind === 'lose') {
    losing = told;
    process.send?.('loses');
  } else if (told.kind === 'hold') {
    held = Promise.withResolvers();
    process.send?.('holds');
  } else if (told.kind === 'answer') held?.resolve();
  else {
    const { fork = '' } = told;
    over.add(fork);
    ends.get(fork)?.resolve({ kind: 'poweroff' });
    if (fork === '') setTimeout(() => process.exit(0), 200);
  }
});
process.on('disconnect', () => process.exit(0));
