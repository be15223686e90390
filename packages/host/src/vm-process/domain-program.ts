/**
 * The process that machines of one trust label share: one memory domain, in which equal pages have one frame. Machines come to it one by one and go one by one;
 * with the last one it ends. What it may have of this computer is what machines of its label may have (permissions.ts), and is given up as in a process of one
 * machine's own (program.ts).
 *
 *     daemon -- domain, socket --> makes the domain, listens, gives up what it need not have -- started --> daemon
 *     daemon -- join, over the socket --> reads the machine's vm.yaml, makes it, runs it; or waits for one that comes from elsewhere (shared-arrival.ts)
 *     a guest has ended: its end.json says how, whoever waits is told; the others run on
 *
 * All names of its machines, and of their forks, lead to the one socket: who asks says which it means.
 */

import type { Server } from 'node:net';
import process from 'node:process';
import type { FrameLink } from '../control/frames.ts';
import type { OperationInput, OperationOutput } from '../control/operations.ts';
import type { JoinAsker, ServedDomain, ServedVM } from '../control/server.ts';
import { removeTemporaryImages } from '../disk/disks.ts';
import { HostError } from '../failure.ts';
import { labelFolder } from '../machine-folder/label-folder.ts';
import { type MachineFolder, machineFolder } from '../machine-folder/layout.ts';
import { readMachine } from '../machine-folder/machine-files.ts';
import type { VMOptions } from '../vm/options.ts';
import { servedBy } from '../vm/served.ts';
import type { VMDomain } from '../vm/vm-domain.ts';
import { VM } from '../vm/vm.ts';
import { ConsoleLog } from './console-log.ts';
import { failed, started } from './daemon-link.ts';
import { servedWithForks, type ServedForks } from './forks.ts';
import { absentOf, isCommitted, optionsOf, restoredOf, writeEnd } from './machine-run.ts';
import type { DomainMessage } from './messages.ts';
import { serveOn } from './serve.ts';
import { SharedArrival, type SharedArrivalOptions } from './shared-arrival.ts';
import { domainOf, giveUpTheRest } from './shared-steps.ts';

/** How long it waits for its first machine. */
const FIRST_TIMEOUT_MS = 30_000;

/** Does what the daemon says. Once in a process, which belongs to it. */
export async function beDomain(message: DomainMessage, server: Server): Promise<void> {
  const opened = Promise.withResolvers<VMDomain>();
  opened.promise.catch(() => undefined);
  const machines = new SharingMachines(message, opened.promise);
  const close = serveOn(
    server,
    (name) => machines.served(name),
    () => machines.count,
  );
  try {
    const { label, cpus, engine, poolBytes, folder, hasNetwork } = message;
    const domain = await domainOf({ label, cpus, engine, poolBytes, pagingFolder: labelFolder(folder).memory });
    await giveUpTheRest(server, hasNetwork);
    process.on('SIGTERM', () => void machines.stop());
    opened.resolve(domain);
    await started();
    await machines.over;
    // Nobody finds it from here on, and the next one may be there.
    const closed = close();
    await domain.close();
    await closed;
    process.exit(0);
  } catch (error) {
    await failed(error);
  }
}

interface Sharing {
  /** All that lead to it: a rename that was cut short leaves two. */
  readonly names: Set<string>;
  readonly forks: ServedForks;
  /** Rejects when it is none in the end. */
  readonly made: Promise<VM>;
  /** It is to end as soon as it is there. */
  isUnwanted: boolean;
  /** Of one that comes from another process. */
  arrival?: SharedArrival;
  log?: ConsoleLog;
  /** Resolves when nothing of it is left. */
  readonly gone: Promise<void>;
}

class SharingMachines {
  /** Resolves when the last one has ended, or none has come. */
  readonly over: Promise<void>;
  readonly #message: DomainMessage;
  readonly #domain: Promise<VMDomain>;
  /** By their ids. */
  readonly #machines = new Map<string, Sharing>();
  readonly #end: () => void;
  readonly #first: NodeJS.Timeout;
  #isOver = false;

