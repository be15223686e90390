/** Opens what a virtual machine has of this computer and makes its machine, all or nothing. */

import process from 'node:process';
import { AGENT_PORT_NAME, Machine } from '@ringfence/core';
import { type ControlSocket, openControlSocket } from '../control/control-socket.ts';
import type { ServedVM } from '../control/server.ts';
import { vmFolder } from '../control/vm-folder.ts';

import type { DiskSpec } from '../disk/disk-spec.ts';
import { openDisks } from '../disk/disks.ts';
import { HostError } from '../failure.ts';
import { PausableClock } from '../machine/pausable-clock.ts';
import { nodeDecompressor, nodeEntropy } from '../machine/ports.ts';
import { NodePcpus } from '../machine/pcpus.ts';
import { ThreadedCompiler } from '../machine/region-compiler.ts';
import { openNetwork } from '../network/machine-network.ts';
import { openShares } from '../share/shares.ts';
import { guestInitrd } from './images.ts';
import { randomName } from './names.ts';
import type { VMOptions, VMSettings } from './options.ts';
import { SerialConsole } from './serial-console.ts';

/** Names of our own that are tried before giving up. */
const NAME_ATTEMPTS = 20;

/** What a machine is made of. */
export interface VMParts {
  readonly name: string;
  readonly options: VMOptions;
  readonly settings: VMSettings;
  readonly suite: string;
  /** To run on the serial console when somebody looks. */
  readonly consoleProgram: readonly string[] | undefined;
  readonly machine: Machine;
  /** The machine's: it stands while the machine is paused. */
  readonly clock: PausableClock;
  readonly serial: SerialConsole;
  /** What the user should know. */
  readonly notes: readonly string[];
  /** Where other processes ask for it; undefined when they cannot. */
  readonly control: ControlSocket | undefined;
  /** Closes the network, the disks and the folders, when the machine has ended. */
  close(): Promise<void>;
}

/** `served` answers whoever asks over the socket. */
export async function assemble(options: VMOptions, settings: VMSettings, served: ServedVM): Promise<VMParts> {
  await using opened = new AsyncDisposableStack();
  await using reachable = new AsyncDisposableStack();
  const folders = await openShares(settings.shares, (_share, index) => shareTag(index));
  opened.defer(() => folders.close());
  // The guest's variables are not the ones that say where the cache is.
  const { env: _guestVariables, ...request } = options;
  const image = options.boot ?? (await settings.image.load(request));
  const disks = await openDisks([...systemDisk(image.diskPath), ...settings.disks]);
  opened.defer(() => disks.close());
  const hostname = options.name ?? settings.imageName;
  const network = await openNetwork(settings.network, hostname);
  const notes = [...disks.notes, ...(image.notes ?? [])];
  opened.defer(async () => {
    const note = await network.close();
    if (note !== undefined) notes.push(note);
  });
  const { name, control } = await takeName(options, served);
  if (control !== undefined) reachable.defer(() => control.close());
  const serial = new SerialConsole(options.onSerial);
  const clock = new PausableClock();
  const compiler = new ThreadedCompiler();
  // Where threads can be started now and not later (vm-process/main.ts).
  if (process.permission !== undefined && options.engine !== 'interpreter') compiler.start();
  const machine = await Machine.create({
    memoryBytes: settings.memoryBytes,
    harts: settings.cpus,
    pcpus: new NodePcpus(clock),
    ...(options.engine === undefined ? {} : { engine: options.engine }),
    compiler,
    clock,
    entropy: nodeEntropy,
    ...(options.log === undefined ? {} : { log: options.log }),
    serialOutput: serial.output,
    serialInputRoom: () => serial.roomAgain(),
    disks: disks.disks,
    networkCards: network.cards,
    shares: folders.shares,
    consolePorts: [{ name: 'console', console: true }, { name: AGENT_PORT_NAME }],
    firmware: 'own',
    kernel: image.kernel,
    initrd: await guestInitrd(settings.image, image, {
      hostname,
      network: network.settings,
      instanceId: options.instanceId,
    }),
    bootArguments: ['console=ttyS0', 'panic=-1', ...image.kernelParameters, ...(options.kernelArguments ?? [])].join(
      ' ',
    ),
    decompressor: nodeDecompressor,
    // A disposable machine is never reset: its kernel need not stay in memory twice.
    discardPayloads: true,
  });
  opened.defer(() => machine.close());
  serial.connect(machine.serial);
  const closing = opened.move();
  reachable.move();
  return {
    name,
    options,
    settings,
    suite: image.suite,
    consoleProgram: image.consoleProgram,
    machine,
    clock,
    serial,
    notes,
    control,
    close: () => closing.disposeAsync(),
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

interface TakenName {
  readonly name: string;
  readonly control: ControlSocket | undefined;
}

/** Takes the name that was asked for, or one that is free. */
async function takeName({ name, reachable = true }: VMOptions, served: ServedVM): Promise<TakenName> {
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
