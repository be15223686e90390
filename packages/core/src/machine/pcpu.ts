/**
 * A pCPU: a thread that executes harts of a machine, turn by turn, while devices are the machine's own thread's. Hart n belongs to pCPU
 * n modulo their number, for good.
 *
 *     stop wanted? ──> parked until it is not
 *       │ no
 *     timers of its harts ──> whose turn? ── nobody's ──> waits for a wake-up or a timer
 *       │
 *     a slice ──> SBI: answered here, but for console and the end of the machine
 *         └─ device access ──> mailbox, waits for the answer
 */

import type { Clock } from '../base/ports.ts';
import { defined } from '../base/assert.ts';
import { Domain } from '../engine/domain.ts';
import { Engine, type EngineKind, type EngineOptions } from '../engine/engine.ts';
import type { Region } from '../engine/guest.ts';
import { EXIT } from '../engine/interpreter.ts';
import type { RegionCompiler } from '../engine/jit/batch.ts';
import { CONTROL, pcpuOf } from '../engine/layout.ts';
import type { PageSource } from '../base/page-source.ts';
import type { PcpuWords } from '../engine/pcpu-words.ts';
import { MachineHart } from './hart.ts';
import { Mailbox } from './mailbox.ts';
import { Ram } from './ram.ts';
import { OWN_IDENTITY } from './sbi/base.ts';
import { Sbi } from './sbi/sbi.ts';
import { SLICE_NS, Slices } from './slices.ts';
import { StealTime } from './steal-time.ts';
import { pollSupervisorTimers } from './supervisor-timers.ts';
import { Timebase } from './timebase.ts';
import { Turns } from './turns.ts';

/** What a thread is started with: plain data, memory and a compiled module. */
export interface PcpuSetup {
  readonly memory: WebAssembly.Memory;
  /** The interpreter. */
  readonly module: WebAssembly.Module;
  readonly regions: readonly Region[];
  /** Size of the domain. */
  readonly totalBytes: number;
  readonly number: number;
  readonly pcpus: number;
  readonly harts: number;
  readonly engine: EngineKind | undefined;
  readonly heat: EngineOptions['heat'];
  /** When the machine was made, by its clock. */
  readonly startNs: number;
  /** What a page source is made of, where the guest's memory comes from a snapshot. */
  readonly source: unknown;
}

/** A compiler on yet another thread, whose answers wait to be looked for: this thread seldom comes to its event loop. */
export interface PolledCompiler extends RegionCompiler {
  poll(): void;
}

export interface PcpuSurroundings {
  /** The same time as the machine's, to the nanosecond. */
  readonly clock: Clock;
  readonly compiler?: PolledCompiler;
  /** Makes the page source of a machine that was restored, of PageSource.shared. */
  readonly pageSource?: (shared: unknown) => Promise<PageSource>;
}

/** Threads for harts. A machine of one hart asks for none. */
export interface PcpuPort {
  /** How many there may be. */
  readonly count: number;
  /** Starts a thread that does `runPcpu` with `setup`; `failed` is told when it ends by itself. Gives what ends it. */
  start(setup: PcpuSetup, failed: (error: Error) => void): () => void;
}

/** A slice that is prolonged ends after so long: the compiler's answers wait for that. */
const LONGEST_SLICE_NS = 2e6;
/** Longest sleep, in milliseconds. */
const LONGEST_SLEEP_MS = 1000;
/** Slices between two reports of what was compiled. */
const REPORT_EVERY = 128;

/** Executes harts until the thread is ended; rejects when Ringfence itself failed. */
export async function runPcpu(setup: PcpuSetup, surroundings: PcpuSurroundings): Promise<never> {
  const pcpu = await Pcpu.create(setup, surroundings);
  return pcpu.run();
}

class Pcpu {
  readonly #engine: Engine;
  readonly #i32: Int32Array;
  readonly #words: PcpuWords;
  readonly #own: readonly MachineHart[];
  readonly #sbi: Sbi;
  readonly #surroundings: PcpuSurroundings;
  readonly #timebase: Timebase;
  readonly #turns: Turns;
  readonly #steal: StealTime;
  readonly #mailbox: Mailbox;
  readonly #slices = new Slices();

  static async create(setup: PcpuSetup, surroundings: PcpuSurroundings): Promise<Pcpu> {
    const { memory, number, pcpus, harts, module, engine: kind, heat } = setup;
    const domain = new Domain(setup.regions, { totalBytes: setup.totalBytes, threads: { pcpus, own: number, memory } });
    const words = defined(domain.words, 'the words of pCPUs');
    const mailbox = new Mailbox(domain.i32, words, surroundings.clock);
    const { states } = domain.guest;
    if (setup.source !== undefined) states.source = await surroundings.pageSource?.(setup.source);
    states.keep = (index) => mailbox.keep(index);
    const timebase = new Timebase(surroundings.clock, domain.guest, setup.startNs);
    const late: { pcpu?: Pcpu } = {};
    const engine = await Engine.create(
      domain,
      {
        mmioLoad: (hart, low, high, bytes) => mailbox.load(hart, low, high, bytes),
        mmioStore: (hart, low, high, bytes) => mailbox.store(hart, low, high, bytes),
        readTime: (hart) => timebase.read(hart),
        timerChanged: () => late.pcpu?.timerChanged(),
        moreTime: (_hart, count) => late.pcpu?.moreTime(count) ?? 0,
      },
      { kind, harts, heat, module, compiler: surroundings.compiler },
    );
    late.pcpu = new Pcpu(setup, surroundings, engine, mailbox, timebase);
    return late.pcpu;
  }

