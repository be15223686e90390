/** Opens what a virtual machine has of this computer and makes its machine, all or nothing. */

import {
  AGENT_PORT_NAME,
  type AgentConnection,
  DomainFullError,
  type GuestAgent,
  Machine,
  type MachineOptions,
  MAXIMUM_DOMAIN_BYTES,
  restoreInto,
  SnapshotError,
  type SpokenBefore,
} from '@ringfence/core';
import { type ControlSocket, openControlSocket } from '../control/control-socket.ts';
import type { ServedVM } from '../control/server.ts';
import { vmFolder } from '../control/vm-folder.ts';

import type { DiskSpec } from '../disk/disk-spec.ts';
import { openDisks, type OpenDisks } from '../disk/disks.ts';
import { HostError } from '../failure.ts';
import { holdingProcess } from '../machine/hold-process.ts';
import { PausableClock } from '../machine/pausable-clock.ts';
import { nodeClock, nodeDecompressor, nodeEntropy, ownProcessClock } from '../machine/ports.ts';
import { NodePcpus } from '../machine/pcpus.ts';
import { startWhereItMust, ThreadedCompiler } from '../machine/region-compiler.ts';
import type { LateNetwork } from '../network/late-network.ts';
import { type MachineNetwork, openNetwork } from '../network/machine-network.ts';
import { openShares } from '../share/shares.ts';
import { checkDiskSizes } from '../snapshot/disk-points.ts';
import { NOTHING_PLACED, type PlacedPages, placeHotPages } from '../snapshot/hot-pages.ts';
import { ownInterpreters } from '../snapshot/interpreter-cache.ts';
import type { OpenStoredSnapshot } from '../snapshot/snapshot-store.ts';
import {
  type BootableImage,
  type FoundImage,
  type GuestIdentity,
  guestInitrd,
  type Image,
  type ImageRequest,
} from './images.ts';
import { type KeptBoot, type KeptBootKey, KeptBoots, type KeptPlace, keptBootKey, whyItBoots } from './kept-boot.ts';
import { randomName } from './names.ts';
import type { VMOptions, VMSettings } from './options.ts';
import type { WarmProcess } from './warm-process.ts';
import { imageOfSnapshot } from './restore-options.ts';
import { SerialConsole } from './serial-console.ts';

/** Names of our own that are tried before giving up. */
export const NAME_ATTEMPTS = 20;
/** Kept boots that are tried before it boots. */
const KEPT_ATTEMPTS = 2;

/** Why it boots. */
const NOT_CACHED = 'its image is not in the cache';
const NOT_USABLE = 'what was kept of one like it cannot be used';

/** What a machine is made of. */
export interface VMParts {
  name: string;
  readonly options: VMOptions;
  readonly settings: VMSettings;
  readonly suite: string;
  /** To run on the serial console when somebody looks. */
  readonly consoleProgram: readonly string[] | undefined;
  readonly machine: Machine;
  /** What it was made of. */
  readonly machineOptions: MachineOptions;
  readonly openDisks: OpenDisks;
  readonly network: MachineNetwork;
  /** Number of the next fork that nobody has named. */
  readonly forks: { next: number };
  /** What a fork's guest has to be told before it takes commands; undefined for one that was booted. */
  readonly arrive: ((guest: GuestAgent) => Promise<void>) | undefined;
  /** What the agent of a fork's guest had with its parent, where nothing was under way: it goes on with that. */
  readonly connection?: AgentConnection | undefined;
  /** The machine's: it stands while the machine is paused. */
  readonly clock: PausableClock;
  readonly serial: SerialConsole;
  /** What the user should know. */
  readonly notes: readonly string[];
  /** How it comes to be booted. */
  readonly start: VMStart;
  /** Settles when all of its memory is here: of a machine that was moved while it ran. What copies it waits for that. */
  whole?: Promise<void>;
  /** Where other processes ask for it; undefined when they cannot. */
  readonly control: ControlSocket | undefined;
  /** Closes the network, the disks and the folders, when the machine has ended. */
  close(): Promise<void>;
}

