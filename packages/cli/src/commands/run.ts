/**
 * `ringfence run`: a disposable virtual machine, and one command or a shell in it.
 *
 *     stdin, keys --> the command's input     its stdout, stderr --> stdout, stderr; with a terminal both are one
 *                     serial line --> stderr with --verbose
 */

import process from 'node:process';
import { AgentError, type AgentProcess } from '@ringfence/core';
import { HostError, imageNamed, imageNames, systemReason, VM, type VMEnd, type VMOptions } from '@ringfence/host';
import { EXIT, exitCodeOfSignal, SIGPIPE, SIGTERM } from '../exit-codes.ts';
import { CliError } from '../failure.ts';
import { readText } from '../node/files.ts';
import { listenForSignals, type Interruption } from '../node/interruption.ts';
import { drainAll, Output } from '../node/output.ts';
import { takeTerminal, type Terminal } from '../node/terminal.ts';
import { packageNames } from '../package-names.ts';
import { exitCodeOf, giveInput, programFailure, takeOutput, TypedInput } from '../process-streams.ts';
import { statisticsReport } from '../statistics.ts';
import { Supervision, type End } from '../supervision.ts';
import { variables } from '../variables.ts';
import { type LimitOptions, machineLimits, type MachineLimits } from './machine-limits.ts';
import { processorOptions } from './processor-options.ts';
import { withProgress } from './pull-progress.ts';
import { troubleLog } from '../trouble-log.ts';
import { say } from './say.ts';

export interface RunOptions extends LimitOptions {
  readonly name?: string | undefined;
  readonly cpus?: string | undefined;
  readonly cpuShares?: string | undefined;
  readonly cpuReservation?: string | undefined;
  readonly cpuLimit?: string | undefined;
  readonly cpuBucket?: string | undefined;
  readonly forkable?: boolean | undefined;
  readonly env: readonly string[];
  readonly user?: string | undefined;
  readonly workdir?: string | undefined;
  readonly net: string;
  readonly publish: readonly string[];
  readonly capture?: string | undefined;
  readonly disk: readonly string[];
  readonly share: readonly string[];
  readonly append?: string | undefined;
  readonly suite?: string | undefined;
  readonly mirror?: string | undefined;
  readonly packages?: string | undefined;
  readonly userData?: string | undefined;
  readonly metaData?: string | undefined;
  readonly networkConfig?: string | undefined;
  readonly verbose?: boolean | undefined;
  /** False: it boots, and nothing of it is kept. */
  readonly snapshot?: boolean | undefined;
}

/** What complaints call the options. */
const CALLED = {
  cpus: '--cpus',
  memory: '--memory',
  disks: '--disk',
  network: '--net',
  publish: '--publish',
  capture: '--capture',
  shares: '--share',
  env: '--env',
  workdir: '--workdir',
} as const;

/** How long a guest that has something to write may take to shut down when its command has ended, in milliseconds. */
const SHUTDOWN_PATIENCE_MS = 60_000;

/** How long an agent that went away may have gone with its machine, in milliseconds. */
const LOST_PATIENCE_MS = 2000;

/** Runs the command, or a shell when it is empty; gives the exit code of this process. */
export async function run(image: string, command: readonly string[], options: RunOptions): Promise<number> {
  if (!imageNames().includes(image)) {
    const images = imageNames().join(' and ');
    throw new CliError(
      `there is no image "${image}", only ${images}; a command comes after two dashes: ringfence run -- ${image}`,
      EXIT.NO_MACHINE,
    );
  }
  const limits = machineLimits(options);
  const interruption = listenForSignals();
  try {
    const session = new RunSession(image, command, options, limits, interruption);
    return await session.run();
  } catch (error) {
    if (interruption.number === undefined) throw error;
    if (error instanceof Error && error.name === 'ImageError') say(error.message);
    return exitCodeOfSignal(interruption.number);
  }
}

class RunSession {
  readonly #options: RunOptions;
  readonly #limits: MachineLimits;
  readonly #interruption: Interruption;
  readonly #isInteractive: boolean;
  readonly #image: string;
  readonly #argv: readonly string[];
  readonly #stdout = new Output(process.stdout);
  readonly #stderr = new Output(process.stderr);
  readonly #keys = new TypedInput();
  #size = { columns: 80, rows: 24 };
  #program: AgentProcess | undefined;

  constructor(
    image: string,
    command: readonly string[],
    options: RunOptions,
    limits: MachineLimits,
    interruption: Interruption,
  ) {
    this.#image = image;
    this.#options = options;
    this.#limits = limits;
    this.#interruption = interruption;
    // A terminal has one stream for everything; a command whose output goes elsewhere keeps its streams apart.
    const isTerminal = process.stdin.isTTY && process.stdout.isTTY;
    this.#isInteractive = isTerminal && (command.length === 0 || process.stderr.isTTY);
    // Without a terminal the shell reads its commands from stdin.
    const shell = this.#isInteractive ? imageNamed(image).shell : ['sh'];
    this.#argv = command.length === 0 ? shell : command;
  }

