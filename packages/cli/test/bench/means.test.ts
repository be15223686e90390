import { expect, test } from 'vitest';
import { MEANS, whyNotInOrder } from './means.ts';

test('means are in order when all four were used, each after the one before', () => {
  expect(whyNotInOrder(MEANS)).toBeUndefined();
  expect(whyNotInOrder(['share', 'balloon', 'page out', 'compress'])).toBe(
    'used in another order: share, balloon, page out, compress',
  );
  expect(whyNotInOrder(['share', 'compress'])).toBe('not used: balloon, page out');
});