  private constructor(
    { harts, pcpus, number }: PcpuSetup,
    surroundings: PcpuSurroundings,
    engine: Engine,
    mailbox: Mailbox,
    timebase: Timebase,
  ) {
    const { domain } = engine;
    this.#engine = engine;
    this.#i32 = domain.i32;
    const words = defined(domain.words, 'the words of pCPUs');
    this.#words = words;
    this.#surroundings = surroundings;
    this.#timebase = timebase;
    const all = Array.from({ length: harts }, (_, id) => {
      const where = pcpuOf(id, pcpus);
      const hart = engine.addHart(id);
      const elsewhere = where === number ? undefined : { isExecuting: () => words.isExecuting(where, hart.base) };
      return new MachineHart(hart, () => words.wake(where), elsewhere);
    });
    this.#own = all.filter(({ id }) => pcpuOf(id, pcpus) === number);
    this.#turns = new Turns(this.#own.length, SLICE_NS);
    const memory = new Ram(domain.guest);
    this.#steal = new StealTime(this.#own, memory, surroundings.clock);
    this.#mailbox = mailbox;
    this.#sbi = new Sbi({
      harts: all,
      memory,
      console: mailbox,
      ended: (ending) => mailbox.ended(ending),
      machine: OWN_IDENTITY,
    });
  }

  async run(): Promise<never> {
    for (let slices = 0; ; slices++) {
      const seen = Atomics.load(this.#i32, this.#words.word(this.#words.own, 'wakeups'));
      if (Atomics.load(this.#i32, CONTROL.stop >>> 2) !== 0) {
        this.#park();
        continue;
      }
      this.#engine.domain.takeWritten();
      const dueInNs = pollSupervisorTimers(this.#own, this.#now);
      const turn = this.#turns.next(this.#isReady);
      if (turn < 0) {
        this.#report();
        this.#sleep(seen, dueInNs);
        continue;
      }
      this.#slice(turn, dueInNs);
      if (slices % REPORT_EVERY === 0) this.#report();
      this.#surroundings.compiler?.poll();
      // Answers of the compiler are promises.
      await Promise.resolve();
    }
  }

  /** A timer that is due before the slice is over ends it. */
  timerChanged(): void {
    if (pollSupervisorTimers(this.#own, this.#now) < SLICE_NS)
      for (const hart of this.#own) hart.engine.requestAttention();
  }

  /** A hart that has the thread to itself goes on, while nobody wants to be heard. */
  moreTime(count: number): number {
    return this.#own.length > 1 ? 0 : this.#slices.more(this.#surroundings.clock.monotonicNs(), count);
  }

  readonly #now = (): bigint => this.#timebase.now();
  readonly #isReady = (turn: number): boolean => this.#own[turn]?.runState === 'running';

  #slice(turn: number, dueInNs: number): void {
    const hart = defined(this.#own[turn], 'a hart');
    const { clock } = this.#surroundings;
    const [startNs, startCount] = [clock.monotonicNs(), hart.engine.retiredLow];
    this.#steal.begin(turn, startNs);
    this.#mailbox.waitedNs = 0;
    const exit = this.#engine.run(hart.engine, this.#slices.begin(startNs, dueInNs, startNs + LONGEST_SLICE_NS));
    const nowNs = clock.monotonicNs();
    this.#slices.end(nowNs, (hart.engine.retiredLow - startCount) >>> 0);
    this.#steal.end(turn, nowNs - startNs, this.#mailbox.waitedNs);
    this.#turns.charge(turn, nowNs - startNs, hart.engine.takeYield());
    if (exit === EXIT.WAIT) hart.waitForInterrupt();
    else if (exit === EXIT.SBI) {
      hart.engine.pc += 4n;
      this.#sbi.handle(hart);
    }
  }

  #sleep(seen: number, dueInNs: number): void {
    const wakeups = this.#words.word(this.#words.own, 'wakeups');
    Atomics.wait(this.#i32, wakeups, seen, Math.min(LONGEST_SLEEP_MS, dueInNs / 1e6));
  }

  #park(): void {
    this.#report();
    const parked = this.#words.word(this.#words.own, 'parked');
    Atomics.store(this.#i32, parked, 1);
    Atomics.notify(this.#i32, parked);
    while (Atomics.load(this.#i32, CONTROL.stop >>> 2) !== 0) Atomics.wait(this.#i32, CONTROL.stop >>> 2, 1);
    Atomics.store(this.#i32, parked, 0);
  }

  #report(): void {
    const first = this.#words.word(this.#words.own, 'compiled');
    for (const [index, value] of Object.values(this.#engine.compiled).entries()) this.#i32[first + index] = value;
  }
}