  async run(): Promise<number> {
    const vm = await withProgress((onProgress) => VM.create({ ...this.#vmOptions(), onProgress }, CALLED));
    for (const note of vm.notes) say(note);
    if (vm.bootReason !== undefined && (this.#options.verbose === true || this.#options.stats === true))
      say(`it boots instead of going on from a snapshot: ${vm.bootReason}`);
    const told = vm.notes.length;
    const supervision = new Supervision(this.#limits.timeoutMs, this.#interruption);
    this.#stdout.onBroken = (reason) => supervision.end({ kind: 'output', reason });
    const hint = new BootHint(this.#isInteractive && this.#options.verbose !== true && process.stderr.isTTY);
    const terminal = this.#isInteractive ? this.#giveTerminal(supervision) : undefined;
    const startedAt = performance.now();
    let end: End;
    try {
      vm.start();
      const ended = vm.ended.then((how) => this.#endOf(vm, how));
      end = await Promise.race([this.#command(vm, hint), ended, supervision.asked]);
      if (end.kind === 'exit' && vm.isStopping) await vm.ended;
      // What is not written yet has to be.
      else if (end.kind === 'exit' && vm.hasDurable) await this.#shutDown(vm, supervision);
      else if (isFromOutside(end) && vm.hasDurable) await this.#cutOff(vm);
      else await vm.kill();
      await this.#untilForksEnded(vm, end);
      const isForced = end.kind === 'timeout' || end.kind === 'signal' || end.kind === 'quit';
      await drainAll([this.#stdout, this.#stderr], isForced, this.#interruption.signal);
      if (this.#stdout.failure !== undefined) end = { kind: 'output', reason: this.#stdout.failure };
    } finally {
      supervision.close();
      hint.clear();
      terminal?.restore();
      await vm.kill();
    }
    for (const note of vm.notes.slice(told)) say(note);
    const code = this.#report(end, vm);
    process.stderr.write(statisticsReport(vm, performance.now() - startedAt, this.#options));
    return code;
  }

  /** Forks are machines of this process: it lives as long as they do, unless it was told to end. */
  async #untilForksEnded(vm: VM, end: End): Promise<void> {
    for (let { forks } = vm; forks.length > 0; { forks } = vm) {
      if (end.kind === 'signal' || this.#interruption.signal.aborted) {
        await Promise.all(forks.map((fork) => fork.kill()));
        continue;
      }
      say(`forks of "${vm.name}" go on: ${forks.map(({ name }) => name).join(', ')}`);
      const { promise: interrupted, resolve } = Promise.withResolvers<void>();
      this.#interruption.signal.addEventListener('abort', () => resolve(), { once: true });
      await Promise.race([interrupted, Promise.allSettled(forks.map(({ ended }) => ended))]);
    }
  }

  /** Of a machine that has something to write: as its power button would, unless somebody does not want to wait for that. */
  async #shutDown(vm: VM, supervision: Supervision): Promise<void> {
    const how = await Promise.race([vm.stop({ timeoutMs: SHUTDOWN_PATIENCE_MS }), supervision.asked]);
    if (how === 'shutdown') return;
    if (how !== 'forced') return this.#cutOff(vm);
    say(
      `the guest did not shut down within ${SHUTDOWN_PATIENCE_MS / 1000} s and was ended as it was; what it wrote last may be missing on its disks`,
    );
  }

  /** Of a machine that has something to write: at once, but for that. */
  async #cutOff(vm: VM): Promise<void> {
    const isWritten = await vm.sync();
    await vm.kill();
    if (!isWritten)
      say(
        'the guest did not write everything to its disks before it was ended; what it wrote last may be missing there',
      );
  }

  #vmOptions(): VMOptions {
    const {
      name,
      cpus,
      env,
      user,
      workdir,
      net,
      publish,
      capture,
      disk,
      share,
      append,
      suite,
      mirror,
      memory,
      packages,
      userData,
      metaData,
      networkConfig,
    } = this.#options;
    const isVerbose = this.#options.verbose === true;
    return {
      image: this.#image,
      suite,
      mirror,
      packages: packageNames(packages),
      ...(userData === undefined ? {} : { userData: readText(userData, 'User data') }),
      ...(metaData === undefined ? {} : { metaData: readText(metaData, 'Meta-data') }),
      ...(networkConfig === undefined ? {} : { networkConfig: readText(networkConfig, 'Network-config') }),
      signal: this.#interruption.signal,
      ...(name === undefined ? {} : { name }),
      ...(cpus === undefined ? {} : { cpus: Number(cpus) }),
      ...processorOptions(this.#options),
      forkable: this.#options.forkable === true,
      ...(memory === undefined ? {} : { memory }),
      ...this.#limits.engine,
      env: variables(env, process.env),
      ...(user === undefined ? {} : { user }),
      ...(workdir === undefined ? {} : { workdir }),
      network: net,
      publish,
      ...(capture === undefined ? {} : { capture }),
      disks: disk,
      shares: share,
      kernelArguments: [...(isVerbose ? [] : ['quiet']), ...(append?.trim().split(/\s+/) ?? [])],
      command: this.#argv,
      keptBoot: this.#options.snapshot !== false,
      log: isVerbose ? { log: (_level, area, message) => say(`${area}: ${message}`) } : troubleLog(say, ['error']),
      ...(isVerbose
        ? {
            onSerial: (bytes: Uint8Array) => this.#stderr.write(bytes),
            backlogs: [this.#stderr],
          }
        : {}),
    };
  }

  /** Runs the command when the guest is ready, to its end. */
  async #command(vm: VM, hint: BootHint): Promise<End> {
    try {
      const ready = this.#ready(vm);
      const { TERM: term } = process.env;
      // It goes to a guest that was kept together with the greeting.
      const begun = vm.spawn(
        this.#argv,
        this.#isInteractive ? { terminal: { ...this.#size, ...(term === undefined ? {} : { term }) } } : {},
      );
      begun.catch(() => undefined);
      await ready;
      hint.clear();
      const program = await begun;
      this.#program = program;
      if (this.#isInteractive) this.#keys.connect(program.stdin);
      else
        giveInput(process.stdin, program.stdin).catch((error: unknown) =>
          say(`stdin cannot be read: ${systemReason(error)}`),
        );
      const [exit] = await Promise.all([
        program.exited,
        takeOutput(program.stdout, this.#stdout),
        takeOutput(program.stderr, this.#stderr),
      ]);
      return { kind: 'exit', code: exitCodeOf(exit) };
    } catch (error) {
      return this.#commandFailed(vm, error);
    }
  }

  async #ready(vm: VM): Promise<void> {
    try {
      await vm.ready();
    } catch (error) {
      if (!(error instanceof HostError) || error.code === 'ended') throw error;
      // What the guest says of it is worth a look.
      if (this.#options.verbose === true && error.cause instanceof Error) say(error.cause.message);
      throw new CliError(`${error.message}; --verbose shows the guest's messages`, EXIT.NO_MACHINE, error);
    }
  }

  async #commandFailed(vm: VM, error: unknown): Promise<End> {
    const failure = programFailure(error, this.#argv[0] ?? '');
    if (failure !== undefined) {
      this.#stderr.write(Buffer.from(failure.text));
      return { kind: 'exit', code: failure.code };
    }
    const isEnd =
      (error instanceof HostError && error.code === 'ended') ||
      (error instanceof AgentError && (error.code === 'lost' || error.code === 'closed'));
    if (!isEnd) throw error;
    if (vm.isStopping) return this.#endOf(vm, await vm.ended);
    // Most of the time the agent went with its machine, whose end says more.
    const { promise: patience, resolve } = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => resolve(undefined), LOST_PATIENCE_MS);
    const end = await Promise.race([vm.ended, patience]);
    clearTimeout(timer);
    if (end === undefined) throw error;
    return this.#endOf(vm, end);
  }

  #endOf(vm: VM, end: VMEnd): End {
    return vm.isStopping || end.kind === 'killed' ? { kind: 'stopped' } : end;
  }

  #giveTerminal(supervision: Supervision): Terminal {
    return takeTerminal(process.stdin, process.stdout, {
      keys: (bytes) => this.#keys.push(bytes),
      quit: () => supervision.end({ kind: 'quit' }),
      resized: (columns, rows) => {
        this.#size = { columns, rows };
        this.#program?.resize(columns, rows);
      },
    });
  }

  /** Says why it ended, where that needs words, and gives the exit code. */
  #report(end: End, vm: VM): number {
    switch (end.kind) {
      case 'exit':
        return end.code;
      case 'timeout':
        say(`the virtual machine was ended after ${this.#options.timeout}, as --timeout says`);
        return EXIT.TIMEOUT;
      case 'signal':
        return exitCodeOfSignal(end.number);
      case 'quit':
        process.stderr.write('\n');
        say('the virtual machine was ended with Ctrl-A X');
        return EXIT.OK;
      case 'stopped':
        say('the virtual machine was stopped from outside');
        return exitCodeOfSignal(SIGTERM);
      case 'output':
        if (end.reason === undefined) return exitCodeOfSignal(SIGPIPE);
        say(`stdout cannot be written: ${end.reason}`);
        return EXIT.NO_MACHINE;
      case 'poweroff':
        if (this.#isInteractive) return EXIT.OK;
        return this.#endedWithoutReport('switched itself off', vm);
      case 'reboot':
        return this.#endedWithoutReport('restarted, which ends a disposable one,', vm);
      case 'failure':
        return this.#endedWithoutReport(`failed with code ${end.code}`, vm);
    }
  }

  #endedWithoutReport(how: string, { panic }: VM): number {
    if (panic !== undefined) {
      if (this.#options.verbose !== true) process.stderr.write(`${panic}\n`);
      say(
        "the guest's kernel panicked, see above; more memory (--memory) may help, and --verbose shows all its messages",
      );
    } else say(`the virtual machine ${how} before its command had ended; --verbose shows the guest's messages`);
    return EXIT.NO_MACHINE;
  }
}

/** Whether somebody else than the guest wanted the end. */
function isFromOutside({ kind }: End): boolean {
  return kind === 'timeout' || kind === 'signal' || kind === 'quit' || kind === 'output';
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
