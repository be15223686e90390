import { expect, test } from 'vitest';
import { codePagesOf, heatPagesOf } from '../engine/domain.ts';
import { MAX_DOMAIN_BYTES, MAX_PCPUS, domainLayout } from '../engine/layout.ts';
import { PAGE_SIZE } from '../base/numbers.ts';
import { MAXIMUM_MEMORY_BYTES } from './options.ts';

/** The boot ROM and what else a machine has beside its memory. */
const ROM_PAGES = 64;

test.each(Array.from({ length: MAX_PCPUS }, (_, index) => index + 1))(
  'the most memory that a machine may have fits beside what %i threads keep of its code',
  (threads) => {
    const size = {
      guestPages: MAXIMUM_MEMORY_BYTES / PAGE_SIZE + ROM_PAGES,
      codePages: codePagesOf(threads),
      heatPages: heatPagesOf(threads),
    };
    expect(domainLayout(size, threads, threads - 1).totalBytes).toBeLessThanOrEqual(MAX_DOMAIN_BYTES);
  },
);
