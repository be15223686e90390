import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Turns, newTurnBooks } from '../machine/turns.ts';
import { HartPlaces } from './hart-places.ts';
import { CONTROL } from './layout.ts';

const SLICE = 100;

/** Simulated pCPUs on the same words, each of which does what machine/pcpu.ts does, an atomic step at a time. */
class Simulation {
  readonly #i32 = new Int32Array(CONTROL.END / 4);
  readonly #steps: Generator<void, never>[];
  readonly #executedBy: number[];
  /** Time that each hart had. */
  readonly timeOf: number[];
  readonly #isReady: (hart: number) => boolean;
  moves = 0;
  /** Whether never two executed the same hart. */
  #isRight = true;

  constructor(pcpus: number, harts: number, isReady: (hart: number) => boolean = () => true) {
    const books = newTurnBooks();
    this.#isReady = isReady;
    this.#executedBy = Array.from({ length: harts }, () => -1);
    this.timeOf = Array.from({ length: harts }, () => 0);
    const nobody = new HartPlaces(this.#i32, -1);
    for (let hart = 0; hart < harts; hart++) nobody.put(hart, hart % pcpus);
    this.#steps = Array.from({ length: pcpus }, (_, number) => this.#pcpu(number, new Turns(SLICE, books)));
  }

  step(pcpu: number): void {
    this.#steps[pcpu % this.#steps.length]!.next();
  }

  get isRight(): boolean {
    return this.#isRight;
  }

  *#pcpu(number: number, turns: Turns): Generator<void, never> {
    const places = new HartPlaces(this.#i32, number);
    const harts = [...this.timeOf.keys()];
    let own = harts.filter((hart) => places.has(hart));
    for (;;) {
      const back: number[] = [];
      for (const hart of own) {
        if (places.has(hart) || places.takeBack(hart)) back.push(hart);
        yield;
      }
      own = back;
      const turn = turns.next(own, this.#isReady);
      const offered = harts.filter(
        (hart) => places.isOffered(hart) && places.of(hart) !== number && this.#isReady(hart),
      );
      yield;
      const taken = turns.better(turn, offered);
      if (taken >= 0 && places.take(taken)) {
        this.moves++;
        own.push(taken);
        continue;
      }
      yield;
      if (turn < 0) continue;
      for (const hart of own) {
        if (hart !== turn) places.offer(hart);
        yield;
      }
      this.#isRight &&= this.#executedBy[turn] === -1;
      this.#executedBy[turn] = number;
      yield;
      this.#isRight &&= this.#executedBy[turn] === number && places.has(turn);
      this.#executedBy[turn] = -1;
      this.timeOf[turn]! += SLICE;
      turns.charge(turn, SLICE, false, own);
    }
  }
}

describe('harts that move between pCPUs', () => {
  test('are never executed by two of them, however their steps fall, and all get on', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 1 }),
        fc.infiniteStream(fc.nat({ max: 3 })),
        (pcpus, harts, seed, schedule) => {
          let round = 0;
          const simulation = new Simulation(pcpus, harts, (hart) => ((seed + hart + (round >>> 5)) & 3) !== 0);
          for (const pcpu of schedule) {
            simulation.step(pcpu);
            if (++round === 3000) break;
          }
          expect(simulation.isRight).toBe(true);
          expect(Math.min(...simulation.timeOf)).toBeGreaterThan(0);
        },
      ),
      { numRuns: 50 },
    );
  });

  test('that shared one come to another that has none', () => {
    const ready = [0, 2];
    const simulation = new Simulation(2, 4, (hart) => ready.includes(hart));
    for (let round = 0; round < 2000; round++) simulation.step(round);
    expect(simulation.moves).toBe(1);
  });

  test.each([
    [2, 3],
    [2, 8],
    [3, 4],
    [4, 7],
  ])('have the same time on %i pCPUs, %i of them', (pcpus, harts) => {
    const simulation = new Simulation(pcpus, harts);
    for (let round = 0; round < 100_000; round++) simulation.step(round);
    const most = Math.max(...simulation.timeOf);
    expect(Math.min(...simulation.timeOf)).toBeGreaterThan(0.93 * most);
  });
});
