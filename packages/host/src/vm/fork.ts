/**
 * Forks of a virtual machine: what each has of this computer is opened while the parent runs on; it stands still only while its state and its page
 * map are copied. What a fork's guest has in its memory is its parent's, so it is told who it is (`arrive`) before it takes commands.
 *
 *     disks    what the parent's hold, behind an overlay of its own        console  its own, and empty
 *     network  a card of its own: another network, or another place on it  folders  the same, opened anew
 *     limits   its parent's and its own together, in a process of theirs alone
 *     ports    none: those of this computer lead to the parent             name     as given, or the parent's and a number
 */

import {
  type AgentClient,
  type AgentConnection,
  ForkError,
  ForkPoint,
  type GuestAgent,
  type MachineRunner,
} from '@ringfence/core';
import { MAXIMUM_NAME_LENGTH } from '@ringfence/api/names';
import { randomFillSync } from 'node:crypto';
import type { ServedVM } from '../control/server.ts';
import type { OpenDisks } from '../disk/disks.ts';
import { HostError } from '../failure.ts';
import { ARRIVAL_TIMEOUT_MS, moveCard } from '../guest/move-card.ts';
import { PausableClock } from '../machine/pausable-clock.ts';
import { nodeClock, ownProcessClock } from '../machine/ports.ts';
import { type MachineNetwork, openNetwork } from '../network/machine-network.ts';
import { randomMac } from '../network/random-mac.ts';
import { openShares } from '../share/shares.ts';
import { NAME_ATTEMPTS, shareTag, takeName, type TakenName, type VMParts } from './assemble.ts';
import { checkForkNames } from './names.ts';
import { SerialConsole } from './serial-console.ts';

/** Forks that are made at once. */
export const MAXIMUM_FORKS = 1024;
const SEED_BYTES = 32;

export interface ForkOptions {
  /** How many; as many as there are names, or one. At most MAXIMUM_FORKS. */
  readonly count?: number;
  /** What they are called, the first ones; others have their parent's name and a number. */
  readonly names?: readonly string[];
}

/** How many a fork is to make, and their names; throws a HostError. */
export function forkNames({ names = [], count = Math.max(names.length, 1) }: ForkOptions): (string | undefined)[] {
  if (!Number.isInteger(count) || count < 1 || count > MAXIMUM_FORKS)
    throw new HostError('bad-argument', `"${count}" is no number of forks; there can be 1 to ${MAXIMUM_FORKS} at once`);
  checkForkNames(names, count);
  return Array.from({ length: count }, (_, index) => names[index]);
}

/** Makes the forks of a machine, all or none; nobody runs them yet. Gives how long the parent stood still, too. */
export async function assembleForks(
  parent: VMParts,
  agent: Pick<AgentClient, 'connection'>,
  runner: MachineRunner,
  names: readonly (string | undefined)[],
  served: readonly ServedVM[],
): Promise<{ readonly forks: readonly VMParts[]; readonly pausedNs: number }> {
  noted(parent, () => ForkPoint.check(parent, names.length));
  parent.options.domain?.checkMemory(parent.machine.memoryBytes, parent.options, { count: names.length });
  await using opened = new AsyncDisposableStack();
  const worlds: World[] = [];
  for (const [index, each] of served.entries()) worlds.push(await openWorld(parent, names[index], each, opened));
  const disks = opened.adopt(await parent.openDisks.prepareForks(names.length), (prepared) => prepared.abandon());
  const { machine, clock } = parent;
  const running = { machine, runner, clock };
  let connection: AgentConnection | undefined;
  const atRest = (): void => {
    ({ connection } = agent);
    disks.commit();
    for (const [index, world] of worlds.entries()) world.own(disks.forks[index]);
  };
  const point = await noted(parent, () => ForkPoint.of(running, names.length, atRest));
  try {
    const forks = worlds.map((world) => ({ ...world.parts(point), connection }));
    opened.move();
    return { forks, pausedNs: point.pausedNs };
  } finally {
    point.release();
  }
}

/** What a fork has of this computer. */
interface World {
  /** Its disks are its own now, and closed with it. */
  own(disks: OpenDisks | undefined): void;
  parts(point: ForkPoint): VMParts;
}

