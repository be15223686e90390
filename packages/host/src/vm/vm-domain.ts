/**
 * Several virtual machines in one memory domain: `VM.start({ domain })`. They take turns on the thread that made it, as forks do, and pages that are
 * equal have one frame (hypervisor/page-sharing.ts). All of them have the domain's trust label.
 */

import {
  countPages,
  type DomainMemory,
  LEAST_POOL_BYTES,
  type Log,
  type Machine,
  MachineDomain,
  type MachineOptions,
  MAXIMUM_DOMAIN_BYTES,
  MAXIMUM_HARTS,
  MAXIMUM_MEMORY_BYTES,
  MAXIMUM_SCAN_SHARE,
  type MemberMemory,
  MemoryPool,
  type MemoryWishes,
  PageSharing,
  POOL_TICK_MS,
  type PoolMemory,
  type SharingCounts,
} from '@ringfence/core';
import { cacheFolder } from '@ringfence/images/cache-folder';
import { memorySize } from '@ringfence/core/sizes';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { HostError } from '../failure.ts';
import { holdingProcess } from '../machine/hold-process.ts';
import { MAXIMUM_PAGING_BYTES, PagingFile } from '../machine/paging-file.ts';
import { nodeClock } from '../machine/ports.ts';
import { startWhereItMust, ThreadedCompiler } from '../machine/region-compiler.ts';
import { interpreterCache } from '../snapshot/interpreter-cache.ts';

export interface VMDomainOptions {
  /** Machines of one label trust each other: sharing lets one tell by timing which pages another has. The empty one when it is not given. */
  readonly label?: string;
  /** Processors of each of its machines, which take turns; 1 when it is not given. */
  readonly cpus?: number;
  readonly engine?: NonNullable<MachineOptions['engine']>;
  /** Whether pages that are equal get one frame. Default true. */
  readonly sharing?: boolean;
  /**
   * What its machines may have of this computer's memory together: bytes, or like `512M`. When that is little they share, give what they do not need,
   * and are packed and paged out (docs/memory.md); a domain's 4 GiB, and nothing of that, when it is not given.
   */
  readonly memory?: number | string;
  /** The folder for the paging file, which has no name there; that of temporary files when it is not given. */
  readonly pagingFolder?: string;
  /** How large the paging file may become, like `memory`; DEFAULT_PAGING_BYTES when it is not given, and none for 0. */
  readonly paging?: number | string;
  readonly log?: Log;
  /** Of a core, that looking for equal pages may take at most, above 0 and up to 1; 0.04 when it is not given. */
  readonly scanShare?: number;
}

/** What a machine is to have of its domain's memory. */
export interface VMMemoryWishes {
  readonly memoryReservation?: number | string;
  readonly memoryLimit?: number | string;
  readonly memoryShares?: number;
}

export interface VMDomainMemory extends DomainMemory {
  readonly sharing: SharingCounts;
  /** Undefined when it may have all of the domain. */
  readonly pool: PoolMemory | undefined;
}

export const DEFAULT_PAGING_BYTES: number = 4 * 1024 ** 3;
/** For so long it is not looked again at all pages. */
const LOOK_NS = 500_000_000;
const PAGE_BYTES = 4096;
/** A machine that starts loads its kernel and more at once. */
const LOADED_BYTES = 64 * 1024 ** 2;

export class VMDomain implements AsyncDisposable {
  readonly label: string;
  readonly cpus: number;
  readonly engine: MachineOptions['engine'];
  /** What its machines are executed in. */
  readonly machines: MachineDomain;
  readonly #compiler: ThreadedCompiler;
  readonly #sharing: PageSharing;
  readonly #pool: MemoryPool | undefined;
  readonly #file: PagingFile | undefined;
  readonly #log: Log | undefined;
  #isSharing = true;
  #looked: { readonly atNs: number; readonly memory: DomainMemory } | undefined;
  /** Of the last tick; said once. */
  #failure: string | undefined;
  #timer: NodeJS.Timeout | undefined;

  private constructor(
    { label, cpus, engine }: Pick<VMDomain, 'label' | 'cpus' | 'engine'>,
    machines: MachineDomain,
    compiler: ThreadedCompiler,
    sharing: PageSharing,
    pool: MemoryPool | undefined,
    file: PagingFile | undefined,
    log: Log | undefined,
  ) {
    this.label = label;
    this.cpus = cpus;
    this.engine = engine;
    this.machines = machines;
    this.#compiler = compiler;
    this.#sharing = sharing;
    this.#pool = pool;
    this.#file = file;
    this.#log = log;
    this.#timer = setInterval(() => this.#tick(), POOL_TICK_MS).unref();
  }

