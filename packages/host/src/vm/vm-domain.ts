/**
 * Several virtual machines in one memory domain: `VM.start({ domain })`. They take turns on the thread that made it, as forks do, and pages that are
 * equal have one frame (hypervisor/page-sharing.ts). All of them have the domain's trust label.
 */

import {
  type DomainMemory,
  MachineDomain,
  type MachineOptions,
  MAXIMUM_DOMAIN_BYTES,
  MAXIMUM_HARTS,
  MAXIMUM_SCAN_SHARE,
  PageSharing,
  SHARING_TICK_MS,
  type SharingCounts,
} from '@ringfence/core';
import { cacheFolder } from '@ringfence/images/cache-folder';
import { join } from 'node:path';
import process from 'node:process';
import { HostError } from '../failure.ts';
import { nodeClock } from '../machine/ports.ts';
import { ThreadedCompiler } from '../machine/region-compiler.ts';
import { interpreterCache } from '../snapshot/interpreter-cache.ts';

export interface VMDomainOptions {
  /** Machines of one label trust each other: sharing lets one tell by timing which pages another has. The empty one when it is not given. */
  readonly label?: string;
  /** Processors of each of its machines, which take turns; 1 when it is not given. */
  readonly cpus?: number;
  readonly engine?: NonNullable<MachineOptions['engine']>;
  /** Whether pages that are equal get one frame. Default true. */
  readonly sharing?: boolean;
  /** Of a core, that looking for equal pages may take at most, above 0 and up to 1; 0.04 when it is not given. */
  readonly scanShare?: number;
}

export interface VMDomainMemory extends DomainMemory {
  readonly sharing: SharingCounts | undefined;
}

export class VMDomain implements AsyncDisposable {
  readonly label: string;
  readonly cpus: number;
  readonly engine: MachineOptions['engine'];
  /** What its machines are executed in. */
  readonly machines: MachineDomain;
  readonly #compiler: ThreadedCompiler;
  readonly #sharing: PageSharing;
  #timer: NodeJS.Timeout | undefined;

  private constructor(
    { label, cpus, engine }: Pick<VMDomain, 'label' | 'cpus' | 'engine'>,
    machines: MachineDomain,
    compiler: ThreadedCompiler,
    sharing: PageSharing,
  ) {
    this.label = label;
    this.cpus = cpus;
    this.engine = engine;
    this.machines = machines;
    this.#compiler = compiler;
    this.#sharing = sharing;
  }

  /** Rejects with a HostError when the options are none. */
  static async create(options: VMDomainOptions = {}): Promise<VMDomain> {
    const { label = '', cpus = 1, engine, sharing: isSharing = true, scanShare } = options;
    if (!Number.isInteger(cpus) || cpus < 1 || cpus > MAXIMUM_HARTS)
      throw new HostError(
        'bad-argument',
        `cpus "${cpus}" is no number of processors; there can be 1 to ${MAXIMUM_HARTS}`,
      );
    if (scanShare !== undefined && !(scanShare > 0 && scanShare <= MAXIMUM_SCAN_SHARE))
      throw new HostError('bad-argument', `scanShare "${scanShare}" is no part of a core, above 0 and up to 1`);
    const compiler = new ThreadedCompiler();
    const machines = await MachineDomain.create({
      label,
      domainBytes: MAXIMUM_DOMAIN_BYTES,
      harts: cpus,
      ...(engine === undefined ? {} : { engine }),
      compiler,
      interpreters: interpreterCache(join(cacheFolder(undefined, process.env), 'interpreters')),
    });
    const made = new VMDomain(
      { label, cpus, engine },
      machines,
      compiler,
      await PageSharing.of(machines, nodeClock, scanShare),
    );
    made.setSharing(isSharing);
    return made;
  }

  /** Throws a HostError when a machine with these options is not to be started here. */
  check({
    label = '',
    cpus,
    engine,
  }: {
    readonly label?: string;
    readonly cpus: number;
    readonly engine?: MachineOptions['engine'];
  }): void {
    if (label !== this.label)
      throw new HostError(
        'bad-argument',
        `the memory domain is for machines with the label "${this.label}", and not "${label}": those of different labels never share memory`,
      );
    if (cpus !== this.cpus)
      throw new HostError(
        'bad-argument',
        `machines of the memory domain have ${this.cpus === 1 ? 'one processor' : `${this.cpus} processors`} each, and not ${cpus}`,
      );
    if (engine !== this.engine)
      throw new HostError('bad-argument', 'the engine of a machine in a memory domain is the domain’s');
  }

  /** Whether equal pages are looked for from now on. What is shared stays so until it is written. */
  setSharing(on: boolean): void {
    clearInterval(this.#timer);
    this.#timer = on ? setInterval(() => this.#sharing.tick(), SHARING_TICK_MS).unref() : undefined;
  }

  memory(): VMDomainMemory {
    return { ...this.machines.memory, sharing: this.#sharing.counts };
  }

  /** Ends what it does by itself. Its machines are to have ended before. */
  async close(): Promise<void> {
    this.setSharing(false);
    await this.#compiler.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
