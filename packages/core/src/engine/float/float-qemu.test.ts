import { afterAll, describe, expect, test } from 'vitest';
import { probeFusedMultiplyAdd } from './probe.ts';
import { FloatHarness, forms, operationNames } from './testing/harness.ts';
import { differences, directedVectors, encode, expectedOutcomes, randomVector } from './testing/operations.ts';
import { QemuOracle, whatIsMissing } from './testing/qemu.ts';
import { Random } from './testing/vectors.ts';

const randomCount = 10_000;
const addendsPerPair = 2;
const missing = whatIsMissing();

describe.skipIf(missing !== undefined)(
  `QEMU executes the real instructions and agrees${missing ? ` (skipped: ${missing})` : ''}`,
  () => {
    const oracle = missing === undefined ? new QemuOracle() : undefined;
    const harness = new FloatHarness({ fusedMultiplyAdd: probeFusedMultiplyAdd() });
    afterAll(() => oracle?.close());

    test.each(operationNames)('%s', (name) => {
      const random = new Random(0x0e30);
      const directed = directedVectors(name, addendsPerPair);
      const vectors = [...directed, ...Array.from({ length: randomCount }, () => randomVector(random, name))];
      const encoded = encode(name, vectors);
      const wanted = (oracle as QemuOracle).run(encoded);
      for (const form of forms) {
        for (const accrued of [0, 1]) {
          const found = differences(name, vectors, harness.run(name, form, encoded, accrued), wanted, accrued);
          expect(found, `${form}, fflags ${accrued} before`).toEqual([]);
        }
      }
      // The two oracles check each other.
      expect(differences(name, directed, expectedOutcomes(name, directed), wanted, 0), 'our reference').toEqual([]);
    });
  },
);
