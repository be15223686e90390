/**
 * The process of one virtual machine. The daemon starts it under Node's permission model (permissions.ts) and hands it the socket that it is
 * asked through; from then on it needs the daemon no more and outlives it.
 *
 *     daemon -- start, socket --> reads vm.yaml, makes the machine, listens, gives up what it need not have, runs it -- started --> daemon
 *     ... asked through the socket, by the daemon and by `exec`, `cp`, `console` ...
 *     the guest has ended: end.json says how, whoever waits is told, and the process ends
 */

import { writeFileSync } from 'node:fs';
import type { Server } from 'node:net';
import process from 'node:process';
import { setImmediate as turn } from 'node:timers/promises';
import type { MachineEndReport } from '../control/operations.ts';
import { wireFailure } from '../control/wire.ts';
import { giveUp } from '../machine/permissions.ts';
import { loadBootFiles } from '../machine-folder/boot-files.ts';
import { memoryBytesOf } from '../machine-folder/config.ts';
import { fileIn, type MachineFolder, machineFolder } from '../machine-folder/layout.ts';
import { readMachine } from '../machine-folder/machine-files.ts';
import { SnapshotStore } from '../snapshot/snapshot-store.ts';
import { VM } from '../vm/vm.ts';
import { ConsoleLog } from './console-log.ts';
import type { ProcessMessage, StartMessage } from './messages.ts';
import { serveOn } from './serve.ts';

/** A daemon that is gone before it has said what to start. */
const ORPHANED = 3;

process.on('disconnect', () => process.exit(ORPHANED));
process.once('message', (message, server) => void main(message as StartMessage, server as Server));
// Typed at the terminal that the daemon runs in, these are the daemon's.
for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined);

async function main(message: StartMessage, server: Server): Promise<void> {
  const folder = machineFolder(message.folder);
  let vm: VM;
  try {
    const config = await readMachine(folder);
    const log = new ConsoleLog(folder.consoleLog);
    const [network] = config.networks ?? [];
    const options = {
      name: config.name,
      instanceId: config.id,
      disks: message.disks,
      ...(network === undefined ? {} : { mac: network.mac, publish: network.publish ?? [] }),
      ...(config.engine === undefined ? {} : { engine: config.engine }),
      ...(config.kernelArguments === undefined ? {} : { kernelArguments: config.kernelArguments }),
      ...(config.env === undefined ? {} : { env: config.env }),
      ...(config.user === undefined ? {} : { user: config.user }),
      ...(config.workdir === undefined ? {} : { workdir: config.workdir }),
      reachable: false,
      onSerial: (bytes: Uint8Array) => log.write(bytes),
    };
    const { snapshot } = message;
    if (snapshot === undefined)
      vm = await VM.create({
        ...options,
        image: config.image,
        boot: await loadBootFiles(folder),
        cpus: config.cpus,
        memory: memoryBytesOf(config),
        network: network === undefined ? 'none' : network.mode,
      });
    // Who asked for it has looked at all of its bytes.
    else {
      vm = await VM.createRestored(new SnapshotStore(folder.snapshots), snapshot, options, { verify: false });
      await untilCommitted(folder, message.disks);
    }
    const close = serveOn(server, { ...vm.served, status: () => ({ ...vm.status(), id: config.id }) });
    vm.start();
    // The first turn starts the threads that execute harts.
    await turn();
    await turn();
    giveUp('worker', 'child', 'inspector');
    if (network === undefined) giveUp('net');
    process.on('SIGTERM', () => void vm.stop());
    await tell({ kind: 'started' });
    // The daemon may go now.
    process.removeAllListeners('disconnect');
    if (process.connected) process.disconnect?.();
    const report = await vm.finished();
    writeEnd(folder.end, report);
    await close();
    process.exit(0);
  } catch (error) {
    console.error(error);
    await tell({ kind: 'failed', failure: wireFailure(error) });
    process.exit(1);
  }
}

/**
 * Waits until it is the restored machine that counts: from then on the old disks are nobody's. A daemon that was killed may have got so far without
 * having said it.
 */
async function untilCommitted(folder: MachineFolder, disks: readonly string[]): Promise<void> {
  process.removeAllListeners('disconnect');
  const { promise: answered, resolve } = Promise.withResolvers<'go' | 'gone'>();
  process.once('message', () => resolve('go'));
  process.once('disconnect', () => resolve('gone'));
  await tell({ kind: 'restored' });
  if (!process.connected) resolve('gone');
  if ((await answered) === 'go') return;
  const config = await readMachine(folder);
  const isCommitted = (config.disks ?? []).every(({ file }, index) =>
    disks[index]?.startsWith(`${fileIn(folder, file).replaceAll(',', ',,')},`),
  );
  if (!isCommitted || disks.length === 0) process.exit(ORPHANED);
}

function writeEnd(path: string, report: MachineEndReport): void {
  try {
    writeFileSync(path, `${JSON.stringify({ ...report, at: new Date().toISOString() })}\n`, { mode: 0o600 });
  } catch {
    // Then nobody knows; a full disk stops no machine from ending.
  }
}

function tell(message: ProcessMessage): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) resolve();
    else process.send(message, () => resolve());
  });
}
