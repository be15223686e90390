/** What a virtual machine says of itself. */

import process from 'node:process';
import type { VMStatus, VMUsage } from '../control/operations.ts';
import { HostError } from '../failure.ts';
import type { VMParts } from './assemble.ts';
import type { VMEnd } from './vm.ts';

/** What the whole process takes, and what is counted in its machine. */
export function usageOf({ residentBytes = 0, instructions = 0 }: Readonly<Record<string, number>>): VMUsage {
  const { user, system } = process.cpuUsage();
  return {
    cpuMs: Math.round((user + system) / 1000),
    residentBytes: process.memoryUsage.rss(),
    guestResidentBytes: residentBytes,
    instructions,
  };
}

export function statusOf(
  { name, settings, suite, options }: VMParts,
  state: VMStatus['state'],
  startedAt: Date,
  isInDoubt = false,
): VMStatus {
  const { imageName, cpus, memoryBytes, network } = settings;
  return {
    name,
    image: imageName,
    suite,
    pid: process.pid,
    state,
    startedAt: startedAt.toISOString(),
    cpus,
    memoryBytes,
    network: network.net,
    ports: network.ports.map(({ address, ...port }) => ({ ...port, address: address.toString() })),
    command: [...(options.command ?? [])],
    ...(isInDoubt ? { isInDoubt } : {}),
  };
}

/** What whoever waits for it is told when it has ended. */
export function endedEarly(name: string, kind: VMEnd['kind'], panic: string | undefined): HostError {
  const how =
    panic === undefined
      ? { poweroff: 'switched itself off', reboot: 'restarted', failure: 'failed', killed: 'was ended' }[kind]
      : 'panicked';
  return new HostError('ended', `the virtual machine "${name}" ${how} before it was done`);
}
