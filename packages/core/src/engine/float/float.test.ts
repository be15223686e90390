import { describe, expect, test } from 'vitest';
import { ModuleBuilder } from '../../wasm/module.ts';
import { defineFloat } from './index.ts';
import { probeFusedMultiplyAdd } from './probe.ts';
import { exportFloat, importFloat } from './signatures.ts';
import { FloatHarness, forms, operationNames, sink } from './testing/harness.ts';
import { differences, directedVectors, encode, expectedOutcomes, randomVector } from './testing/operations.ts';
import { Random } from './testing/vectors.ts';

const randomCount = 4000;
const addendsPerPair = 2;
/** Flags before the operation: none; NX, which opens the fast paths; all but NX, which must stay. */
const accruedBefore = [0, 1, 30];

const isFused = probeFusedMultiplyAdd();
const harness = new FloatHarness({ fusedMultiplyAdd: isFused });

describe('every operation gives the bits and flags of exact rational arithmetic', () => {
  test.each(operationNames)('%s, on all edges and random operands, in every form and mode', (name) => {
    const random = new Random(0x5eed);
    const vectors = [
      ...directedVectors(name, addendsPerPair),
      ...Array.from({ length: randomCount }, () => randomVector(random, name)),
    ];
    const encoded = encode(name, vectors);
    const wanted = expectedOutcomes(name, vectors);
    for (const form of forms) {
      for (const accrued of accruedBefore) {
        const found = differences(name, vectors, harness.run(name, form, encoded, accrued), wanted, accrued);
        expect(found, `${form}, fflags ${accrued} before`).toEqual([]);
      }
    }
  });

  test('f64.fma does without a host that fuses', () => {
    const random = new Random(0xfa);
    const vectors = Array.from({ length: randomCount }, () => randomVector(random, 'f64.fma'));
    const wanted = expectedOutcomes('f64.fma', vectors);
    const unfused = new FloatHarness({ fusedMultiplyAdd: false });
    for (const form of forms) {
      const outcomes = unfused.run('f64.fma', form, encode('f64.fma', vectors), 1);
      expect(differences('f64.fma', vectors, outcomes, wanted, 1)).toEqual([]);
    }
  });
});

test('a module that imports the functions calls those of another', () => {
  const maker = new ModuleBuilder();
  maker.importMemory({ module: 'test', name: 'memory', initialPages: 1, maximumPages: 1, shared: false });
  exportFloat(maker, defineFloat(maker, sink));
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const made = new WebAssembly.Instance(new WebAssembly.Module(maker.build()), { test: { memory } });

  const user = new ModuleBuilder();
  const functions = importFloat(user, 'float');
  const third = user.function('third', [], ['i64'], (body) =>
    body.returnCall(functions.f64.div, 0x3ff0_0000_0000_0000n, 0x4008_0000_0000_0000n, 0),
  );
  user.export(third);
  const used = new WebAssembly.Instance(new WebAssembly.Module(user.build()), { float: made.exports });
  expect((used.exports['third'] as () => bigint)()).toBe(0x3fd5_5555_5555_5555n);
});