  constructor(message: DomainMessage, domain: Promise<VMDomain>) {
    this.#message = message;
    this.#domain = domain;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.over = promise;
    this.#end = () => {
      this.#isOver = true;
      clearTimeout(this.#first);
      resolve();
    };
    this.#first = setTimeout(() => this.#machines.size === 0 && this.#end(), FIRST_TIMEOUT_MS);
  }

  /** With forks. */
  get count(): number {
    return [...this.#machines.values()].reduce((sum, { forks }) => sum + 1 + forks.count, 0);
  }

  served(name: string | undefined): ServedVM {
    const all = [...this.#machines.values()];
    const owner =
      name === undefined
        ? undefined
        : (all.find(({ names }) => names.has(name)) ??
          all.find(({ forks }) => forks.knows(name) === 'lives') ??
          all.find(({ forks }) => forks.knows(name) === 'ended'));
    const domain: ServedDomain = {
      status: () => this.#status(),
      join: (machine, asker) => this.#join(machine, asker),
      evict: (id) => this.#evict(id),
    };
    if (owner === undefined || name === undefined)
      return { ...servedBy(() => nobody(name)), arrive: () => nobody(name), domain };
    const served = owner.forks.served(name);
    const fork: ServedVM['fork'] = (options) => {
      this.#leave(options.names, owner);
      return served.fork(options);
    };
    if (owner.forks.knows(name) === 'lives')
      return {
        ...served,
        fork,
        rename: (to) => {
          served.rename?.(to);
          this.#leave([to]);
        },
      };
    if (!owner.names.has(name)) return served;
    const { arrival } = owner;
    const arrive = arrival && { arrive: (migration: string, link: FrameLink) => arrival.take(migration, link) };
    return { ...served, ...arrive, domain, rename: (to) => this.#rename(owner, to), fork };
  }

  /** Ends all of them. */
  async stop(): Promise<void> {
    for (const sharing of this.#machines.values()) {
      // Of one that is only being made, too.
      sharing.isUnwanted = true;
      sharing.arrival?.giveUp();
    }
    await Promise.allSettled([...this.#machines.values()].map(async ({ made }) => (await made).stop()));
  }

  #status(): OperationOutput<'domain'> {
    this.#checkIsThere();
    const { label, folder, cpus, engine, hasNetwork, poolBytes } = this.#message;
    const all = [...this.#machines.values()];
    return {
      label,
      folder,
      pid: process.pid,
      cpus,
      ...(engine === undefined ? {} : { engine }),
      hasNetwork,
      hasPool: poolBytes !== undefined,
      takesArrivals: true,
      machines: [...this.#machines.keys()],
      names: all.flatMap(({ names, forks }) => [...names, ...forks.names]),
    };
  }

  async #join(machine: OperationInput<'join'>, asker: JoinAsker): Promise<void> {
    this.#checkIsThere();
    const { id, name, folder } = machine;
    if (this.#machines.has(id)) throw new HostError('wrong-state', `the virtual machine "${name}" runs already`);
    const { promise: made, resolve, reject } = Promise.withResolvers<VM>();
    made.catch(() => undefined);
    const gone = Promise.withResolvers<void>();
    const forks = servedWithForks(() => made, { id, folder, label: this.#message.label });
    const sharing: Sharing = { names: new Set([name]), forks, made, isUnwanted: false, gone: gone.promise };
    this.#leave([name]);
    this.#machines.set(id, sharing);
    const left = (): void => {
      sharing.log?.close();
      this.#machines.delete(id);
      gone.resolve();
      if (this.#machines.size === 0) this.#end();
    };
    const runs = (vm: VM): void => {
      this.#untilEnd(vm, sharing, machine)
        .catch((error: unknown) => console.error(error))
        .finally(left);
      resolve(vm);
    };
    const fails = (error: unknown): void => {
      reject(error);
      left();
    };
    try {
      if (machine.absentDisks === undefined) runs(await this.#made(machine, sharing, asker));
      else sharing.arrival = await this.#arrival(machine, sharing, asker, { runs, fails });
    } catch (error) {
      fails(error);
      throw error;
    }
  }

  #checkIsThere(): void {
    if (this.#isOver)
      throw new HostError('ended', `the process of the label "${this.#message.label}" has no machine any more`);
  }

  /** A machine that runs. */
  async #made(machine: OperationInput<'join'>, sharing: Sharing, asker: JoinAsker): Promise<VM> {
    const { disks, snapshot } = machine;
    const folder = machineFolder(machine.folder);
    const options = await this.#optionsOf(machine, folder, sharing);
    const vm = await (snapshot === undefined ? VM.create(options) : restoredOf(snapshot, options, folder));
    try {
      const mayRun = snapshot === undefined || (await asker.ready()) || (await isCommitted(folder, disks));
      if (!mayRun || sharing.isUnwanted || (asker.isGone && snapshot === undefined)) throw brokenOff(machine);
      vm.start();
      return vm;
    } catch (error) {
      await vm.kill();
      throw error;
    }
  }

  /** One that waits for what comes. */
  async #arrival(
    machine: OperationInput<'join'>,
    sharing: Sharing,
    asker: JoinAsker,
    what: SharedArrivalOptions,
  ): Promise<SharedArrival> {
    const folder = machineFolder(machine.folder);
    const options = await this.#optionsOf(machine, folder, sharing);
    const absentDisks = absentOf(machine.absentDisks ?? {});
    // Where others run the process has compiled what it needs.
    const arriving = await VM.arriving({ ...options, absentDisks }, undefined, this.#machines.size > 1);
    if (sharing.isUnwanted || asker.isGone) {
      await arriving.abandon();
      throw brokenOff(machine);
    }
    arriving.warmUp().catch(() => undefined);
    return new SharedArrival(arriving, { id: machine.id, folder }, what);
  }

  /** What its vm.yaml says; throws `bad-argument` where that is not a machine of this label. */
  async #optionsOf(
    { id, folder: path, disks, snapshot, absentDisks, poolBytes = 0 }: OperationInput<'join'>,
    folder: MachineFolder,
    sharing: Sharing,
  ): Promise<VMOptions> {
    const domain = await this.#domain;
    const config = await readMachine(folder);
    const { label } = this.#message;
    if (config.id !== id || config.label !== label)
      throw new HostError('bad-argument', `the machine in the folder ${path} is not one of the label "${label}"`);
    if (poolBytes > (domain.counters().pool?.targetBytes ?? Infinity)) domain.resize(poolBytes);
    await removeTemporaryImages(folder.disks);
    sharing.log = new ConsoleLog(folder.consoleLog);
    const how = { disks, isArriving: absentDisks !== undefined, snapshot };
    return optionsOf(config, folder, how, sharing.log, domain);
  }

  async #untilEnd(vm: VM, { forks }: Sharing, { folder }: OperationInput<'join'>): Promise<void> {
    const report = await vm.finished();
    await forks.end();
    writeEnd(machineFolder(folder).end, report);
  }

  async #evict(id: string): Promise<void> {
    const sharing = this.#machines.get(id);
    if (sharing === undefined) {
      // The first one does not come.
      if (this.#machines.size === 0) this.#end();
      return;
    }
    sharing.isUnwanted = true;
    sharing.arrival?.giveUp();
    await sharing.made.then(
      (vm) => vm.kill(),
      () => undefined,
    );
    await sharing.gone;
  }

  #rename(sharing: Sharing, to: string): void {
    for (const other of this.#machines.values()) {
      if (other !== sharing && (other.names.has(to) || other.forks.knows(to) === 'lives'))
        throw new HostError('name-taken', `a machine that it shares its process with is called "${to}"`);
      if (other === sharing && other.forks.knows(to) !== undefined)
        throw new HostError('ended', `a fork of the virtual machine was called "${to}"`);
    }
    sharing.names.add(to);
  }

  /** Names that are somebody else's from now on: one that has been renamed has them no more. */
  #leave(names: readonly string[], except?: Sharing): void {
    for (const sharing of this.#machines.values())
      if (sharing !== except) for (const name of names) sharing.names.delete(name);
  }
}

function brokenOff({ name }: OperationInput<'join'>): HostError {
  return new HostError('aborted', `the start of the virtual machine "${name}" was broken off`);
}

function nobody(name: string | undefined): Promise<never> {
  return Promise.reject(
    new HostError(
      'ended',
      name === undefined ? 'no virtual machine was named' : `the virtual machine "${name}" has ended`,
    ),
  );
}
