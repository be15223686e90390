/** The threads that execute a machine's harts, as the machine's own thread sees them: starting, stopping and hearing them. */

import { defined } from '../base/assert.ts';
import type { Domain } from '../engine/domain.ts';
import type { Engine } from '../engine/engine.ts';
import type { Hart } from '../engine/hart.ts';
import { CONTROL } from '../engine/layout.ts';
import type { PcpuWords } from '../engine/pcpu-words.ts';
import { ALLOWANCE_CELLS } from './allowance.ts';
import { MachineHart } from './hart.ts';
import { type MailHandlers, Mailbox } from './mailbox.ts';
import type { MachineOptions } from './options.ts';
import type { PcpuPort } from './pcpu.ts';
import type { Timebase } from './timebase.ts';

/** So long after the last request the machine's thread looks for the next: an interrupt's handler asks for more than one thing. In ns. */
const ATTENTIVE_NS = 300_000;
const STOP_PATIENCE_MS = 0.2;

/** The words of the allowance of a machine whose harts have threads. */
export function allowanceCells(domain: Domain): BigInt64Array {
  return new BigInt64Array(domain.memory.buffer, CONTROL.allowance, ALLOWANCE_CELLS);
}

/** A hart that any of the threads may have. */
export function placedHart(engine: Hart, words: PcpuWords): MachineHart {
  return new MachineHart(engine, () => words.wakeFor(engine.id), {
    isHere: () => words.places.has(engine.id),
    isExecuting: () => words.isExecuting(engine.id, engine.base),
  });
}

export class PcpuThreads {
  readonly mailbox: Mailbox;
  readonly #options: MachineOptions;
  readonly #port: PcpuPort;
  readonly #engine: Engine;
  readonly #i32: Int32Array;
  readonly #words: PcpuWords;
  readonly #timebase: Timebase;
  readonly #harts: Hart[] = [];
  #ends: (() => void)[] | undefined;
  #isClosed = false;
  #failure: Error | undefined;
  #servedNs = 0;
  #isListening = false;

  constructor(options: MachineOptions, port: PcpuPort, engine: Engine, words: PcpuWords, timebase: Timebase) {
    this.#options = options;
    this.#port = port;
    this.#engine = engine;
    this.#i32 = engine.domain.i32;
    this.#words = words;
    this.#timebase = timebase;
    this.mailbox = new Mailbox(engine.domain.i32, words, options.clock);
  }

  /** A hart that one of the threads executes. */
  hart(engine: Hart): MachineHart {
    this.#harts.push(engine);
    return placedHart(engine, this.#words);
  }

  /** Lets the threads execute; starts them the first time. Throws when one has failed. */
  go(): void {
    if (this.#failure) throw this.#failure;
    if (this.#isClosed) throw new Error('A machine that was closed cannot run');
    this.#ends ??= Array.from({ length: this.#words.count }, (_, number) => this.#start(number));
    if (Atomics.exchange(this.#i32, CONTROL.stop >>> 2, 0) !== 0) Atomics.notify(this.#i32, CONTROL.stop >>> 2);
  }

  #start(number: number): () => void {
    const { domain, module } = this.#engine;
    const { engine, heat, harts = 1 } = this.#options;
    return this.#port.start(
      {
        memory: domain.memory,
        module,
        regions: domain.guest.regions,
        codePages: domain.layout.codePages,
        heatPages: domain.layout.heatPages,
        totalBytes: domain.layout.totalBytes,
        number,
        pcpus: this.#words.count,
        harts,
        engine,
        heat,
        startNs: this.#timebase.startNs,
        source: domain.guest.states.source?.shared,
      },
      (error) => {
        this.#failure ??= error;
        this.#words.ring();
      },
    );
  }

  /** Stops all threads between two slices, serving what they ask for meanwhile. */
  stop(handlers: MailHandlers): void {
    if (!this.#ends || this.#failure || this.#isClosed) return;
    Atomics.store(this.#i32, CONTROL.stop >>> 2, 1);
    for (let number = 0; number < this.#words.count; number++) {
      const parked = this.#words.word(number, 'parked');
      while (Atomics.load(this.#i32, parked) === 0 && this.#failure === undefined) {
        for (const hart of this.#harts) hart.requestAttention();
        this.#words.wake(number);
        if (!this.mailbox.serve(handlers)) Atomics.wait(this.#i32, parked, 0, STOP_PATIENCE_MS);
      }
    }
    // What they left without waiting for it.
    while (this.mailbox.serve(handlers));
  }

  /** Those that sleep look again. */
  wake(): void {
    for (let number = 0; number < this.#words.count; number++) this.#words.wake(number);
  }

  close(): void {
    this.#isClosed = true;
    for (const end of this.#ends ?? []) end();
    this.#ends = undefined;
  }

  serve(handlers: MailHandlers): boolean {
    if (this.#failure) throw this.#failure;
    return this.mailbox.serve(handlers);
  }

  /** Something was served at this time. */
  served(nowNs: number): void {
    this.#servedNs = nowNs;
  }

  /** Whether nothing was asked for lately: then `wake` is called when something is, after `seen` at the doorbell. */
  isQuiet(nowNs: number, seen: number, wake: () => void): boolean {
    if (nowNs - this.#servedNs < ATTENTIVE_NS) return false;
    if (!this.#isListening) {
      this.#isListening = true;
      void this.#wakeWhenRung(seen, wake);
    }
    return true;
  }

  async #wakeWhenRung(seen: number, wake: () => void): Promise<void> {
    await this.mailbox.whenRung(seen);
    this.#isListening = false;
    wake();
  }

  /** What the threads have compiled, and how many harts they took over from each other, together. */
  get counters(): Readonly<Record<string, number>> {
    const sum = (word: 'compiled' | 'taken', index = 0): number => {
      let all = 0;
      for (let number = 0; number < this.#words.count; number++)
        all += defined(this.#i32[this.#words.word(number, word) + index], word);
      return all;
    };
    const names = Object.keys(this.#engine.compiled);
    return {
      hartMoves: sum('taken'),
      ...Object.fromEntries(names.map((name, index) => [name, sum('compiled', index)])),
    };
  }
}
