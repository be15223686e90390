/**
 * A tier of our engine as a subject. One domain serves all programs: pages are rewritten between them as a device would, so stale code
 * would show. Time is the number of instructions run so far; a timer interrupt comes between two slices of random length, at moments that
 * are others in each tier.
 */

import { Domain } from '../../src/engine/domain.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { Random } from '../../src/engine/float/testing/vectors.ts';
import type { Hart } from '../../src/engine/hart.ts';
import { EXIT } from '../../src/engine/interpreter.ts';
import { TIERS, type Tier, createEngine } from '../../src/engine/testing/tiers.ts';
import { COMPARED_BYTES, POWER_OFF, RAM_BASE, RAM_BYTES, TEST_DEVICE, TIME, TIMER_COMPARE } from './places.ts';
import { type Program, type Without, writeImage } from './program.ts';
import { DID_NOT_END, type Ending, SWITCHED_OFF, type Subject } from './subject.ts';

const PAGE = 4096;
/** Lengths of slices in instructions, short ones as often as long ones. */
const SLICES = [1, 30, 500, 3000, 20_000] as const;
const SLICES_PER_TURN = 16;
/** Far more than a program has. */
const INSTRUCTION_LIMIT = 60_000_000n;
const MTIP = 1 << 7;
const NEVER = 2n ** 64n - 1n;
/** Subjects whose slices differ for a program, at most. */
const MOST_MOMENTS = 16;
const ZEROS = new Uint8Array(PAGE);

export class Ringfence implements Subject {
  readonly name: string;
  readonly isForeign = false;
  /** Instructions run since the beginning, all programs together. */
  executed = 0n;
  readonly #moments: number;
  readonly #domain: Domain;
  readonly #engine: Engine;
  readonly #hart: Hart;
  readonly #devices: Devices;

  private constructor(name: string, moments: number, domain: Domain, engine: Engine, hart: Hart, devices: Devices) {
    this.name = name;
    this.#moments = moments;
    this.#domain = domain;
    this.#engine = engine;
    this.#hart = hart;
    this.#devices = devices;
  }

  /** With another number for `moments`, timer interrupts come and slices end at other moments; of the `harts` that there might be one is there. */
  static async create(tier: Tier, moments = 0, harts = 1): Promise<Ringfence> {
    const domain = new Domain([{ base: RAM_BASE, sizeBytes: RAM_BYTES, writable: true }]);
    const devices = new Devices();
    const engine = await createEngine(
      domain,
      {
        mmioLoad: (_, low, high) => devices.load(low, high),
        mmioStore: (_, low, high) => devices.store(low, high),
        readTime: () => {},
        timerChanged: () => {},
      },
      tier,
      { harts },
    );
    const hart = engine.addHart(0);
    devices.hart = hart;
    const name = `Ringfence's ${tier}${moments === 0 ? '' : ' at other moments'}`;
    return new Ringfence(name, moments * TIERS.length + TIERS.indexOf(tier), domain, engine, hart, devices);
  }

  async run(program: Program, without?: Without): Promise<Ending> {
    const memory = new Uint8Array(COMPARED_BYTES);
    writeImage(program, memory, without);
    this.#rewrite(memory);
    const [hart, devices] = [this.#hart, this.#devices];
    hart.reset(BigInt(RAM_BASE));
    devices.reset();
    const random = new Random(program.seed * MOST_MOMENTS + this.#moments);
    let how = DID_NOT_END;
    for (let slice = 1; how === DID_NOT_END && hart.get64('retired') < INSTRUCTION_LIMIT; slice++) {
      // A tier that compiles beside the program hears of it in turns of the event loop.
      if (slice % SLICES_PER_TURN === 0) await new Promise<void>((resolve) => void setImmediate(resolve));
      const exit = this.#engine.run(hart, 1 + random.below(random.pick(SLICES)));
      if (devices.isOff) how = SWITCHED_OFF;
      else if (exit === EXIT.WAIT && !devices.wait()) how = 'waits for an interrupt';
      devices.poll();
    }
    this.executed += hart.get64('retired');
    for (let at = 0; at < COMPARED_BYTES; at += PAGE) memory.set(this.#page(at, false), at);
    return { how, memory };
  }

  /** Regions that it could not translate. */
  get untranslated(): number {
    return this.#engine.compiled['jit.failed'] ?? 0;
  }

  close(): void {}

  #rewrite(memory: Uint8Array): void {
    for (let at = 0; at < COMPARED_BYTES; at += PAGE) this.#rewritePage(at, memory.subarray(at, at + PAGE));
    // Of what is not compared, programs touch the last page alone.
    this.#rewritePage(RAM_BYTES - PAGE, ZEROS);
  }

  #rewritePage(at: number, wanted: Uint8Array): void {
    if (Buffer.compare(wanted, this.#page(at, false)) === 0) return;
    this.#page(at, true).set(wanted);
    this.#domain.guest.codeWritten(this.#domain.guest.pageIndex(RAM_BASE + at), 0, PAGE);
  }

  #page(at: number, forWrite: boolean): Uint8Array {
    const host = this.#domain.guest.host(this.#domain.guest.pageIndex(RAM_BASE + at), forWrite);
    return this.#domain.u8.subarray(host, host + PAGE);
  }
}

/** What is there beside RAM: the device that switches off, `mtime`, and `mtimecmp` of hart 0. */
class Devices {
  hart: Hart | undefined;
  isOff = false;
  #compare = NEVER;
  /** Time that passed in WFI. */
  #waited = 0n;

  reset(): void {
    this.isOff = false;
    this.#compare = NEVER;
    this.#waited = 0n;
  }

  get #now(): bigint {
    return (this.hart?.get64('retired') ?? 0n) + this.#waited;
  }

  load(low: number, high: number): number {
    if (low !== TIME || high !== 0) return 0;
    this.hart?.put64('value', this.#now);
    return 1;
  }

  store(low: number, high: number): number {
    if (high !== 0) return 0;
    const value = this.hart?.get64('value') ?? 0n;
    if (low === TIMER_COMPARE) {
      this.#compare = value;
      this.hart?.setPending(MTIP, false);
      return 1;
    }
    if (low !== TEST_DEVICE || value !== BigInt(POWER_OFF)) return 0;
    this.isOff = true;
    this.hart?.requestAttention();
    return 1;
  }

  /** Lets time pass until the timer is due; false when it never is. */
  wait(): boolean {
    if (this.#compare === NEVER) return false;
    if (this.#compare > this.#now) this.#waited += this.#compare - this.#now;
    return true;
  }

  poll(): void {
    if (this.#now >= this.#compare) this.hart?.setPending(MTIP, true);
  }
}
