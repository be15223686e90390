/** What a virtual machine says of itself. */

import type { BalloonStatistics, MemberMemory, VirtioBalloon } from '@ringfence/core';
import { setTimeout as sleep } from 'node:timers/promises';
import process from 'node:process';
import type { OpenedDiskView, VMStatus, VMUsage } from '../control/operations.ts';
import type { OpenDisks } from '../disk/disks.ts';
import { HostError } from '../failure.ts';
import { macText } from '../guest/move-card.ts';
import type { VMParts } from './assemble.ts';
import type { DepartureState } from './departure.ts';
import type { VMEnd } from './lifecycle.ts';

/** A machine's memory, in bytes. */
export interface VMMemory {
  /** What the guest's pages take here. */
  readonly residentBytes: number;
  /** How much it was asked to give back, and how much it has. */
  readonly targetBytes: number;
  readonly actualBytes: number;
  /** What it says itself, its word; undefined when it does not answer. */
  readonly guest: BalloonStatistics | undefined;
  /** What of it is shared, compressed and paged out, in a memory domain that has less than its machines. */
  readonly pool: MemberMemory | undefined;
}

/** How long a guest may take to say how much memory it uses. */
const BALLOON_TIMEOUT_MS = 2000;

/** `balloonOf` throws where there is none. */
export async function memoryOf(
  { machine, options }: Pick<VMParts, 'machine' | 'options'>,
  balloonOf: () => VirtioBalloon,
): Promise<VMMemory> {
  const pool = options.domain?.memoryOf(machine);
  const balloon = pool === undefined ? balloonOf() : machine.balloon;
  const { residentBytes = 0 } = machine.statistics();
  const { targetBytes, actualBytes } = balloon?.state ?? { targetBytes: 0, actualBytes: 0 };
  const guest = await Promise.race([balloon?.statistics(), sleep(BALLOON_TIMEOUT_MS, undefined, { ref: false })]);
  return { residentBytes, targetBytes, actualBytes, guest, pool };
}

/** Of a process that a machine shares with others, what it and its forks take: their turns, their frames, and a part of all the rest. */
export function sharedUsageOf(
  machines: readonly { readonly parts: Pick<VMParts, 'machine' | 'options'>; readonly threadMs: number }[],
): Pick<VMUsage, 'cpuMs' | 'residentBytes'> {
  const processBytes = process.memoryUsage.rss();
  const sum = (of: (each: (typeof machines)[number]) => number): number =>
    Math.round(machines.reduce((all, each) => all + of(each), 0));
  return {
    cpuMs: sum(({ threadMs }) => threadMs),
    residentBytes: sum(({ parts }) => parts.options.domain?.partOf(parts.machine, processBytes) ?? 0),
  };
}

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

export function disksOf({ disks }: OpenDisks): OpenedDiskView[] {
  return disks.map(({ store, chain, hasTemporary }) => ({
    readOnly: store.readOnly,
    sizeBytes: store.sizeBytes,
    ...(store.discardGranularityBytes === undefined ? {} : { discardBytes: store.discardGranularityBytes }),
    isTemporary: hasTemporary,
    chain: chain.map(({ path, format }) => ({ path, format })),
  }));
}

export function statusOf(
  { name, settings, suite, options, network: opened }: VMParts,
  state: VMStatus['state'],
  startedAt: Date,
  move?: 'moved' | DepartureState,
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
    macs: opened.cards.map(({ mac }) => macText(mac)),
    ports: network.ports.map(({ address, ...port }) => ({ ...port, address: address.toString() })),
    command: [...(options.command ?? [])],
    ...(move === 'in-doubt' ? { isInDoubt: true } : {}),
    ...(move === 'moved' ? { isMoved: true } : {}),
    ...(typeof move === 'object' ? { pagesLeft: move.pagesLeft } : {}),
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
