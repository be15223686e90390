/** A Debian kernel with a command between its ports, as `ringfence run` makes it, for tests that look at the machine beneath. */

import { readFile } from 'node:fs/promises';
import {
  Machine,
  MachineRunner,
  type MachineDisk,
  type MachineNetworkCard,
  type MachineOptions,
  type MachineShare,
  type Payload,
  type RunEnd,
} from '@ringfence/core';
import { Transcript, nodeClock, nodeEntropy, nodeTurns, within } from '@ringfence/core/testing/node-host';
import { type Tier, onTier } from '@ringfence/core/testing/tiers';
import { NodePcpus } from '@ringfence/host';
import { commandArchive, type GuestCommand, openTiny } from '@ringfence/images';

export interface GuestOptions {
  readonly suite: 'stable' | 'testing';
  readonly argv: readonly string[];
  readonly firmware?: Payload;
  readonly disks?: readonly MachineDisk[];
  readonly engine?: Tier;
  readonly harts?: number;
  /** Threads for them; none when absent. */
  readonly threads?: number;
  /** Hot code is compiled as early as tests like it, or as late as for users, which boots in less time. Default early. */
  readonly heat?: 'early' | 'late';
  readonly networkCards?: readonly MachineNetworkCard[];
  readonly network?: GuestCommand['network'];
  /** Mounted at /TAG. */
  readonly shares?: readonly MachineShare[];
}

const PORTS = ['ringfence.stdin', 'ringfence.stdout', 'ringfence.stderr', 'ringfence.control'];
const LONGEST_RUN_MS = 200_000;

export async function guestOptions(
  {
    suite,
    argv,
    firmware,
    disks = [],
    networkCards = [],
    network,
    shares = [],
    engine,
    harts = 1,
    threads = 0,
    heat = 'early',
  }: GuestOptions,
  serialOutput: Transcript,
): Promise<MachineOptions> {
  const image = await openTiny({ suite });
  const mounts = shares.map(({ tag, readOnly = false }) => ({ tag, path: `/${tag}`, readOnly }));
  const [kernel, initrd] = await Promise.all([readFile(image.kernelPath), readFile(image.initrdPath)]);
  return {
    memoryBytes: 256 << 20,
    harts,
    ...(threads > 0 ? { pcpus: new NodePcpus(nodeClock, threads) } : {}),
    clock: nodeClock,
    entropy: nodeEntropy,
    serialOutput,
    consolePorts: PORTS.map((name) => ({ name })),
    disks,
    networkCards,
    shares,
    firmware: firmware ?? 'own',
    kernel: { kind: 'kernel', name: image.kernelPath, bytes: kernel },
    initrd: {
      kind: 'initrd',
      name: image.initrdPath,
      bytes: Buffer.concat([
        initrd,
        commandArchive({ argv, interactive: false, shares: mounts, ...(network && { network }) }),
      ]),
    },
    bootArguments: ['console=ttyS0', ...image.kernelParameters].join(' '),
    ...(engine === undefined ? {} : heat === 'early' ? onTier(engine) : { engine }),
  };
}

/** A machine and what its ports say. */
export class Guest {
  readonly machine: Machine;
  readonly runner: MachineRunner;
  readonly serial: Transcript;
  readonly stdout = new Transcript();
  readonly stderr = new Transcript();
  readonly control = new Transcript();

  constructor(machine: Machine, serial: Transcript) {
    this.machine = machine;
    this.serial = serial;
    this.runner = new MachineRunner(machine, nodeTurns);
    for (const [index, transcript] of [this.stdout, this.stderr, this.control].entries())
      this.#port(index + 1).onData = (bytes) => transcript.write(bytes);
  }

  static async create(options: GuestOptions): Promise<Guest> {
    const serial = new Transcript();
    return new Guest(await Machine.create(await guestOptions(options, serial)), serial);
  }

  /** Gives the command its input; `end` is the end of it. */
  feed(text: string, end: boolean): void {
    const bytes = new TextEncoder().encode(text);
    const port = this.#port(0);
    if (port.write(bytes) !== bytes.length) throw new Error('more input than the port takes at once');
    if (end) port.close();
  }

  /** Gives the command all of its input while the machine runs. */
  async feedAll(bytes: Uint8Array): Promise<void> {
    const port = this.#port(0);
    for (let at = 0; at < bytes.length;) {
      at += port.write(bytes.subarray(at));
      await port.writable();
    }
    port.close();
  }

  /** Runs until the machine ends by itself. */
  async end(): Promise<RunEnd> {
    this.runner.start();
    try {
      return await within(this.runner.ended, LONGEST_RUN_MS, 'the guest');
    } catch (error) {
      throw new Error(`The guest did not end by itself. Its console:\n${this.serial.text.slice(-3000)}`, {
        cause: error,
      });
    } finally {
      await this.runner.stop();
      this.machine.close();
    }
  }

  #port(index: number): NonNullable<Machine['console']>['ports'][number] {
    const port = this.machine.console?.ports[index];
    if (port === undefined) throw new Error(`the machine has no port ${index}`);
    return port;
  }
}