/** Who has spoken to the agent of its guest before it began. */
export function spokenBefore({ connection, start }: VMParts): SpokenBefore {
  return connection ?? (start.kind === 'resume' ? 'nobody' : 'unknown');
}

/** How a machine begins. */
export type VMStart =
  /** Why it is neither kept nor goes on from one that was. */
  | { readonly kind: 'boot'; readonly reason: string }
  /** It is to be kept when it has booted. */
  | { readonly kind: 'keep'; readonly boots: KeptBoots; readonly key: KeptBootKey }
  /** It has booted already. */
  | {
      readonly kind: 'resume';
      readonly boots: KeptBoots;
      readonly kept: KeptBoot;
    }
  /** It goes on from a snapshot of somebody's, with all that was done in it. */
  | { readonly kind: 'restore'; readonly snapshot: OpenStoredSnapshot; readonly placed: PlacedPages }
  /** It comes from another process, as it is there. */
  | { readonly kind: 'arrive' };

/**
 * `served` answers whoever asks over the socket. `restored` is what the machine goes on from, and becomes its own; of one that arrives from another
 * process the machine is blank, and its ports are not open yet; it has what is `warm` for it. What is on `lateNetwork` is not on its network yet.
 */
export async function assemble(...of: Parameters<typeof assembled>): Promise<VMParts> {
  const [options, ...rest] = of;
  for (let attempt = 1; ; attempt++) {
    try {
      // Where one after the other is kept and cannot be gone on from, or it cannot be removed, it boots.
      if (attempt <= KEPT_ATTEMPTS) return await assembled(options, ...rest);
      return { ...(await assembled(withoutKept(options), ...rest)), start: { kind: 'boot', reason: NOT_USABLE } };
    } catch (error) {
      if (!(error instanceof UnusableBoot)) throw error;
    }
  }
}

function withoutKept({ keptPlace: _place, ...options }: VMOptions): VMOptions {
  return { ...options, keptBoot: false };
}

/** The machine that was kept cannot be gone on from: it is removed. */
class UnusableBoot extends Error {}

/** Does `work`, which fails with a SnapshotError when what was kept is not to be used. */
async function goingOn<T>({ boots, from }: FoundBoot, work: () => T): Promise<Awaited<T>> {
  try {
    return await work();
  } catch (error) {
    if (from === undefined || !(error instanceof SnapshotError)) throw error;
    await boots.remove(from.key);
    throw new UnusableBoot();
  }
}