  /** Rejects with a HostError when the options are none. */
  static async create(options: VMDomainOptions = {}): Promise<VMDomain> {
    const { label = '', cpus = 1, engine, scanShare } = options;
    if (!Number.isInteger(cpus) || cpus < 1 || cpus > MAXIMUM_HARTS)
      throw new HostError(
        'bad-argument',
        `cpus "${cpus}" is no number of processors; there can be 1 to ${MAXIMUM_HARTS}`,
      );
    if (scanShare !== undefined && !(scanShare > 0 && scanShare <= MAXIMUM_SCAN_SHARE))
      throw new HostError('bad-argument', `scanShare "${scanShare}" is no part of a core, above 0 and up to 1`);
    const pagingBytes = bytesOf('paging', options.paging ?? DEFAULT_PAGING_BYTES, 0, MAXIMUM_PAGING_BYTES);
    await using opened = new AsyncDisposableStack();
    const compiler = new ThreadedCompiler();
    opened.defer(() => compiler.close());
    startWhereItMust(compiler, engine);
    const machines = await holdingProcess(
      MachineDomain.create({
        label,
        domainBytes: MAXIMUM_DOMAIN_BYTES,
        harts: cpus,
        ...(engine === undefined ? {} : { engine }),
        compiler,
        interpreters: interpreterCache(join(cacheFolder(undefined, process.env), 'interpreters')),
      }),
    );
    const sharing = await PageSharing.of(machines, nodeClock, scanShare);
    let pool: MemoryPool | undefined;
    let file: PagingFile | undefined;
    if (options.memory !== undefined) {
      const poolBytes = bytesOf('memory', options.memory, LEAST_POOL_BYTES, MemoryPool.mostBytes(machines));
      if (pagingBytes > 0) file = PagingFile.create(options.pagingFolder ?? tmpdir(), pagingBytes);
      opened.defer(() => file?.close());
      pool = await MemoryPool.of(machines, { clock: nodeClock, poolBytes, sharing, file, log: options.log });
    }
    const made = new VMDomain({ label, cpus, engine }, machines, compiler, sharing, pool, file, options.log);
    made.setSharing(options.sharing ?? true);
    opened.move();
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

  /** Whether its machines have less memory together than there is. */
  get hasPool(): boolean {
    return this.#pool !== undefined;
  }

  /** Throws a HostError, with the figures, when there is not so much for machines of `memoryBytes`: one, `count`, or the one `joining`. */
  checkMemory(
    memoryBytes: number,
    wishes: VMMemoryWishes,
    which: { readonly joining?: Machine; readonly count?: number } = {},
  ): void {
    const why = this.#pool?.whyNotJoin(memoryBytes, wishesOf(wishes), which);
    if (why !== undefined) throw new HostError('too-many', why);
  }

  /** What the machine is made with, which is to be made at once. */
  get machineOptions(): Pick<MachineOptions, 'domain' | 'mayRun'> {
    const pool = this.#pool;
    pool?.makeRoom(LOADED_BYTES);
    return { domain: this.machines, ...(pool === undefined ? {} : { mayRun: (machine) => pool.mayRun(machine) }) };
  }

  join(machine: Machine, wishes: VMMemoryWishes): void {
    this.checkMemory(machine.memoryBytes, wishes, { joining: machine });
    this.#pool?.join(machine, wishesOf(wishes));
  }

  /** Whether equal pages are looked for from now on. What is shared stays so until it is written. */
  setSharing(on: boolean): void {
    this.#isSharing = on;
  }

  memory(): VMDomainMemory {
    return { ...this.machines.memory, ...this.counters() };
  }

  /** Of `memory`, what is counted already: nothing is looked for. */
  counters(): Pick<VMDomainMemory, 'sharing' | 'pool'> {
    return { sharing: this.#sharing.counts, pool: this.#pool?.memory };
  }

  /** Of the memory of a process in which there is nothing else, what is one machine's: its frames, those of several divided, and a part of all the rest. */
  partOf(machine: Machine, processBytes: number): number {
    const { resident, saved } = countPages(machine.guest);
    const { frameBytes } = this.#lastMemory();
    return (resident - saved) * PAGE_BYTES + Math.max(0, processBytes - frameBytes) / this.machines.machines.size;
  }

  /** Who asks for one machine after the other is told the same of all. */
  #lastMemory(): DomainMemory {
    const now = nodeClock.monotonicNs();
    if (this.#looked === undefined || now - this.#looked.atNs > LOOK_NS)
      this.#looked = { atNs: now, memory: this.machines.memory };
    return this.#looked.memory;
  }

  /** Its pool is to be so large from now on: it grows at once, and shrinks by and by, as far as its machines can give. */
  resize(bytes: number): void {
    this.#pool?.resize(bytes);
  }

  /** That of one of its machines, where there is a pool. */
  memoryOf(machine: Machine): MemberMemory | undefined {
    return this.#pool?.memoryOf(machine);
  }

  /** A tick that fails is another one's matter: machines run on. */
  #tick(): void {
    try {
      if (this.#isSharing) this.#sharing.tick();
      this.#pool?.tick();
      this.#failure = undefined;
    } catch (error) {
      const failure = error instanceof Error ? error.message : String(error);
      if (failure !== this.#failure) this.#log?.log('error', 'memory', `the memory domain failed: ${failure}`);
      this.#failure = failure;
    }
  }

  /** Ends what it does by itself. Its machines are to have ended before. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#file?.close();
    await this.#compiler.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function bytesOf(what: string, size: number | string, least: number, most: number): number {
  if (String(size) === '0' && least === 0) return 0;
  const bytes = memorySize(String(size), Math.max(least, 4096), most);
  if (typeof bytes === 'string') throw new HostError('bad-argument', `${what} "${size}" ${bytes}`);
  return bytes;
}

function wishesOf({ memoryReservation, memoryLimit, memoryShares }: VMMemoryWishes): MemoryWishes {
  return {
    reservationBytes:
      memoryReservation === undefined ? 0 : bytesOf('memoryReservation', memoryReservation, 0, MAXIMUM_MEMORY_BYTES),
    limitBytes: memoryLimit === undefined ? undefined : bytesOf('memoryLimit', memoryLimit, 0, MAXIMUM_MEMORY_BYTES),
    shares: memoryShares,
  };
}
