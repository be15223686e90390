/** A Debian kernel with the image tiny, where nothing runs but the agent. */

import { readFile } from 'node:fs/promises';
import { AGENT_PORT_NAME, AgentClient, Machine, MachineRunner, type MachineDisk, type RunEnd } from '@ringfence/core';
import { Transcript, nodeClock, nodeEntropy, nodeTurns, within } from '@ringfence/core/testing/node-host';
import { commandArchive, openTiny } from '@ringfence/images';
import { ThreadedCompiler } from '@ringfence/host';

const LONGEST_END_MS = 60_000;

export class AgentGuest {
  readonly machine: Machine;
  readonly runner: MachineRunner;
  readonly client: AgentClient;
  readonly serial: Transcript;

  private constructor(machine: Machine, serial: Transcript) {
    this.machine = machine;
    this.serial = serial;
    const port = machine.console?.ports[0];
    if (port === undefined) throw new Error('the machine has no port');
    this.client = new AgentClient(port, { clock: nodeClock, timers: nodeTurns });
    this.runner = new MachineRunner(machine, nodeTurns);
  }

  /** Boots it; the agent may still be on its way. */
  static async boot(suite: 'stable' | 'testing', disks: readonly MachineDisk[] = []): Promise<AgentGuest> {
    const image = await openTiny({ suite });
    const [kernel, initrd] = await Promise.all([readFile(image.kernelPath), readFile(image.initrdPath)]);
    const command = commandArchive({ argv: [], interactive: false, agent: true });
    const serial = new Transcript();
    const machine = await Machine.create({
      memoryBytes: 256 << 20,
      clock: nodeClock,
      entropy: nodeEntropy,
      serialOutput: serial,
      consolePorts: [{ name: AGENT_PORT_NAME }],
      compiler: new ThreadedCompiler(),
      disks,
      firmware: 'own',
      kernel: { kind: 'kernel', name: image.kernelPath, bytes: kernel },
      initrd: { kind: 'initrd', name: image.initrdPath, bytes: Buffer.concat([initrd, command]) },
      bootArguments: ['console=ttyS0', 'panic=-1', ...image.kernelParameters].join(' '),
    });
    const guest = new AgentGuest(machine, serial);
    guest.runner.start();
    return guest;
  }

  /** The end of the machine, which it comes to by itself. */
  ended(): Promise<RunEnd> {
    return within(this.runner.ended, LONGEST_END_MS, "the guest's end");
  }

  async stop(): Promise<void> {
    this.client.close();
    await this.runner.stop();
  }
}