async function assembled(
  options: VMOptions,
  settings: VMSettings,
  served: ServedVM,
  origin?: OpenStoredSnapshot | 'arriving',
  warm?: WarmProcess,
  lateNetwork?: LateNetwork,
): Promise<VMParts> {
  const restored = origin === 'arriving' ? undefined : origin;
  await using opened = new AsyncDisposableStack();
  await using reachable = new AsyncDisposableStack();
  const folders = await openShares(settings.shares, (_share, index) => shareTag(index));
  opened.defer(() => folders.close());
  // The guest's variables are not the ones that say where the cache is.
  const { env: _guestVariables, ...request } = options;
  if (restored !== undefined) opened.defer(() => restored.close());
  const kept: FoundBoot =
    origin === undefined
      ? await keptBoot(options, request, settings)
      : { boots: new KeptBoots(), reason: 'it goes on from elsewhere' };
  if (kept.from !== undefined) opened.defer(() => kept.from?.close());
  const image =
    kept.from === undefined && origin === undefined
      ? await (options.boot?.() ?? settings.image.load(request))
      : undefined;
  const key = kept.reason === undefined ? (kept.key ?? (await keyOf(options, request, settings))) : undefined;
  const specs = [
    ...systemDisk(image?.diskPath),
    ...systemDisk(kept.from?.diskPath).map((disk) => ({ ...disk, isPassing: true })),
    ...settings.disks,
  ];
  const open = (): Promise<OpenDisks> => openDisks(specs, options.absentDisks, options.temporaryFolder);
  const disks = await goingOn(kept, () => kept.from?.withDisk(open) ?? open());
  opened.defer(() => disks.close());
  // The guest's host name, and its name on the network.
  const { name, control } = await takeName(options, served);
  if (control !== undefined) reachable.defer(() => control.close());
  const network = lateNetwork?.network ?? (await openNetwork(settings.network, name, origin === 'arriving'));
  const notes = [...disks.notes, ...(image?.notes ?? [])];
  opened.defer(async () => {
    const note = await network.close();
    if (note !== undefined) notes.push(note);
  });
  const serial = new SerialConsole(options.onSerial);
  const compiler = options.domain === undefined ? ownCompiler(options, opened, warm) : undefined;
  const clock = new PausableClock(options.ownsProcess === true ? ownProcessClock : nodeClock);
  const machineOptions: MachineOptions = {
    memoryBytes: settings.memoryBytes,
    // Room for forks; addresses cost nothing.
    domainBytes: MAXIMUM_DOMAIN_BYTES,
    harts: settings.cpus,
    ...options.domain?.machineOptions,
    ...(options.forkable === true || options.domain !== undefined ? {} : { pcpus: new NodePcpus(clock) }),
    ...(options.engine === undefined ? {} : { engine: options.engine }),
    ...(compiler === undefined ? {} : { compiler }),
    interpreters: ownInterpreters(),
    clock,
    entropy: nodeEntropy,
    ...(options.log === undefined ? {} : { log: options.log }),
    serialOutput: serial.output,
    serialInputRoom: () => serial.roomAgain(),
    disks: disks.disks,
    networkCards: network.cards,
    shares: folders.shares,
    ...(options.balloon === true ? { balloon: true } : {}),
    consolePorts: [{ name: 'console', console: true }, { name: AGENT_PORT_NAME }],
    firmware: 'own',
    // One that is kept has no name yet.
    ...(image === undefined
      ? { blank: true }
      : await payloads(settings.image, image, options, {
          hostname: key === undefined ? name : settings.imageName,
          network: network.settings,
          instanceId: options.instanceId,
        })),
    decompressor: nodeDecompressor,
    // A disposable machine is never reset: its kernel need not stay in memory twice.
    discardPayloads: true,
  };
  const machine = await made(machineOptions);
  opened.defer(() => machine.close());
  options.domain?.join(machine, options);
  let placed = NOTHING_PLACED;
  if (restored !== undefined) {
    checkDiskSizes(restored.manifest, disks.disks);
    restoreInto(machine, restored, () => (placed = placeHotPages(machine, restored)));
  }
  let start: VMStart =
    origin === 'arriving'
      ? { kind: 'arrive' }
      : restored !== undefined
        ? { kind: 'restore', snapshot: restored, placed }
        : { kind: 'boot', reason: kept.reason ?? (options.boot === undefined ? NOT_CACHED : NOT_USABLE) };
  if (kept.from !== undefined) {
    await goingOn(kept, () => kept.from?.restore(machine));
    start = { kind: 'resume', boots: kept.boots, kept: kept.from };
  } else if (key !== undefined) start = { kind: 'keep', boots: kept.boots, key };
  serial.connect(machine.serial);
  const closing = opened.move();
  reachable.move();
  return {
    name,
    options,
    settings,
    ...(restored === undefined
      ? {
          suite: (image ?? kept.found ?? options.booted)?.suite ?? '',
          consoleProgram: (image ?? kept.found ?? options.booted)?.consoleProgram,
        }
      : imageOfSnapshot(restored.manifest)),
    machine,
    machineOptions,
    openDisks: disks,
    network,
    arrive: undefined,
    forks: { next: 1 },
    clock,
    start,
    serial,
    notes,
    control,
    close: () => closing.disposeAsync(),
  };
}

