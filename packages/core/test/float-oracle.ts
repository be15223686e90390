/**
 * Floating point against QEMU, for as long as one likes:
 *
 *     node packages/core/test/float-oracle.ts [--count 1000000] [--seed 1] [--operation f64.fma]... [--reference]
 *
 * Each of `count` random vectors is one operation with a rounding mode. QEMU's bits and flags are compared with those of all forms of the
 * generated code, with NX clear and accrued; `--reference` compares them with our rational reference too (slower). Needs Debian's
 * gcc-riscv64-linux-gnu and qemu-user. Ends with status 1 when there is a difference, 2 when it cannot run.
 */

import { parseArgs } from 'node:util';
import { probeFusedMultiplyAdd } from '../src/engine/float/probe.ts';
import { FloatHarness, forms, operationNames } from '../src/engine/float/testing/harness.ts';
import {
  type Vector,
  differences,
  encode,
  expectedOutcomes,
  randomVector,
} from '../src/engine/float/testing/operations.ts';
import { QemuOracle, whatIsMissing } from '../src/engine/float/testing/qemu.ts';
import { Random } from '../src/engine/float/testing/vectors.ts';

/** Vectors given to QEMU at a time. */
const batchSize = 50_000;

function refuse(sentence: string): never {
  process.stderr.write(`${sentence}\n`);
  process.exit(2);
}

function options() {
  try {
    const { values } = parseArgs({
      options: {
        count: { type: 'string', default: '1000000' },
        seed: { type: 'string', default: '1' },
        operation: { type: 'string', multiple: true, default: [...operationNames] },
        reference: { type: 'boolean', default: false },
      },
    });
    const [count, seed] = [Number(values.count), Number(values.seed)];
    if (!Number.isSafeInteger(count) || count < 1) refuse(`--count takes a positive number, not "${values.count}"`);
    if (!Number.isSafeInteger(seed)) refuse(`--seed takes a whole number, not "${values.seed}"`);
    const unknown = values.operation.find((name) => !operationNames.includes(name));
    if (unknown !== undefined) refuse(`There is no operation "${unknown}". There are: ${operationNames.join(', ')}`);
    return { ...values, count, seed };
  } catch (error) {
    return refuse((error as Error).message);
  }
}

const { count, seed, operation: operations, reference } = options();
const missing = whatIsMissing();
if (missing !== undefined) refuse(missing);

const oracle = new QemuOracle();
const harness = new FloatHarness({ fusedMultiplyAdd: probeFusedMultiplyAdd() });
const random = new Random(seed);

function compare(name: string, vectors: readonly Vector[]): string[] {
  const encoded = encode(name, vectors);
  const wanted = oracle.run(encoded);
  const found = forms.flatMap((form) =>
    [0, 1].flatMap((accrued) =>
      differences(name, vectors, harness.run(name, form, encoded, accrued), wanted, accrued).map(
        (sentence) => `${form}: ${sentence}`,
      ),
    ),
  );
  if (!reference) return found;
  return [
    ...found,
    ...differences(name, vectors, expectedOutcomes(name, vectors), wanted, 0).map(
      (sentence) => `reference: ${sentence}`,
    ),
  ];
}

let total = 0;
let bad = 0;
for (const name of operations) {
  let left = Math.ceil(count / operations.length);
  while (left > 0) {
    const size = Math.min(left, batchSize);
    const found = compare(
      name,
      Array.from({ length: size }, () => randomVector(random, name)),
    );
    for (const sentence of found) process.stdout.write(`${sentence}\n`);
    bad += found.length;
    left -= size;
    total += size;
  }
}
oracle.close();
process.stdout.write(
  `${total} vectors of ${operations.length} operations, seed ${seed}: ${bad === 0 ? 'QEMU agrees with all' : 'QEMU DISAGREES'}\n`,
);
process.exit(bad === 0 ? 0 : 1);
