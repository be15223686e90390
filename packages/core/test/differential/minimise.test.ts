/** The harness finds what a subject does wrong, and shows little else. */

import { beforeAll, expect, test } from 'vitest';
import { REFERENCE_TIER } from '../../src/engine/testing/tiers.ts';
import { Comparison } from './compare.ts';
import { machineProgram } from './machine-program.ts';
import { minimise } from './minimise.ts';
import { NOTHING, type Program, type Without } from './program.ts';
import { report } from './report.ts';
import { Ringfence } from './ringfence.ts';
import type { Ending, Subject } from './subject.ts';

const SIZE = { blocks: 4, statements: 30, rounds: 2 };
const SEED = 7;

/** An engine that does one thing of the program not at all. */
class Faulty implements Subject {
  readonly name = 'an engine with a fault';
  readonly isForeign = false;
  readonly #engine: Subject;
  readonly #skipped: number;

  constructor(engine: Subject, skipped: number) {
    this.#engine = engine;
    this.#skipped = skipped;
  }

  run(program: Program, without: Without = NOTHING): Promise<Ending> {
    return this.#engine.run(program, { ...without, items: new Set([...without.items, this.#skipped]) });
  }

  close(): void {}
}

let engine: Ringfence;
beforeAll(async () => {
  engine = await Ringfence.create(REFERENCE_TIER);
});

test('an engine agrees with itself', async () => {
  expect(await new Comparison(engine, engine).run(machineProgram(SEED, SIZE))).toBeUndefined();
});

test('a difference is found, and what is left of the program is where it comes from', async () => {
  const program = machineProgram(SEED, SIZE);
  let found = 0;
  for (let skipped = 0; skipped < program.items.length && found < 3; skipped += 11) {
    const comparison = new Comparison(engine, new Faulty(engine, skipped));
    const difference = await comparison.run(program);
    // Not everything leaves a trace.
    if (difference === undefined) continue;
    found++;
    const minimised = await minimise(comparison, program, difference);
    expect(minimised.without.items.has(skipped)).toBe(false);
    expect(program.items.length - minimised.without.items.size).toBeLessThan(6);
    expect(report(program, minimised)).toContain('an engine with a fault');
  }
  expect(found).toBe(3);
});
