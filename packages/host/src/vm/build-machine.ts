/** The machine that installs an image's packages (port BuildMachine of @ringfence/images): a hypervisor, a disk, a folder, and no network. */

import { createQcow2, Machine, MachineRunner, type RunEnd } from '@ringfence/core';
import type { BuildEnd, BuildJob } from '@ringfence/images';
import { DiskFile } from '../disk/disk-file.ts';
import { openDisks } from '../disk/disks.ts';
import { nodeClock, nodeDecompressor, nodeEntropy, nodeTurns } from '../machine/ports.ts';
import { ThreadedCompiler } from '../machine/region-compiler.ts';
import { openShares } from '../share/shares.ts';

export async function buildMachine(job: BuildJob): Promise<BuildEnd> {
  const { disk, share, signal } = job;
  if (disk.createBytes !== undefined) {
    const file = await DiskFile.create(disk.path);
    try {
      await createQcow2(file, { sizeBytes: disk.createBytes });
    } finally {
      await file.close();
    }
  }
  await using opened = new AsyncDisposableStack();
  const folders = await openShares([{ host: share.folder, guest: share.tag, readOnly: true }], ({ guest }) => guest);
  opened.defer(() => folders.close());
  const disks = await openDisks([
    { path: disk.path, format: 'qcow2', readOnly: false, snapshot: false, cache: 'unsafe', bus: 'pci' },
  ]);
  opened.defer(() => disks.close());
  const compiler = new ThreadedCompiler();
  opened.defer(() => compiler.close());
  const machine = await Machine.create({
    firmware: 'own',
    kernel: { kind: 'kernel', name: 'kernel', bytes: job.kernel },
    initrd: { kind: 'initrd', name: 'initrd', bytes: job.initrd },
    bootArguments: job.bootArguments,
    decompressor: nodeDecompressor,
    memoryBytes: job.memoryBytes,
    clock: nodeClock,
    entropy: nodeEntropy,
    compiler,
    serialOutput: { write: (bytes) => job.onSerial(bytes.slice()) },
    consolePorts: job.ports.map(({ name }, index) => ({ name, console: index === 0 })),
    disks: disks.disks,
    shares: folders.shares,
    discardPayloads: true,
  });
  for (const [index, { onData }] of job.ports.entries()) {
    const port = machine.console?.ports[index];
    if (port !== undefined) port.onData = onData;
  }
  const runner = new MachineRunner(machine, nodeTurns([]));
  const { promise: stopped, resolve: stop } = Promise.withResolvers<'timeout' | 'aborted'>();
  const timer = setTimeout(() => stop('timeout'), job.timeoutMs);
  const onAbort = (): void => stop('aborted');
  if (signal?.aborted === true) onAbort();
  signal?.addEventListener('abort', onAbort);
  try {
    runner.start();
    const end = await Promise.race([runner.ended, stopped]);
    if (end === 'aborted') throw signal?.reason;
    return end === 'timeout' ? end : howEnded(end);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    await runner.stop();
  }
}

function howEnded({ kind }: RunEnd): BuildEnd {
  return kind === 'poweroff' || kind === 'reboot' ? kind : 'failure';
}
