/** What all machines have of this computer's memory together, as the API says it. */

import { totalmem } from 'node:os';
import type { HostMemory, UsageView } from '@ringfence/api';

export function hostMemory(usages: readonly UsageView[], capacityBytes: number, reservedBytes: number): HostMemory {
  const sum = (of: (usage: UsageView) => number | undefined): number =>
    usages.reduce((all, usage) => all + (of(usage) ?? 0), 0);
  return {
    totalBytes: totalmem(),
    capacityBytes,
    reservedBytes,
    configuredBytes: sum(({ memoryBytes }) => memoryBytes),
    residentBytes: sum(({ residentBytes }) => residentBytes),
    guestResidentBytes: sum(({ guestResidentBytes }) => guestResidentBytes),
    zeroBytes: sum(({ memory }) => memory?.zeroBytes),
    sharedBytes: sum(({ memory }) => memory?.sharedBytes),
    savedBytes: sum(({ memory }) => memory?.savedBytes),
    balloonBytes: sum(({ memory }) => memory?.balloonBytes),
    compressedBytes: sum(({ memory }) => memory?.compressedBytes),
    pagedBytes: sum(({ memory }) => memory?.pagedBytes),
  };
}
