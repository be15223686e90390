/** `ringfence boot`: a machine with its serial console on stdin and stdout, for any payload made for QEMU's `virt` machine. */

import { writeFile } from 'node:fs/promises';
import process from 'node:process';
import { Machine, type MachineOptions, type Payload } from '@ringfence/core';
import {
  nodeClock,
  nodeDecompressor,
  nodeEntropy,
  NodePcpus,
  nodeTurns,
  openDisks,
  type OpenDisks,
  openShares,
  parseDiskSpec,
  SerialInput,
  SerialOutput,
  systemReason,
  taggedShares,
  ThreadedCompiler,
} from '@ringfence/host';
import { feed, TypeAhead } from '@ringfence/images/guest';
import { EXIT, exitCodeOfSignal, SIGPIPE } from '../exit-codes.ts';
import { CliError } from '../failure.ts';
import { readPayload } from '../node/files.ts';
import { listenForSignals, type Interruption } from '../node/interruption.ts';
import { drainAll, Output } from '../node/output.ts';
import { takeTerminal } from '../node/terminal.ts';
import { statisticsReport } from '../statistics.ts';
import { Supervision, type End } from '../supervision.ts';
import { machineLimits, type LimitOptions, type MachineLimits } from './machine-limits.ts';
import { troubleLog } from '../trouble-log.ts';
import { say } from './say.ts';

export interface BootOptions extends LimitOptions {
  readonly kernel?: string | undefined;
  readonly initrd?: string | undefined;
  readonly append?: string | undefined;
  readonly bios?: string | undefined;
  readonly disk: readonly string[];
  readonly share: readonly string[];
  readonly dumpDtb?: string | undefined;
}

type Payloads = Pick<MachineOptions, 'shares' | 'firmware' | 'kernel' | 'initrd' | 'bootArguments'>;

/** Boots what the options name; gives the exit code of this process. */
export async function boot(file: string | undefined, options: BootOptions): Promise<number> {
  const limits = machineLimits(options);
  const specs = options.disk.map((text) => parseDiskSpec(text, '--disk'));
  const words = taggedShares(options.share, '--share');
  const payloads = await readPayloads(file, options);
  const interruption = listenForSignals();
  await using opened = new AsyncDisposableStack();
  const folders = await openShares(words, ({ guest }) => guest);
  opened.defer(() => folders.close());
  const disks = await openDisks(specs);
  opened.defer(() => disks.close());
  for (const note of disks.notes) say(note);
  if (options.dumpDtb !== undefined) return await dumpTree(options.dumpDtb, payloads, limits, disks);
  return await onSerialConsole({ ...payloads, shares: folders.shares }, options, limits, disks, interruption);
}

async function readPayloads(file: string | undefined, options: BootOptions): Promise<Payloads> {
  if (file !== undefined && options.kernel !== undefined)
    throw new CliError(`"${file}" and --kernel "${options.kernel}" cannot both be booted; give one`, EXIT.NO_MACHINE);
  // A bare file is a program that has the machine to itself.
  const bios = options.bios ?? (file === undefined ? 'own' : 'none');
  const kernelPath = file ?? options.kernel;
  if (kernelPath === undefined && (bios === 'own' || bios === 'none') && options.dumpDtb === undefined)
    throw new CliError('there is nothing to boot; give --kernel FILE, --bios FILE or an ELF file', EXIT.NO_MACHINE);
  const kernel = kernelPath === undefined ? undefined : await readPayload('kernel', kernelPath);
  if (file !== undefined && options.bios === undefined && kernel !== undefined && !isElf(kernel.bytes))
    throw new CliError(
      `"${file}" is no ELF file; give a kernel with --kernel, and a flat program with --bios none --kernel`,
      EXIT.NO_MACHINE,
    );
  return {
    firmware:
      options.bios === undefined || bios === 'none' ? (bios as 'own' | 'none') : await readPayload('firmware', bios),
    ...(kernel === undefined ? {} : { kernel }),
    ...(options.initrd === undefined ? {} : { initrd: await readPayload('initrd', options.initrd) }),
    ...(options.append === undefined ? {} : { bootArguments: options.append }),
  };
}

function isElf(bytes: Uint8Array): boolean {
  return [0x7f, 0x45, 0x4c, 0x46].every((byte, index) => bytes[index] === byte);
}

/** jal x0, 0: a machine is described the same whatever it boots. */
const IDLE_PROGRAM: Payload = { kind: 'kernel', name: 'idle', bytes: Uint8Array.of(0x6f, 0, 0, 0) };

