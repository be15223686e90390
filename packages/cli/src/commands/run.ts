/**
 * `ringfence run`: a disposable virtual machine with the image `tiny`, and one command or a shell in it.
 *
 *     stdin --> ringfence.stdin     ringfence.stdout --> stdout     ringfence.stderr --> stderr      (a command)
 *     keys  --> console             console          --> stdout                                      (interactive)
 *                                   serial line      --> stderr with --verbose, else kept for a panic
 */

import process from 'node:process';
import { Machine, type MachineOptions } from '@ringfence/core';
import {
  type MachineNetwork,
  mountedShares,
  type NetworkSettings,
  nodeClock,
  nodeDecompressor,
  nodeEntropy,
  nodeTurns,
  openDisks,
  openNetwork,
  openShares,
  parseDiskSpec,
  parseNetwork,
  SerialOutput,
  type ShareWords,
  systemReason,
  ThreadedCompiler,
} from '@ringfence/host';
import { loadTiny, type LoadedTiny } from '@ringfence/images';
import { commandArchive, feed, GUEST_PORTS, GuestSession, SerialTail, TypeAhead } from '@ringfence/images/guest';
import { EXIT, exitCodeOfSignal, SIGPIPE } from '../exit-codes.ts';
import { CliError } from '../failure.ts';
import { listenForSignals, type Interruption } from '../node/interruption.ts';
import { drainAll, Output } from '../node/output.ts';
import { takeTerminal, type Terminal } from '../node/terminal.ts';
import { statisticsReport } from '../statistics.ts';
import { Supervision, type End } from '../supervision.ts';
import { machineLimits, type LimitOptions, type MachineLimits } from './machine-limits.ts';
import { withProgress } from './pull-progress.ts';
import { say } from './say.ts';

export interface RunOptions extends LimitOptions {
  readonly net: string;
  readonly publish: readonly string[];
  readonly capture?: string | undefined;
  readonly disk: readonly string[];
  readonly share: readonly string[];
  readonly append?: string | undefined;
  readonly suite?: string | undefined;
  readonly mirror?: string | undefined;
  readonly verbose?: boolean | undefined;
}

const IMAGE = 'tiny';

const shareTag = (index: number): string => `ringfence.share${index}`;

/** Runs the command, or a shell when it is empty; gives the exit code of this process. */
export async function run(image: string, command: readonly string[], options: RunOptions): Promise<number> {
  if (image !== IMAGE) {
    throw new CliError(
      `there is no image "${image}", only ${IMAGE}; a command comes after two dashes: ringfence run -- ${image}`,
      EXIT.NO_MACHINE,
    );
  }
  const limits = machineLimits(options);
  const network = parseNetwork(options, { net: '--net', publish: '--publish', capture: '--capture' });
  const shares = mountedShares(options.share, '--share');
  const interruption = listenForSignals();
  try {
    return await runTiny(command, options, limits, network, shares, interruption);
  } catch (error) {
    if (interruption.number === undefined) throw error;
    if (error instanceof Error && error.name === 'ImageError') say(error.message);
    return exitCodeOfSignal(interruption.number);
  }
}

async function runTiny(
  command: readonly string[],
  options: RunOptions,
  limits: MachineLimits,
  networkSettings: NetworkSettings,
  shares: readonly ShareWords[],
  interruption: Interruption,
): Promise<number> {
  await using opened = new AsyncDisposableStack();
  const folders = await openShares(shares, (_share, index) => shareTag(index));
  opened.defer(() => folders.close());
  const disks = await openDisks(options.disk.map((text) => parseDiskSpec(text, '--disk')));
  opened.defer(() => disks.close());
  for (const note of disks.notes) say(note);
  const { suite, mirror } = options;
  const image = await withProgress((onProgress) =>
    loadTiny({ suite, mirror, signal: interruption.signal, onProgress }),
  );
  const network = await openNetwork(networkSettings, IMAGE);
  opened.defer(async () => {
    const note = await network.close();
    if (note !== undefined) say(note);
  });
  const guest = new TinyGuest(command, options, shares, interruption);
  const machine = await Machine.create({
    ...guest.payloads(image, network),
    ...guest.ports,
    ...limits.engine,
    compiler: new ThreadedCompiler(),
    memoryBytes: limits.memoryBytes,
    disks: disks.disks,
    networkCards: network.cards,
    shares: folders.shares,
    // A disposable machine is never reset: its kernel need not stay in memory twice.
    discardPayloads: true,
  });
  return await guest.run(machine, limits.timeoutMs);
}

