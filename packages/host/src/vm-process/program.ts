/**
 * The process of one virtual machine. The daemon starts it under Node's permission model (permissions.ts) and hands it the socket that it is
 * asked through; from then on it needs the daemon no more and outlives it.
 *
 *     daemon -- start, socket --> reads vm.yaml, makes the machine, listens, gives up what it need not have, runs it -- started --> daemon
 *     ... asked through the socket, by the daemon and by `exec`, `cp`, `console` ...
 *     the guest has ended: end.json says how, whoever waits is told, and the process ends
 */

import type { Server } from 'node:net';
import process from 'node:process';
import { removeTemporaryImages } from '../disk/disks.ts';
import type { FrameLink } from '../control/frames.ts';
import type { HowStarted } from '../control/operations.ts';
import type { ServedByName, ServedVM } from '../control/server.ts';
import { endBehindOthers } from '../machine/background-threads.ts';
import { CONFIG_VERSION, hasCard, type MachineConfig } from '../machine-folder/config.ts';
import { type MachineFolder, machineFolder } from '../machine-folder/layout.ts';
import { readMachine } from '../machine-folder/machine-files.ts';
import { parseVmYaml, vmYamlOf } from '../machine-folder/vm-yaml.ts';
import { Mailbox, missesForEver, removeMailbox } from '../migration/mailbox.ts';
import type { ArrivingVM } from '../vm/arrival.ts';
import { ParkedVM } from '../vm/parked.ts';
import type { VMDomain } from '../vm/vm-domain.ts';
import { VM } from '../vm/vm.ts';
import { warmProcess, type WarmProcess } from '../vm/warm-process.ts';
import { writeArrived } from './arrived-note.ts';
import { ConsoleLog } from './console-log.ts';
import { failed, started, tell } from './daemon-link.ts';
import { beDomain } from './domain-program.ts';
import { servedWithForks } from './forks.ts';
import { goOnAndEnd } from './going-on.ts';
import { beKeeper } from './keep-program.ts';
import { absentOf, isCommitted, optionsOf, parkedOptions, restoredOf, writeEnd } from './machine-run.ts';
import type { DomainMessage, KeepMessage, SpareMessage, StartMessage } from './messages.ts';
import { serveOn } from './serve.ts';
import { ARRIVE_TIMEOUT_MS } from './shared-arrival.ts';
import { domainOf, giveUpTheRest, giveUpUnneeded } from './shared-steps.ts';

/** A daemon that is gone before it has said what to start. */
const ORPHANED = 3;
/** So often a process that waits for a machine which goes on from a kept boot has done that before. */
const REHEARSALS = 2;
/** How long the daemon may take to hear why a machine did not come. */
const ANSWER_MS = 200;

/** As the build calls main.ts. */
const BUILT_PROGRAM = /[/\\]vm-process-main\.js$/;

/** Whether this process, which began with a start snapshot, was started to be a virtual machine's. */
export function isVMProcess(): boolean {
  return BUILT_PROGRAM.test(process.argv[1] ?? '');
}

/** Does what the daemon says. Once in a process, which belongs to it. */
export function vmProcess(): void {
  process.on('disconnect', () => process.exit(ORPHANED));
  process.once('message', (first: StartMessage | SpareMessage | DomainMessage | KeepMessage, server) => {
    if (first.kind === 'start') void main(first, server as Server);
    else if (first.kind === 'domain') void beDomain(first, server as Server);
    else if (first.kind === 'keep') void beKeeper(first);
    else void beSpare(first);
  });
  // Typed at the terminal that the daemon runs in, these are the daemon's.
  for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined);
}

/** One like those that come. */
const ANY_MACHINE: MachineConfig = {
  version: CONFIG_VERSION,
  id: '00000000-0000-4000-8000-000000000000',
  name: 'any',
  image: 'tiny',
  suite: 'stable',
  cpus: 1,
  memory: '512M',
  disks: [{ file: 'disks/disk0.qcow2' }],
  networks: [{ mode: 'user', mac: '52:54:00:00:00:00', publish: ['8080:80'] }],
};

/** What a spare process has ready. */
interface Ready {
  readonly warm?: WarmProcess;
  readonly parked?: ParkedVM;
}

async function beSpare({ make }: SpareMessage): Promise<void> {
  const wanted = new Promise<[StartMessage, Server]>((resolve) => {
    process.once('message', (message: StartMessage, server) => resolve([message, server as Server]));
  });
  // What reads vm.yaml is loaded late, and then compiled; one that goes on from a kept boot is told what it says.
  if (make === undefined) parseVmYaml(vmYamlOf(ANY_MACHINE), 'a vm.yaml');
  try {
    const warm = await warmProcess();
    giveUpUnneeded();
    if (make !== undefined) await goOnAndEnd(parkedOptions(make), REHEARSALS);
    const parked = make && (await ParkedVM.make(parkedOptions(make), warm));
    await tell({ kind: 'ready' });
    await main(...(await wanted), { warm, ...(parked === undefined ? {} : { parked }) });
  } catch (error) {
    await failed(error);
  }
}

