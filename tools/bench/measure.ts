/** The rounds: each side once per round and group, in turn, so that whatever else the host does falls on all of them. */

import { engineThatRan, qemuCommand, ringfenceCommand, type EngineChoice, type Guest } from './engines.ts';
import type { ProgramStart } from './heap-start.ts';
import type { Group, GroupRuns, SideRun } from './figures.ts';
import { runGuest, type GuestRun } from './guest-run.ts';
import type { EngineName } from './targets.ts';

/** A group, and what of it is booted and run. */
export interface BuiltGroup {
  readonly group: Group;
  readonly guest: Guest;
  /** The same programs on this machine itself, where it can build and run them. */
  readonly runNative?: () => Promise<SideRun>;
}

export interface Plan {
  readonly runs: number;
  readonly engines: readonly EngineChoice[];
  readonly machine: ProgramStart;
  readonly groups: readonly BuiltGroup[];
  /** Without QEMU and this machine itself: their figures are there already. */
  readonly ringfenceAlone: boolean;
  readonly tell: (text: string) => void;
}

export interface MeasuredSides {
  readonly native: readonly GroupRuns[];
  readonly qemu: readonly GroupRuns[];
  readonly ringfence: ReadonlyMap<EngineName, readonly GroupRuns[]>;
}

export async function measure({ runs, engines, machine, groups, ringfenceAlone, tell }: Plan): Promise<MeasuredSides> {
  const native: GroupRuns[] = [];
  const qemu: GroupRuns[] = [];
  const ringfence = new Map<EngineName, GroupRuns[]>();
  for (const { group, guest, runNative } of groups) {
    const sides = { native: [] as SideRun[], qemu: [] as SideRun[] };
    const byEngine = new Map<EngineName, SideRun[]>();
    for (let round = 1; round <= runs; round++) {
      const turn = (side: string): void => tell(`${group.name}, round ${round} of ${runs}: ${side}`);
      if (!ringfenceAlone) {
        turn('QEMU');
        sides.qemu.push(sideRun(await runGuest(qemuCommand(guest))));
      }
      for (const choice of engines) {
        turn(choice === 'default' ? 'Ringfence' : `Ringfence's ${choice}`);
        const run = await runGuest(ringfenceCommand(choice, machine, guest));
        listOf(byEngine, engineThatRan(choice, run.statistics ?? {})).push(sideRun(run));
      }
      if (!ringfenceAlone && runNative !== undefined) sides.native.push(await runNative());
    }
    native.push({ group, runs: sides.native });
    qemu.push({ group, runs: sides.qemu });
    for (const [engine, engineRuns] of byEngine) listOf(ringfence, engine).push({ group, runs: engineRuns });
  }
  return { native, qemu, ringfence };
}

function sideRun({ results, userlandSeconds, peakResidentBytes, statistics }: GuestRun): SideRun {
  const guestBytes = statistics?.['residentBytes'];
  return { results, userlandSeconds, peakResidentBytes, ...(guestBytes === undefined ? {} : { guestBytes }) };
}

function listOf<K, V>(lists: Map<K, V[]>, key: K): V[] {
  const list = lists.get(key) ?? [];
  lists.set(key, list);
  return list;
}