type Payloads = Pick<MachineOptions, 'firmware' | 'kernel' | 'initrd' | 'bootArguments' | 'decompressor'>;

class TinyGuest {
  readonly ports: Pick<MachineOptions, 'clock' | 'entropy' | 'serialOutput' | 'consolePorts' | 'log'>;
  readonly #options: RunOptions;
  readonly #interruption: Interruption;
  readonly #isInteractive: boolean;
  readonly #argv: readonly string[];
  readonly #shares: readonly ShareWords[];
  readonly #stdout = new Output(process.stdout);
  readonly #stderr = new Output(process.stderr);
  readonly #serial: SerialOutput;
  readonly #tail = new SerialTail();

  constructor(
    command: readonly string[],
    options: RunOptions,
    shares: readonly ShareWords[],
    interruption: Interruption,
  ) {
    this.#options = options;
    this.#shares = shares;
    this.#interruption = interruption;
    // A terminal has one stream for everything; a command whose output goes elsewhere keeps its streams apart.
    const isTerminal = process.stdin.isTTY && process.stdout.isTTY;
    this.#isInteractive = isTerminal && (command.length === 0 || process.stderr.isTTY);
    // Without a terminal the shell reads its commands from stdin.
    this.#argv = command.length === 0 && !this.#isInteractive ? ['sh'] : command;
    this.#serial = new SerialOutput((bytes) => {
      this.#tail.write(bytes);
      if (options.verbose === true) this.#stderr.write(bytes);
    });
    this.ports = {
      clock: nodeClock,
      entropy: nodeEntropy,
      serialOutput: this.#serial,
      consolePorts: GUEST_PORTS,
      log: { log: (_level, area, message) => options.verbose === true && say(`${area}: ${message}`) },
    };
  }

  payloads(
    { kernelPath, kernel, initrdPath, initrd, kernelParameters }: LoadedTiny,
    { settings: network }: MachineNetwork,
  ): Payloads {
    const { TERM: terminal } = process.env;
    const env = this.#isInteractive && terminal !== undefined ? { TERM: terminal } : {};
    const shares = this.#shares.map(({ guest, readOnly }, index) => ({ tag: shareTag(index), path: guest, readOnly }));
    const command = commandArchive({
      argv: this.#argv,
      interactive: this.#isInteractive,
      env,
      shares,
      ...(network && { network }),
    });
    const words = ['console=ttyS0', 'panic=-1', ...(this.#options.verbose === true ? [] : ['quiet'])];
    return {
      firmware: 'own',
      kernel: { kind: 'kernel', name: kernelPath, bytes: kernel },
      initrd: { kind: 'initrd', name: initrdPath, bytes: Buffer.concat([initrd, command]) },
      bootArguments: [...words, ...kernelParameters, ...(this.#options.append?.trim().split(/\s+/) ?? [])].join(' '),
      decompressor: nodeDecompressor,
    };
  }

  async run(machine: Machine, timeoutMs: number | undefined): Promise<number> {
    const supervision = new Supervision(timeoutMs, this.#interruption);
    this.#stdout.onBroken = (reason) => supervision.end({ kind: 'output', reason });
    const hint = new BootHint(this.#isInteractive && this.#options.verbose !== true && process.stderr.isTTY);
    const session = new GuestSession(
      machine.console?.ports ?? [],
      { terminal: this.#stdout, stdout: this.#stdout, stderr: this.#stderr },
      {
        ready: () => hint.clear(),
        exit: (code) => supervision.end({ kind: 'exit', code }),
        unshared: (index) => supervision.end({ kind: 'unshared', index }),
      },
    );
    const terminal = this.#isInteractive ? this.#giveTerminal(machine, session, supervision) : undefined;
    if (!this.#isInteractive) feedStdin(session);
    const startedAt = performance.now();
    let end: End;
    try {
      end = await supervision.run(machine, nodeTurns(this.#options.verbose === true ? [this.#stderr] : []));
      session.takeRest();
      this.#serial.flush();
      const isForced = end.kind === 'timeout' || end.kind === 'signal' || end.kind === 'quit';
      await drainAll([this.#stdout, this.#stderr], isForced, this.#interruption.signal);
      if (this.#stdout.failure !== undefined) end = { kind: 'output', reason: this.#stdout.failure };
    } finally {
      supervision.close();
      hint.clear();
      terminal?.restore();
    }
    const code = this.#report(end);
    process.stderr.write(statisticsReport(machine, performance.now() - startedAt, this.#options));
    return code;
  }

  #giveTerminal(machine: Machine, session: GuestSession, supervision: Supervision): Terminal {
    const typeAhead = new TypeAhead(session.terminal);
    return takeTerminal(process.stdin, process.stdout, {
      keys: (bytes) => typeAhead.push(bytes),
      quit: () => supervision.end({ kind: 'quit' }),
      resized: (columns, rows) => machine.console?.ports[0]?.resize(columns, rows),
    });
  }

  /** Says why it ended, where that needs words, and gives the exit code. */
  #report(end: End): number {
    switch (end.kind) {
      case 'exit':
        return end.code;
      case 'unshared': {
        const share = this.#shares[end.index];
        say(
          `the folder "${share?.host}" could not be mounted at "${share?.guest}" in the guest; --verbose shows the guest's messages`,
        );
        return EXIT.NO_MACHINE;
      }
      case 'timeout':
        say(`the virtual machine was ended after ${this.#options.timeout}, as --timeout says`);
        return EXIT.TIMEOUT;
      case 'signal':
        return exitCodeOfSignal(end.number);
      case 'quit':
        process.stderr.write('\n');
        say('the virtual machine was ended with Ctrl-A X');
        return EXIT.OK;
      case 'output':
        if (end.reason === undefined) return exitCodeOfSignal(SIGPIPE);
        say(`stdout cannot be written: ${end.reason}`);
        return EXIT.NO_MACHINE;
      case 'poweroff':
        if (this.#isInteractive) return EXIT.OK;
        return this.#endedWithoutReport('switched itself off');
      case 'reboot':
        return this.#endedWithoutReport('restarted, which ends a disposable one,');
      case 'failure':
        return this.#endedWithoutReport(`failed with code ${end.code}`);
    }
  }

  #endedWithoutReport(how: string): number {
    const { panic } = this.#tail;
    if (panic !== undefined) {
      if (this.#options.verbose !== true) process.stderr.write(`${panic}\n`);
      say(
        "the guest's kernel panicked, see above; more memory (--memory) may help, and --verbose shows all its messages",
      );
    } else say(`the virtual machine ${how} before its command had ended; --verbose shows the guest's messages`);
    return EXIT.NO_MACHINE;
  }
}

function feedStdin(session: GuestSession): void {
  feed(session.stdin, process.stdin).catch((error: unknown) => say(`stdin cannot be read: ${systemReason(error)}`));
}

/** A line for the seconds until the shell is there. */
class BootHint {
  #isShown: boolean;

  constructor(isWanted: boolean) {
    this.#isShown = isWanted;
    if (isWanted) process.stderr.write('Starting a virtual machine; Ctrl-A X ends it ...');
  }

  clear(): void {
    if (this.#isShown) process.stderr.write('\r\u001b[K');
    this.#isShown = false;
  }
}
