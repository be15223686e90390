/**
 * The descriptor table (virtio 1.3, 2.7.5): where an allegation of the driver becomes a Chain, or the reason why it does not.
 *
 * Every descriptor is read once. A loop is found by counting: no chain is longer than the queue (2.7.5.3.1), indirect tables included.
 * Elements of length zero are legal and carry nothing, so their address is not looked at.
 */

import { hex } from '../../base/numbers.ts';
import type { GuestMemory, MemoryRange } from '../device.ts';
import { Chain } from './chain.ts';

export const DESCRIPTOR_BYTES = 16;

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

/** A chain is at most this long in bytes, both halves together (2.7.5). */
const MAXIMUM_CHAIN_BYTES = 2 ** 32;

export interface DescriptorTable {
  readonly address: number;
  /** The queue size. */
  readonly entries: number;
}

/** The chain that starts at `head`, or a sentence about what is wrong with it. */
export function readChain(
  memory: GuestMemory,
  table: DescriptorTable,
  head: number,
  indirectAccepted: boolean,
): Chain | string {
  let readable = NONE;
  let writable = NONE;
  let { address: tableAddress, entries } = table;
  let inIndirectTable = false;
  let index = head;
  let bytes = 0;

  for (let count = 0; ;) {
    if (index >= entries) return `descriptor ${index} does not exist in a table of ${entries}`;
    const at = tableAddress + index * DESCRIPTOR_BYTES;
    const address = memory.load64(at);
    const size = memory.load32(at + 8);
    const flags = memory.load16(at + 12);
    const next = memory.load16(at + 14);
    if (address === undefined || size === undefined || flags === undefined || next === undefined) {
      return `descriptor ${index} at ${hex(at)} is outside RAM`;
    }

    if ((flags & INDIRECT) !== 0) {
      const problem = indirectProblem(flags, size, inIndirectTable, indirectAccepted);
      if (problem !== undefined) return `descriptor ${index} ${problem}`;
      inIndirectTable = true;
      tableAddress = address;
      entries = size / DESCRIPTOR_BYTES;
      index = 0;
      continue;
    }

    if (++count > table.entries) return `a chain is longer than its queue of ${table.entries}, or a loop`;
    const forWrite = (flags & WRITE) !== 0;
    if (size > 0) {
      if (!memory.contains(address, size, forWrite))
        return `descriptor ${index} points to ${size} bytes at ${hex(address)}, outside RAM`;
      bytes += size;
      if (bytes > MAXIMUM_CHAIN_BYTES) return 'a chain is longer than 2^32 bytes';
    }
    if (forWrite) {
      if (size > 0) writable = and(writable, { address, size });
    } else if (writable.length > 0) {
      return `descriptor ${index} is device-readable behind a device-writable one`;
    } else if (size > 0) readable = and(readable, { address, size });

    if ((flags & NEXT) === 0) return new Chain(memory, head, readable, writable);
    index = next;
  }
}

/** Most chains have one half. */
const NONE: MemoryRange[] = [];

function and(segments: MemoryRange[], segment: MemoryRange): MemoryRange[] {
  if (segments === NONE) return [segment];
  segments.push(segment);
  return segments;
}

/** What is wrong with a descriptor that refers to an indirect table (2.7.5.3.1), or undefined. Its WRITE flag is ignored. */
function indirectProblem(flags: number, size: number, inIndirectTable: boolean, accepted: boolean): string | undefined {
  if (!accepted) return 'is indirect, which was not negotiated';
  if (inIndirectTable) return 'is indirect within an indirect table';
  if ((flags & NEXT) !== 0) return 'is indirect and has a next one';
  if (size === 0 || size % DESCRIPTOR_BYTES !== 0)
    return `refers to an indirect table of ${size} bytes, which is not a number of descriptors`;
  return undefined;
}
