/**
 * A pCPU: a thread that executes harts of a machine, turn by turn, while devices are the machine's own thread's. It begins with the harts whose
 * numbers are its own modulo the number of pCPUs; then they move.
 *
 *     takes back what it has offered and nobody has taken
 *     stop wanted? ──> parked until it is not
 *       │ no
 *     timers of its harts ──> whose turn? a hart that another pCPU offers? ── neither ──> waits for a wake-up or a timer
 *       │
 *     offers its other harts ──> a slice ──> SBI: answered here, but for console and the end of the machine
 *                                  └─ device access ──> mailbox, waits for the answer
 */

import type { Clock } from '../base/ports.ts';
import { defined } from '../base/assert.ts';
import { Domain } from '../engine/domain.ts';
import { Engine, type EngineKind, type EngineOptions } from '../engine/engine.ts';
import type { Region } from '../engine/guest.ts';
import { EXIT } from '../engine/interpreter.ts';
import type { RegionCompiler } from '../engine/jit/batch.ts';
import { CONTROL, MAX_HARTS } from '../engine/layout.ts';
import type { PageSource } from '../base/page-source.ts';
import type { PcpuWords } from '../engine/pcpu-words.ts';
import type { MachineHart } from './hart.ts';
import { Mailbox } from './mailbox.ts';
import { Ram } from './ram.ts';
import { allowanceCells, placedHart } from './pcpu-threads.ts';
import { OWN_IDENTITY } from './sbi/base.ts';
import { Sbi } from './sbi/sbi.ts';
import { HaltPolling } from './halt-polling.ts';
import { SLICE_NS, Slices } from './slices.ts';
import { Allowance, hostNs } from './allowance.ts';
import { ProcessorMeter } from './processor-meter.ts';
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
  /** As the machine's thread has laid its domain out. */
  readonly codePages: number;
  readonly heatPages: number;
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
/** How often it is looked whether it is woken, between two looks at the clock. */
const LOOKS_AT_ONCE = 64;
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
  readonly #harts: readonly MachineHart[];
  /** Those that this pCPU has, or offers, by their numbers; and who they are while it offers none. */
  readonly #own: number[];
  #held: readonly MachineHart[] = [];
  readonly #sbi: Sbi;
  readonly #surroundings: PcpuSurroundings;
  readonly #timebase: Timebase;
  readonly #turns: Turns;
  readonly #steal: StealTime;
  readonly #allowance: Allowance;
  readonly #meter: ProcessorMeter;
  readonly #mailbox: Mailbox;
  readonly #slices = new Slices();
  readonly #polling = new HaltPolling();

  static async create(setup: PcpuSetup, surroundings: PcpuSurroundings): Promise<Pcpu> {
    const { memory, number, pcpus, harts, module, engine: kind, heat } = setup;
    const domain = new Domain(setup.regions, {
      codePages: setup.codePages,
      heatPages: setup.heatPages,
      totalBytes: setup.totalBytes,
      threads: { pcpus, own: number, memory },
    });
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
        timerChanged: (hart) => late.pcpu?.timerChanged(hart),
        moreTime: (_hart, count) => late.pcpu?.moreTime(count) ?? 0,
      },
      { kind, harts, heat, module, compiler: surroundings.compiler },
    );
    late.pcpu = new Pcpu(setup, surroundings, engine, mailbox, timebase);
    return late.pcpu;
  }

  private constructor(
    { harts }: PcpuSetup,
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
    const all = Array.from({ length: harts }, (_, id) => placedHart(engine.addHart(id), words));
    this.#harts = all;
    this.#own = all.map(({ id }) => id).filter((id) => words.places.has(id));
    const { buffer } = domain.memory;
    const floats = (at: number): Float64Array => new Float64Array(buffer, at, MAX_HARTS);
    const integers = (at: number): Int32Array => new Int32Array(buffer, at, MAX_HARTS);
    this.#turns = new Turns(SLICE_NS, {
      usedNs: floats(CONTROL.usedNs),
      wasReady: integers(CONTROL.wasReady),
      latestNs: floats(CONTROL.latestNs).subarray(0, 1),
    });
    const memory = new Ram(domain.guest);
    this.#allowance = new Allowance(allowanceCells(domain));
    this.#meter = new ProcessorMeter(this.#allowance, surroundings.clock);
    this.#steal = new StealTime(all, memory, surroundings.clock, this.#allowance, {
      sinceNs: floats(CONTROL.sinceNs),
      isPreempted: integers(CONTROL.isPreempted),
    });
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
      this.#takeBack();
      if (Atomics.load(this.#i32, CONTROL.stop >>> 2) !== 0) {
        this.#park();
        continue;
      }
      this.#engine.domain.takeWritten();
      const dueInNs = pollSupervisorTimers(this.#held, this.#now);
      const turn = this.#turns.next(this.#own, this.#isReady);
      if (this.#takeOver(turn)) continue;
      if (turn < 0) {
        this.#report();
        this.#sleep(seen, dueInNs);
        continue;
      }
      if (this.#isHeld(seen, dueInNs)) continue;
      this.#slice(turn, dueInNs);
      if (slices % REPORT_EVERY === 0) this.#report();
      this.#surroundings.compiler?.poll();
      // Answers of the compiler are promises.
      await Promise.resolve();
    }
  }

  /** A timer that is due before the slice is over ends it. */
  timerChanged(base: number): void {
    const hart = this.#held.find(({ engine }) => engine.base === base);
    if (hart && pollSupervisorTimers([hart], this.#now) < SLICE_NS) hart.engine.requestAttention();
  }

  /** A hart that has the thread to itself goes on, while nobody wants to be heard. */
  moreTime(count: number): number {
    return this.#own.length > 1 ? 0 : this.#slices.more(this.#surroundings.clock.monotonicNs(), count);
  }

  readonly #now = (): bigint => this.#timebase.now();
  readonly #isReady = (id: number): boolean => this.#harts[id]?.runState === 'running';

  /** What others have taken of its harts is gone. */
  #takeBack(): void {
    const { places } = this.#words;
    for (let index = this.#own.length - 1; index >= 0; index--) {
      const id = defined(this.#own[index], 'a hart');
      if (!places.has(id) && !places.takeBack(id)) this.#own.splice(index, 1);
    }
    this.#held = this.#own.map((id) => defined(this.#harts[id], 'a hart'));
  }

  /** Takes a hart that another pCPU offers when there is none here, or it had much less time than `turn`, which would come here. */
  #takeOver(turn: number): boolean {
    const taken = this.#turns.better(turn, this.#offered());
    if (taken < 0 || !this.#words.places.take(taken)) return false;
    this.#engine.adopt(defined(this.#harts[taken], 'a hart').engine);
    this.#own.push(taken);
    Atomics.add(this.#i32, this.#words.word(this.#words.own, 'taken'), 1);
    return true;
  }

  /** Harts of others that could run here. */
  #offered(): readonly number[] {
    const { places, own } = this.#words;
    const offered: number[] = [];
    for (const { id } of this.#harts)
      if (places.isOffered(id) && places.of(id) !== own && this.#isReady(id)) offered.push(id);
    return offered;
  }

  /** Others may take what does not run here meanwhile; one that has nothing to do is told. */
  #offer(turn: number): void {
    let isWaited = false;
    for (const id of this.#own) {
      if (id === turn) continue;
      this.#words.places.offer(id);
      isWaited ||= this.#isReady(id);
    }
    if (isWaited) this.#words.wakeSleeper();
  }

  #slice(turn: number, dueInNs: number): void {
    const hart = defined(this.#harts[turn], 'a hart');
    const { clock } = this.#surroundings;
    const [startNs, startCount] = [clock.monotonicNs(), hart.engine.retiredLow];
    this.#steal.begin(turn, startNs, this.#own);
    this.#offer(turn);
    this.#mailbox.waitedNs = 0;
    const exit = this.#engine.run(hart.engine, this.#slices.begin(startNs, dueInNs, startNs + LONGEST_SLICE_NS));
    const nowNs = clock.monotonicNs();
    this.#slices.end(nowNs, (hart.engine.retiredLow - startCount) >>> 0);
    this.#steal.end(turn, nowNs - startNs, this.#mailbox.waitedNs);
    const gaveAway = hart.engine.takeYield();
    const others = gaveAway ? [...this.#own, ...this.#offered()] : this.#own;
    this.#turns.charge(turn, nowNs - startNs, gaveAway, others);
    if (exit === EXIT.WAIT) hart.waitForInterrupt();
    else if (exit === EXIT.SBI) {
      hart.engine.pc += 4n;
      this.#sbi.handle(hart);
    }
  }

  /** Waits while the machine may not use more of the host's processors; true when it had to. */
  #isHeld(seen: number, dueInNs: number): boolean {
    if (!this.#allowance.isLimited) return false;
    const nowNs = this.#surroundings.clock.monotonicNs();
    this.#meter.look(nowNs);
    const heldNs = this.#allowance.dueInNs(hostNs(this.#surroundings.clock));
    if (heldNs === 0) return false;
    this.#meter.look(nowNs, true);
    this.#steal.hold(this.#own, nowNs);
    const wakeups = this.#words.word(this.#words.own, 'wakeups');
    Atomics.wait(this.#i32, wakeups, seen, Math.min(LONGEST_SLEEP_MS, dueInNs / 1e6, heldNs / 1e6));
    return true;
  }

  #sleep(seen: number, dueInNs: number): void {
    const { own } = this.#words;
    const { clock } = this.#surroundings;
    const startNs = clock.monotonicNs();
    const asleep = this.#words.word(own, 'asleep');
    if (!this.#isWokenSoon(seen, startNs, dueInNs)) {
      const leftNs = Math.max(0, startNs + dueInNs - clock.monotonicNs());
      Atomics.store(this.#i32, asleep, 1);
      // Who offers a hart from here on sees that somebody sleeps.
      if (this.#offered().length === 0)
        Atomics.wait(this.#i32, this.#words.word(own, 'wakeups'), seen, Math.min(LONGEST_SLEEP_MS, leftNs / 1e6));
      Atomics.store(this.#i32, asleep, 0);
    }
    this.#polling.halted(clock.monotonicNs() - startNs);
  }

  /** Looks for a while whether there is something to do. Not of a machine that may not have all of the processors that it could use. */
  #isWokenSoon(seen: number, startNs: number, dueInNs: number): boolean {
    const { windowNs } = this.#polling;
    if (windowNs === 0 || this.#allowance.isLimited) return false;
    const wakeups = this.#words.word(this.#words.own, 'wakeups');
    const endNs = startNs + Math.min(windowNs, dueInNs);
    let [isWoken, nowNs] = [false, startNs];
    for (; !isWoken && nowNs < endNs; nowNs = this.#surroundings.clock.monotonicNs()) {
      for (let looks = 0; looks < LOOKS_AT_ONCE && !isWoken; looks++)
        isWoken = Atomics.load(this.#i32, wakeups) !== seen;
      isWoken ||= this.#offered().length > 0;
    }
    this.#steal.looked(nowNs - startNs);
    return isWoken || dueInNs <= windowNs;
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