async function openWorld(
  parent: VMParts,
  wantedName: string | undefined,
  served: ServedVM,
  opened: AsyncDisposableStack,
): Promise<World> {
  const own = opened.use(new AsyncDisposableStack());
  let openDisks = parent.openDisks;
  const { settings } = parent;
  const { onSerial: _onSerial, name: _name, ...options } = parent.options;
  const { name, control } = await forkName(parent, wantedName, served);
  opened.defer(async () => control?.close());
  const folders = await openShares(settings.shares, (_share, index) => shareTag(index));
  own.defer(() => folders.close());
  const networkSettings = { ...settings.network, ports: [], capture: undefined, mac: randomMac() };
  const network = await openNetwork(networkSettings, name);
  own.defer(async () => void (await network.close()));
  const serial = new SerialConsole();
  const { ownsProcess = false, sharesProcess = false } = parent.options;
  // What it may have of the processors, it and its parent have together.
  const isShared = ownsProcess || sharesProcess;
  const clock = new PausableClock(ownsProcess ? ownProcessClock : nodeClock);
  return {
    own(disks) {
      if (disks === undefined) return;
      openDisks = disks;
      own.defer(() => disks.close());
    },
    parts(point) {
      const { kernel: _kernel, initrd: _initrd, pcpus: _pcpus, compiler: _compiler, ...alike } = parent.machineOptions;
      const machineOptions = {
        ...alike,
        ...(isShared ? { allowance: parent.machine.allowance } : {}),
        clock,
        serialOutput: serial.output,
        serialInputRoom: () => serial.roomAgain(),
        disks: openDisks.disks,
        networkCards: network.cards,
        shares: folders.shares,
      };
      const machine = point.machine(machineOptions);
      own.defer(() => machine.close());
      options.domain?.join(machine, options);
      serial.connect(machine.serial);
      return {
        ...parent,
        start: { kind: 'boot', reason: 'it is a fork' },
        name,
        options: { ...options, name },
        settings: { ...settings, network: networkSettings },
        machine,
        machineOptions,
        openDisks,
        clock,
        serial,
        notes: [],
        forks: { next: 1 },
        control,
        network,
        arrive: (guest) => arrive(guest, name, parent.network, network),
        close: () => own.disposeAsync(),
      };
    },
  };
}

/** The name that was asked for, or the parent's and a number. */
async function forkName(parent: VMParts, wanted: string | undefined, served: ServedVM): Promise<TakenName> {
  const { forks } = parent;
  // Who is not reached has no forks that are.
  const options = parent.control === undefined ? { ...parent.options, reachable: false } : parent.options;
  if (wanted !== undefined) return takeName({ ...options, name: wanted }, served);
  for (let attempt = 1; ; attempt++) {
    const number = `-${forks.next++}`;
    const name = parent.name.slice(0, MAXIMUM_NAME_LENGTH - number.length) + number;
    try {
      return await takeName({ ...options, name }, served);
    } catch (error) {
      if (!(error instanceof HostError) || error.code !== 'name-taken' || attempt === NAME_ATTEMPTS) throw error;
    }
  }
}

const CODES = { threads: 'unsupported', 'no-room': 'too-many', snapshot: 'wrong-state' } as const;

/** Does `work`, and says what a ForkError means. */
function noted<T>({ name }: VMParts, work: () => T): T {
  const told = (error: unknown): never => {
    if (!(error instanceof ForkError)) throw error;
    const problem =
      error.code === 'threads'
        ? `the virtual machine "${name}" has several processors, each with a thread of its own; start it with "forkable"`
        : `the virtual machine "${name}" cannot be forked: ${lowerFirst(error.message)}`;
    throw new HostError(CODES[error.code], problem, error);
  };
  try {
    const result = work();
    return result instanceof Promise ? (result.catch(told) as T) : result;
  } catch (error) {
    return told(error);
  }
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}

/** Tells a fork's guest who it is: its name and its card at the same time. */
async function arrive(
  guest: Pick<GuestAgent, 'exec' | 'identify' | 'changeCard'>,
  name: string,
  before: MachineNetwork,
  now: MachineNetwork,
): Promise<void> {
  const seed = randomFillSync(new Uint8Array(SEED_BYTES));
  await Promise.all([
    guest.identify({ hostname: name, seed, timeoutMs: ARRIVAL_TIMEOUT_MS }),
    moveCard(guest, name, { mac: before.cards[0]?.mac, address: before.settings?.address }, now),
  ]);
}