function ownCompiler(
  { engine }: VMOptions,
  opened: AsyncDisposableStack,
  warm: WarmProcess | undefined,
): ThreadedCompiler {
  const compiler = warm?.compiler ?? new ThreadedCompiler();
  opened.defer(() => compiler.close());
  startWhereItMust(compiler, engine);
  return compiler;
}

async function made(options: MachineOptions): Promise<Machine> {
  try {
    return await holdingProcess(Machine.create(options));
  } catch (error) {
    if (!(error instanceof DomainFullError)) throw error;
    throw new HostError('too-many', 'there is no room for another machine in its memory domain', error);
  }
}

/** What was kept for a machine like this, if it may go on from that. */
async function keptBoot(options: VMOptions, request: ImageRequest, settings: VMSettings): Promise<FoundBoot> {
  if (options.keptPlace !== undefined) return keptThere(options.keptPlace);
  const boots = new KeptBoots();
  const reason = whyItBoots(options, settings);
  if (reason !== undefined) return { boots, reason };
  const found = await settings.image.find?.(request);
  if (found === undefined) return { boots };
  const key = keptBootKey(found, options, settings);
  return { boots, found, key, from: await boots.open(key, found.hasDisk) };
}

/** What somebody has found. */
async function keptThere({ folder, key, finish }: KeptPlace): Promise<FoundBoot> {
  const boots = new KeptBoots(folder, { isReadOnly: finish === undefined, finish });
  const from = await boots.open(key);
  return from === undefined && boots.isReadOnly ? { boots, reason: NOT_USABLE } : { boots, key, from };
}

interface FoundBoot {
  readonly boots: KeptBoots;
  readonly reason?: string;
  readonly found?: FoundImage;
  readonly key?: KeptBootKey;
  readonly from?: KeptBoot | undefined;
}

/** Of an image that has come into the cache just now. */
async function keyOf(
  options: VMOptions,
  request: ImageRequest,
  settings: VMSettings,
): Promise<KeptBootKey | undefined> {
  const found = await settings.image.find?.(request);
  return found && keptBootKey(found, options, settings);
}

async function payloads(
  of: Image,
  image: BootableImage,
  options: VMOptions,
  guest: GuestIdentity,
): Promise<Pick<MachineOptions, 'kernel' | 'initrd' | 'bootArguments'>> {
  return {
    kernel: image.kernel,
    initrd: await guestInitrd(of, image, guest),
    bootArguments: ['console=ttyS0', 'panic=-1', ...image.kernelParameters, ...(options.kernelArguments ?? [])].join(
      ' ',
    ),
  };
}

/** The image's disk comes first; what the machine changes is in front of it and gone afterwards. */
function systemDisk(path: string | undefined): DiskSpec[] {
  if (path === undefined) return [];
  return [{ path, format: 'qcow2', readOnly: false, snapshot: true, cache: 'unsafe', bus: 'pci' }];
}

/** The tag of the share with this index. */
export function shareTag(index: number): string {
  return `ringfence.share${index}`;
}

export interface TakenName {
  readonly name: string;
  readonly control: ControlSocket | undefined;
}

/** Takes the name that was asked for, or one that is free. */
export async function takeName({ name, reachable = true }: VMOptions, served: ServedVM): Promise<TakenName> {
  if (!reachable) return { name: name ?? randomName(), control: undefined };
  if (name !== undefined) return { name, control: await openControlSocket(vmFolder(), name, served) };
  for (let attempt = 1; ; attempt++) {
    const own = randomName();
    try {
      return { name: own, control: await openControlSocket(vmFolder(), own, served) };
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      // Nobody asked for it to be reached: it does without where there is no place for a socket.
      if (error.code !== 'name-taken' || attempt === NAME_ATTEMPTS) return { name: own, control: undefined };
    }
  }
}
