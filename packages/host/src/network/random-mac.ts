/** Addresses of network cards that nobody else has: locally administered ones of one card (IEEE 802, clause 8.4), with chance in them. */

import { MacAddress } from '@ringfence/core';
import { randomOctets } from '../random.ts';

const MAC_BYTES = 6;
/** What people know virtual machines by: QEMU's begin with 52:54:00. */
const FIRST = 0x52;

/** 40 bits of it are chance. */
export function randomMac(): MacAddress {
  return MacAddress.at(randomOctets(MAC_BYTES).with(0, FIRST), 0);
}
