/** Values worth computing with: limits of the integers, and floating-point numbers of every kind, boxed well and badly. */

import {
  type Random,
  edges,
  integerEdges,
  integers,
  randomInteger,
  randomNumber,
} from '../../src/engine/float/testing/vectors.ts';

const BOX = 0xffff_ffff_0000_0000n;

const integerList = integers(64);
const singles = [...edges('f32'), ...integerEdges('f32')];
const doubles = [...edges('f64'), ...integerEdges('f64')];

/** 64 bits for a register or for memory. */
export function interestingValue(random: Random): bigint {
  switch (random.below(8)) {
    case 0:
      return random.bits64();
    case 1:
      return random.pick(integerList);
    case 2:
      return randomInteger(random, random.pick([32, 64]));
    case 3:
      return random.pick(doubles);
    case 4:
      return randomNumber(random, 'f64');
    case 5:
      return BOX | random.pick(singles);
    case 6:
      return BOX | randomNumber(random, 'f32');
    default:
      // Two singles side by side: badly boxed, but each word is one.
      return (randomNumber(random, 'f32') << 32n) | random.pick(singles);
  }
}

/** `count` values as bytes. */
export function interestingBytes(random: Random, count: number): Uint8Array {
  const values = BigUint64Array.from({ length: count }, () => interestingValue(random));
  return new Uint8Array(values.buffer);
}
