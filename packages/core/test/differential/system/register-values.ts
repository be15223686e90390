/** Values that hurt: edges of integers, singles in their NaN box and out of it, doubles of every class, and plain random bits. */

import type { Random } from '../../../src/engine/float/testing/vectors.ts';
import { edges } from '../../../src/engine/float/testing/vectors.ts';

const NAN_BOX = 0xffff_ffff_0000_0000n;
const singles = edges('f32');
const doubles = edges('f64');

/** A value for an integer register. */
export function integerValue(random: Random): bigint {
  const bit = 1n << BigInt(random.below(64));
  switch (random.below(6)) {
    case 0:
      return BigInt(random.below(32));
    case 1:
      return BigInt.asUintN(64, -BigInt(random.below(32)));
    case 2:
      return BigInt.asUintN(64, bit + BigInt(random.below(3) - 1));
    case 3:
      return BigInt.asUintN(64, -bit + BigInt(random.below(3) - 1));
    case 4:
      return BigInt.asUintN(64, BigInt.asIntN(32, random.bits64()));
    default:
      return random.bits64();
  }
}

/** A value for a float register. */
export function floatValue(random: Random): bigint {
  switch (random.below(8)) {
    case 0:
    case 1:
      return NAN_BOX | random.pick(singles);
    case 2:
      return NAN_BOX | (random.bits64() & 0xffff_ffffn);
    case 3:
      // Near one, where sums cancel and products round.
      return NAN_BOX | 0x3f00_0000n | (random.bits64() & 0x80ff_ffffn);
    case 4:
    case 5:
      return random.pick(doubles);
    case 6:
      return 0x3fe0_0000_0000_0000n | (random.bits64() & 0x803f_ffff_ffff_ffffn);
    default:
      // A double, or a single that lacks its box.
      return random.bits64();
  }
}
