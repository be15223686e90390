/** What has become of a machine's memory, and what its disks and cards did, as its process tells the daemon. */

import { countPages } from '@ringfence/core';
import type { IoUsage } from '@ringfence/api/memory';
import type { OperationInput, VMMemoryUsage, VMUsage } from '../control/operations.ts';
import { HostError } from '../failure.ts';
import type { VMParts } from './assemble.ts';

const PAGE_BYTES = 4096;

type Parts = Pick<VMParts, 'name' | 'machine' | 'options' | 'openDisks' | 'network'>;

/** Beside what its process takes. */
export function pagesAndIo(parts: Parts): Pick<VMUsage, 'memory' | 'io'> {
  return { memory: memoryUsageOf(parts), io: ioUsageOf(parts) };
}

/** Of a machine with a pool of its own, which is to have `poolBytes` from now on; throws `unsupported` of any other. */
export function poolUsageOf(parts: Parts, { poolBytes }: OperationInput<'memory'>): VMMemoryUsage {
  const { domain } = parts.options;
  if (domain?.hasPool !== true)
    throw new HostError('unsupported', `the virtual machine "${parts.name}" has all of its memory`);
  if (poolBytes !== undefined) domain.resize(poolBytes);
  return memoryUsageOf(parts);
}

function memoryUsageOf({ machine, options: { domain } }: Parts): VMMemoryUsage {
  const { balloon } = machine;
  // What it says now is told the next time: nobody waits for a guest.
  void balloon?.statistics()?.catch(() => undefined);
  const { totalBytes, availableBytes } = balloon?.lastStatistics ?? {};
  const says =
    totalBytes === undefined || availableBytes === undefined
      ? {}
      : {
          guestTotalBytes: totalBytes,
          // A guest that takes pages back before it kills a process counts the balloon's as its own and as not available.
          guestUsedBytes: Math.max(0, totalBytes - availableBytes - (balloon?.state.actualBytes ?? 0)),
        };
  const member = domain?.memoryOf(machine);
  if (domain === undefined || member === undefined) {
    const { shared, saved, zero } = countPages(machine.guest);
    return {
      zeroBytes: zero * PAGE_BYTES,
      sharedBytes: shared * PAGE_BYTES,
      savedBytes: Math.round(saved) * PAGE_BYTES,
      balloonBytes: balloon?.state.actualBytes ?? 0,
      compressedBytes: 0,
      pagedBytes: 0,
      ...says,
    };
  }
  const { residentBytes: _resident, activeBytes, reservationBytes, limitBytes, shares, ...pages } = member;
  const { pool, sharing } = domain.counters();
  return {
    ...pages,
    ...says,
    ...(pool === undefined
      ? {}
      : {
          pool: {
            state: pool.state,
            bytes: pool.poolBytes,
            targetBytes: pool.targetBytes,
            usedBytes: pool.usedBytes,
            touchedBytes: pool.touchedBytes,
            machines: pool.machines,
            activeBytes,
            merged: sharing.merged + sharing.zeros,
            packs: pool.packs,
            unpacks: pool.unpacks,
            pageOuts: pool.pageOuts,
            pageIns: pool.pageIns,
            waits: pool.waits,
            reservationBytes,
            ...(limitBytes === undefined ? {} : { limitBytes }),
            shares,
            ...(pool.problem === undefined ? {} : { problem: pool.problem }),
          },
        }),
  };
}

function ioUsageOf({ network: { cards }, openDisks: { disks } }: Parts): IoUsage {
  const sum = (field: 'operations' | 'bytes'): number => disks.reduce((all, { store }) => all + store.counts[field], 0);
  return {
    diskOperations: sum('operations'),
    diskBytes: sum('bytes'),
    networkBytes: cards.reduce((all, { counts }) => all + (counts?.bytes ?? 0), 0),
  };
}

/** So many bytes of a memory; throws a HostError when they are no part of it. */
export function checkedPart(bytes: number, memoryBytes: number): number {
  if (Number.isSafeInteger(bytes) && bytes >= 0 && bytes <= memoryBytes) return bytes;
  throw new HostError('bad-argument', `"${bytes}" is no part of a memory of ${memoryBytes} bytes`);
}