/** `ready` is what a spare process has. */
async function main(message: StartMessage, server: Server, { warm, parked }: Ready = {}): Promise<void> {
  const folder = machineFolder(message.place ?? message.folder);
  const made = Promise.withResolvers<VM>();
  const forks = servedWithForks(() => made.promise, message);
  const expected = Promise.withResolvers<ArrivingVM>();
  let orphaned: NodeJS.Timeout | undefined;
  const arrival: Pick<ServedVM, 'arrive'> = {
    arrive: async (migration, link) => {
      const arriving = await expected.promise;
      clearTimeout(orphaned);
      await arrive(arriving, folder, migration, link, made);
    },
  };
  // The socket listens already: who comes before there is a machine waits for it, and would for ever where nobody heard of it.
  const served: ServedByName = message.isArriving ? (name) => ({ ...forks.served(name), ...arrival }) : forks.served;
  const close = serveOn(server, served, () => 1 + forks.count);
  try {
    const config = message.config ?? (await readMachine(folder));
    const log = new ConsoleLog(folder.consoleLog);
    const domain = await poolOf(config, folder, message.poolBytes);
    // A pool has its own.
    if (domain !== undefined) await warm?.compiler.close();
    await removeTemporaryImages(folder.disks);
    const options = await optionsOf(config, folder, message, log, domain);
    if (message.isArriving) {
      const arriving = await VM.arriving({ ...options, absentDisks: absentOf(message.absentDisks) }, warm);
      // While the daemon hears of it, and the other one.
      arriving.warmUp().catch(() => undefined);
      // A daemon that was killed meanwhile asks no more.
      orphaned = setTimeout(() => process.exit(ORPHANED), ARRIVE_TIMEOUT_MS);
      expected.resolve(arriving);
      await started();
    } else {
      // What another run of it missed does not come for this one.
      missesForEver(folder);
      removeMailbox(folder);
      const { snapshot, disks } = message;
      const vm = await (parked !== undefined
        ? VM.ofParked(parked, options)
        : snapshot === undefined
          ? VM.create(options)
          : restoredOf(snapshot, options, folder));
      if (snapshot !== undefined) await untilCommitted(folder, disks);
      made.resolve(vm);
      vm.start();
    }
    const vm = await made.promise;
    await giveUpTheRest(server, hasCard(config));
    process.on('SIGTERM', () => void vm.stop());
    if (!message.isArriving) await started(howStarted(vm, message));
    const report = await vm.finished();
    await forks.end();
    await domain?.close();
    writeEnd(folder.end, report);
    if (message.isArriving) removeMailbox(folder);
    await close();
    // Where the machine runs it needs the processors, which may be the same ones.
    if (report.kind === 'moved') endBehindOthers();
    process.exit(0);
  } catch (error) {
    await failed(error);
  }
}

/**
 * Waits until it is the restored machine that counts: from then on the old disks are nobody's. A daemon that was killed may have got so far without
 * having said it.
 */
async function untilCommitted(folder: MachineFolder, disks: readonly string[]): Promise<void> {
  process.removeAllListeners('disconnect');
  const { promise: answered, resolve } = Promise.withResolvers<'go' | 'gone'>();
  process.once('message', () => resolve('go'));
  process.once('disconnect', () => resolve('gone'));
  await tell({ kind: 'restored' });
  if (!process.connected) resolve('gone');
  if ((await answered) === 'go') return;
  if (!(await isCommitted(folder, disks))) process.exit(ORPHANED);
}

/** Of one that was not restored. */
function howStarted({ isResumed, bootReason: reason }: VM, { snapshot }: StartMessage): HowStarted | undefined {
  if (snapshot !== undefined) return undefined;
  return isResumed ? { from: 'kept-boot' } : { from: 'boot', ...(reason === undefined ? {} : { reason }) };
}

/** Of a machine that may be given less memory than it has: a pool for it alone, whose size the daemon says from now on. */
async function poolOf(
  { id, cpus, engine, overcommit }: MachineConfig,
  folder: MachineFolder,
  poolBytes: number | undefined,
): Promise<VMDomain | undefined> {
  if (overcommit === undefined || poolBytes === undefined) return undefined;
  return domainOf({ label: id, cpus, engine, poolBytes, pagingFolder: folder.memory });
}

/** Takes the machine over; the process ends when it does not come. */
async function arrive(
  arriving: ArrivingVM,
  folder: MachineFolder,
  migration: string,
  link: FrameLink,
  made: PromiseWithResolvers<VM>,
): Promise<void> {
  try {
    await arriving.take(link, () => writeArrived(folder.arrived, migration), made.resolve, new Mailbox(folder));
  } catch (error) {
    missesForEver(folder);
    // The answer is given first; one that runs already goes on until it needs what it has not.
    setTimeout(() => made.reject(error), ANSWER_MS);
    throw error;
  }
}