async function dumpTree(
  path: string,
  payloads: Payloads,
  limits: MachineLimits,
  { disks }: OpenDisks,
): Promise<number> {
  const nothing = payloads.kernel === undefined && typeof payloads.firmware === 'string';
  const machine = await Machine.create({
    ...payloads,
    ...(nothing ? { firmware: 'none', kernel: IDLE_PROGRAM } : {}),
    memoryBytes: limits.memoryBytes,
    harts: limits.harts,
    clock: nodeClock,
    entropy: nodeEntropy,
    decompressor: nodeDecompressor,
    serialOutput: { write: () => undefined },
    disks,
  });
  try {
    await writeFile(path, machine.deviceTree);
  } catch (error) {
    throw new CliError(`the device tree cannot be written to "${path}": ${systemReason(error)}`, EXIT.FAILED, error);
  }
  return EXIT.OK;
}

async function onSerialConsole(
  payloads: Payloads,
  options: BootOptions,
  limits: MachineLimits,
  { disks }: OpenDisks,
  interruption: Interruption,
): Promise<number> {
  const { stdin } = process;
  const stdout = new Output(process.stdout);
  const serialOutput = new SerialOutput((bytes) => stdout.write(bytes));
  const input = new SerialInput();
  await using compiler = new ThreadedCompiler();
  const machine = await Machine.create({
    ...payloads,
    ...limits.engine,
    compiler,
    pcpus: new NodePcpus(nodeClock),
    memoryBytes: limits.memoryBytes,
    harts: limits.harts,
    clock: nodeClock,
    entropy: nodeEntropy,
    decompressor: nodeDecompressor,
    serialOutput,
    serialInputRoom: () => input.roomAgain(),
    log: troubleLog(say, ['warn', 'error']),
    disks,
  });
  input.connect(machine.serial);
  const supervision = new Supervision(limits.timeoutMs, interruption);
  stdout.onBroken = (reason) => supervision.end({ kind: 'output', reason });
  const typeAhead = new TypeAhead(input);
  if (stdin.isTTY && process.stderr.isTTY) say('Ctrl-A X ends the machine');
  const terminal = stdin.isTTY
    ? takeTerminal(stdin, process.stdout, {
        keys: (bytes) => typeAhead.push(bytes),
        quit: () => supervision.end({ kind: 'quit' }),
      })
    : undefined;
  if (!stdin.isTTY) feed(input, stdin).catch((error: unknown) => say(`stdin cannot be read: ${systemReason(error)}`));
  const startedAt = performance.now();
  try {
    const end = await untilEnd(machine, supervision, stdout);
    serialOutput.flush();
    const isForced = end.kind === 'timeout' || end.kind === 'signal' || end.kind === 'quit';
    await drainAll([stdout], isForced, interruption.signal);
    terminal?.restore();
    process.stderr.write(statisticsReport(machine, performance.now() - startedAt, options));
    return report(end, options);
  } finally {
    supervision.close();
    machine.close();
    terminal?.restore();
  }
}

/** Runs the machine as often as it asks to be started again. */
async function untilEnd(machine: Machine, supervision: Supervision, stdout: Output): Promise<End> {
  for (;;) {
    const end = await supervision.run(machine, nodeTurns([stdout]));
    if (end.kind !== 'reboot') return end;
    machine.reset();
    machine.resume();
  }
}

/** Says why it ended, where that needs words, and gives the exit code. */
function report(end: End, { timeout }: BootOptions): number {
  switch (end.kind) {
    case 'poweroff':
    case 'reboot':
      return EXIT.OK;
    case 'failure': {
      const code = Math.min(255, Math.max(1, end.code));
      say(`the guest reported failure ${end.code}${code === end.code ? '' : `, which as an exit code is ${code}`}`);
      return code;
    }
    case 'timeout':
      say(`the machine was ended after ${timeout}, as --timeout says`);
      return EXIT.TIMEOUT;
    case 'signal':
      return exitCodeOfSignal(end.number);
    case 'quit':
      process.stderr.write('\n');
      say('the machine was ended with Ctrl-A X');
      return EXIT.OK;
    case 'output':
      if (end.reason === undefined) return exitCodeOfSignal(SIGPIPE);
      say(`stdout cannot be written: ${end.reason}`);
      return EXIT.NO_MACHINE;
    case 'exit':
      return end.code;
    case 'stopped':
      return EXIT.OK;
  }
}
