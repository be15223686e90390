/**
 * One virtual machine on this computer, from its start to its end. It runs in this process, a few milliseconds at a time between other
 * events.
 *
 *     VM.create    disks, folders, image, network, name --> Machine (assemble.ts)
 *     start        the machine runs
 *     ready        the guest's agent answers, folders of this computer are mounted
 *     pause        it stands still, and so does its clock; resume
 *     fork         others go on from where it is (fork.ts)
 *     emigrate     it goes on in another process (departure.ts, arrival.ts)
 *     stop, kill   --> ended: everything is closed
 */

import {
  AGENT_PORT_NAME,
  AgentClient,
  type AgentCommand,
  AgentError,
  type AgentProcess,
  MachineRunner,
  Sequence,
  SnapshotError,
  type TakenSnapshot,
  type VirtioBalloon,
} from '@ringfence/core';
import type { FrameLink } from '../control/frames.ts';
import type {
  MachineEndReport,
  MigrationOutcome,
  OperationInput,
  VMMemoryUsage,
  VMStatus,
  VMUsage,
} from '../control/operations.ts';
import type { ServedVM } from '../control/server.ts';
import { copyFromGuest, copyIntoGuest, type CopyOptions } from '../copy/copy.ts';
import { hasEnded, HostError } from '../failure.ts';
import type { ConsoleViewer, GuestCalls } from '../guest/calls.ts';
import { type CommandOptions, type CommandResult, runCommand } from '../guest/run-command.ts';
import { nodeClock, nodeTurns } from '../machine/ports.ts';
import type { OpenStoredSnapshot, SnapshotStore, StoredRequest } from '../snapshot/snapshot-store.ts';
import { checkMovable } from '../migration/movable.ts';
import { ArrivingVM } from './arrival.ts';
import { limitsSaid } from './boot-limits.ts';
import { assemble, spokenBefore, type VMParts } from './assemble.ts';
import { assembleForks, type ForkOptions, forkNames } from './fork.ts';
import { Departure } from './departure.ts';
import { HeldAgentPort } from './held-agent-port.ts';
import { leaveBehind } from './left-behind.ts';
import { moveRestoredCard, optionsOfSnapshot, type VMRestoreOptions, withSnapshotRequest } from './restore-options.ts';
import { checkedPart, pagesAndIo, poolUsageOf } from './memory-usage.ts';
import { LivingForks } from './living-forks.ts';
import { disksOf, endedEarly, memoryOf, sharedUsageOf, statusOf, usageOf, type VMMemory } from './reports.ts';
import {
  type ProcessOptions,
  type StopOptions,
  STOP_TIMEOUT_MS,
  SYNC_TIMEOUT_MS,
  type VMEnd,
  type VMSnapshotOptions,
} from './lifecycle.ts';
import { VMProcessors } from './processors.ts';
import type { ParkedVM } from './parked.ts';
import { servedBy } from './served.ts';
import { type OptionNames, READY_TIMEOUT_MS, type VMOptions, vmSettings } from './options.ts';
import { runConsoleProgram } from '../guest/console-program.ts';
import { mountShares } from '../guest/mount-shares.ts';
import { identify, moveKeptCard, renewIdentity, takesFirst } from '../guest/renew-identity.ts';
import { syncGuest } from '../guest/sync-guest.ts';
import { checkWanted, together, unlessAborted, type WantedOptions } from './unless-aborted.ts';
import type { WarmProcess } from './warm-process.ts';

/** How long a guest that goes on may take to set its clock. */
const SET_TIME_TIMEOUT_MS = 2000;

export class VM implements AsyncDisposable {
  /** Settles when it has ended and everything of it is closed; rejects when Ringfence itself failed. */
  readonly ended: Promise<VMEnd>;
  /** The guest's agent, for what is not here. */
  readonly agent: AgentClient;
  readonly #parts: VMParts;
  readonly #runner: MachineRunner;
  readonly #startedAt = new Date();
  /** What it may have of this computer's processors. */
  readonly processors: VMProcessors;
  /** As `ended`, but that those who asked for it from outside may still wait for their answer. */
  readonly #finished: Promise<VMEnd>;
  #state: 'created' | 'running' | 'ended' = 'created';
  /** Pausing and resuming, one after the other. */
  readonly #stops = new Sequence();
  readonly #forks = new LivingForks<VM>();
  #forkPauseMs = 0;
  #isStopping = false;
  #departure: Departure | undefined;
  #isMoved = false;
  #readiness: Promise<void> | undefined;
  #isReady = false;
  #hasConsoleProgram = false;
  /** Resolves when the machine is kept for later ones, or will not be; undefined when it is not to be. */
  kept: Promise<unknown> | undefined;

  private constructor(parts: VMParts) {
    this.#parts = parts;
    const port = parts.machine.console?.ports.find(({ name }) => name === AGENT_PORT_NAME);
    if (port === undefined) throw new Error('the machine has no port for its agent');
    const turns = nodeTurns(parts.options.backlogs ?? []);
    this.#runner = new MachineRunner(parts.machine, turns);
    this.processors = new VMProcessors(parts, turns);
    const { start } = parts;
    const held = start.kind === 'keep' ? new HeldAgentPort(port) : undefined;
    const world = { clock: nodeClock, timers: turns, isPaused: () => this.#runner.isPaused };
    this.agent = new AgentClient(held ?? port, world, spokenBefore(parts));
    this.#finished = this.#untilFinished();
    this.ended = this.#untilAnswered();
    this.ended.catch(() => undefined);
    if (held !== undefined && start.kind === 'keep') {
      this.kept = start.boots.keep(start.key, held, parts, this.#runner);
    }
  }

  /** Makes a virtual machine and waits until it takes commands. Rejects with a HostError, and nothing is left of it. */
  static async start(options: VMOptions = {}): Promise<VM> {
    return (await VM.create(options)).#begin(options);
  }

  /** Lets it run until it takes commands; nothing is left of it when that fails. */
  async #begin(options: VMOptions): Promise<this> {
    try {
      this.start();
      await this.ready(options);
      return this;
    } catch (error) {
      await this.kill();
      throw error;
    }
  }

  /** Makes a virtual machine that does not run yet. `called` is what complaints call the options. */
  static create(wanted: VMOptions = {}, called?: OptionNames): Promise<VM> {
    return VM.#create(wanted, called);
  }

  static async #create(wanted: VMOptions, called?: OptionNames, restored?: OpenStoredSnapshot): Promise<VM> {
    const made = Promise.withResolvers<VM>();
    made.promise.catch(() => undefined);
    try {
      const vm = new VM(
        await assemble(
          wanted,
          vmSettings(wanted, called),
          servedBy(() => made.promise),
          restored,
        ),
      );
      made.resolve(vm);
      return vm;
    } catch (error) {
      made.reject(error);
      throw error;
    }
  }

  /**
   * Makes virtual machines that go on from where this one is, and run: they share its memory as long as neither writes to it. It stands still only for
   * a moment (`forkPauseMs`). Each takes commands when it is `ready`, as itself. Rejects with a HostError, and there are none.
   */
  async fork(options: ForkOptions = {}): Promise<VM[]> {
    const names = forkNames(options);
    await this.ready();
    await Promise.all([this.kept, this.#parts.whole]);
    return this.#stops.run(async () => {
      this.#checkRuns();
      const made = names.map(() => Promise.withResolvers<VM>());
      for (const { promise } of made) promise.catch(() => undefined);
      try {
        const served = made.map(({ promise }) => servedBy(() => promise));
        const { forks, pausedNs } = await assembleForks(this.#parts, this.agent, this.#runner, names, served);
        this.#forkPauseMs = pausedNs / 1e6;
        return forks.map((parts, index) => {
          const vm = new VM(parts);
          made[index]?.resolve(vm);
          this.#forks.keep(vm, vm.#forks);
          vm.start();
          return vm;
        });
      } catch (error) {
        for (const { reject } of made) reject(error);
        throw error;
      }
    });
  }

  /**
   * Takes a snapshot into a store: memory, devices, processors and disks as they are at one moment. The machine stands still only for that moment and
   * runs on while it is written; resolves when it is whole and durable. With `parent`, the name of an earlier snapshot of the store, only what
   * differs is written. Rejects with a HostError or a SnapshotError, and nothing is left of it then.
   */
  async snapshot(store: SnapshotStore, name: string, options: VMSnapshotOptions = {}): Promise<TakenSnapshot> {
    return this.#snapshotted(store, options, async (request) => ({
      rest: (await store.hold(name, request)).finished,
    }));
  }

  /** As `snapshot`, but that it is left to `finish` of the store to put it into its place: gives where it is. */
  writeSnapshot(
    store: SnapshotStore,
    name: string,
    options: VMSnapshotOptions = {},
  ): Promise<{ readonly taken: TakenSnapshot; readonly path: string }> {
    return this.#snapshotted(store, options, async (request) => ({
      rest: (await store.write(name, request)).written,
    }));
  }

  /** `begin` resolves when the guest goes on. */
  async #snapshotted<T>(
    store: SnapshotStore,
    options: VMSnapshotOptions,
    begin: (request: StoredRequest) => Promise<{ readonly rest: Promise<T> }>,
  ): Promise<T> {
    await this.ready();
    await Promise.all([this.kept, this.#parts.whole]);
    return withSnapshotRequest(this.#parts, this.#runner, store, options.parent, async (request) => {
      const { rest } = await this.#stops.run(() => {
        this.#checkRuns();
        return begin(request);
      });
      return rest;
    });
  }

  /**
   * Makes a virtual machine that goes on where a snapshot of a store was taken, and waits until it takes commands. It is like the one that the
   * snapshot is of; its name, ports, folders and commands are as `options` say. Its connections to the outside are lost, it knows what time it is,
   * and its kernel gets a new random seed. Rejects with a HostError or a SnapshotError, and nothing is left of it then.
   */
  static async restore(store: SnapshotStore, name: string, options: VMRestoreOptions = {}): Promise<VM> {
    return (await VM.createRestored(store, name, options)).#begin(options);
  }

  /** As `restore`; the machine does not run yet. */
  static async createRestored(
    store: SnapshotStore,
    name: string,
    options: VMRestoreOptions = {},
    { verify = true }: { readonly verify?: boolean } = {},
  ): Promise<VM> {
    const snapshot = store.open(name, { verify });
    try {
      const wanted = optionsOfSnapshot(snapshot, options);
      return await VM.#create(wanted, undefined, snapshot);
    } catch (error) {
      snapshot.close();
      throw error;
    }
  }

  /** Makes a virtual machine of what waits to become one; it does not run yet. Rejects with a HostError, and nothing is left of either. */
  static async ofParked(parked: ParkedVM, wanted: VMOptions): Promise<VM> {
    return new VM(await parked.become(wanted));
  }

  /** Makes what a virtual machine of another process comes to. Rejects with a HostError, and nothing is left of it. */
  static async arriving(wanted: VMOptions, warm?: WarmProcess, isWarm = warm !== undefined): Promise<ArrivingVM> {
    const made = Promise.withResolvers<VM>();
    const served = servedBy(() => made.promise);
    const parts = await assemble(wanted, vmSettings(wanted), served, 'arriving', warm);
    const make = (): VM => {
      const vm = new VM(parts);
      made.resolve(vm);
      return vm;
    };
    return new ArrivingVM(parts, make, isWarm);
  }

  /**
   * Moves it to whoever is at the other end of a connection, while it runs. Resolves when it runs there and has ended here; rejects with a HostError
   * when it goes on here.
   */
  async emigrate(options: OperationInput<'migrate'>, link: FrameLink): Promise<MigrationOutcome> {
    await Promise.all([this.kept, this.#parts.whole]);
    const outcome = await this.#stops.run(async () => {
      if (this.#state !== 'running') throw new HostError('ended', `the virtual machine "${this.name}" does not run`);
      checkMovable(this.name, this.forks.length);
      this.#departure = new Departure();
      try {
        const moved = await this.#departure.go(this.#parts, this.#runner, options, link);
        this.#isMoved = true;
        return moved;
      } finally {
        this.#departure = undefined;
      }
    });
    // It runs there, whatever goes wrong when what it has here is closed; how it ended says that.
    await Promise.allSettled([this.#runner.stop(), this.#finished]);
    return outcome;
  }

  /** Its end of a move that is under way. */
  get departure(): Departure {
    if (this.#departure === undefined)
      throw new HostError('wrong-state', `the virtual machine "${this.name}" does not move`);
    return this.#departure;
  }

  /** Its forks that have not ended, and theirs, also of those that have. */
  get forks(): VM[] {
    return this.#forks.all;
  }

  /** How long it stood still for its last forks, in milliseconds. */
  get forkPauseMs(): number {
    return this.#forkPauseMs;
  }

  get name(): string {
    return this.#parts.name;
  }

  /** Lets it be called so from now on; its guest does not hear of it. Throws a HostError of one that others reach by its name: that stays. */
  rename(name: string): void {
    if (this.#parts.control !== undefined)
      throw new HostError('unsupported', `the virtual machine "${this.name}" is reached by its name, which stays`);
    this.#parts.name = name;
  }

  /** What whoever reaches it from outside its process may ask. */
  get served(): ServedVM {
    return servedBy(() => Promise.resolve(this));
  }

  /** How it ended and what is known of it, when it has; everything of it is closed then. */
  async finished(): Promise<MachineEndReport> {
    try {
      const end = await this.#finished;
      if (this.#isMoved) return { kind: 'moved' };
      if (this.panic !== undefined) return { kind: 'panic', detail: this.panic };
      if (this.#isStopping && end.kind !== 'failure') return { kind: 'stopped' };
      return end.kind === 'failure' ? { kind: 'failure', detail: `exit code ${end.code}` } : { kind: end.kind };
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      return { kind: this.#isMoved ? 'moved' : 'failure', detail };
    }
  }

  /** What the user should know of its disks, and when it has ended of its capture. */
  get notes(): readonly string[] {
    return this.#parts.notes;
  }

  /** The kernel's last words, if it panicked. */
  get panic(): string | undefined {
    return this.#parts.serial.panic;
  }

  /** Why it has to boot, or had to; undefined when it goes on from a machine that was kept when it had booted, or is kept itself. */
  get bootReason(): string | undefined {
    const { start } = this.#parts;
    return start.kind === 'boot' ? start.reason : undefined;
  }

  /** Whether it goes on from a machine that was kept when it had booted. */
  get isResumed(): boolean {
    return this.#parts.start.kind === 'resume';
  }

  /** Whether it ends, or ended, because somebody called `stop`, here or in another process. */
  get isStopping(): boolean {
    return this.#isStopping;
  }

  /** Lets it run; `ready` tells when it takes commands. */
  start(): void {
    if (this.#state !== 'created') return;
    this.#state = 'running';
    // Devices of a fork have stood still since its parent did.
    if (this.#parts.arrive) this.#parts.machine.resume();
    this.#runner.start();
  }

  /** Resolves when the guest takes commands: its agent answers, and the folders of this computer are mounted. */
  async ready({ signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    if (this.#isReady) return;
    this.#readiness ??= this.#becomeReady();
    const early = this.#finished.then((end) => {
      throw endedEarly(this.name, end.kind, this.panic);
    });
    early.catch(() => undefined);
    // Who has ended has closed its agent before, and knows why.
    const ready = this.#readiness.catch((error: unknown) => (this.#state === 'ended' ? early : Promise.reject(error)));
    await unlessAborted(Promise.race([ready, early]), signal);
  }

  #checkRuns(): void {
    if (this.#state !== 'running') throw new HostError('ended', `the virtual machine "${this.name}" does not run`);
  }

  get isPaused(): boolean {
    return this.#runner.isPaused;
  }

  /**
   * Lets it stand still, in the middle of whatever it does: no time passes in it until `resume`, and nothing can be asked of its guest.
   * Resolves when its devices are quiet.
   */
  async pause(options: WantedOptions = {}): Promise<void> {
    await this.#stops.run(async () => {
      this.#checkRuns();
      await checkWanted(options);
      await this.#runner.pause();
      if (this.#runner.isPaused) this.#parts.clock.stop();
    });
  }

  /** Lets a paused machine go on. Its guest is told what time it is. */
  async resume(options: WantedOptions = {}): Promise<void> {
    await this.#stops.run(async () => {
      await checkWanted(options);
      if (!this.#runner.isPaused) return;
      this.#parts.clock.go();
      this.#runner.resume();
      // The guest's wall clock stood still with it. One that cannot be asked keeps its time.
      if (this.#isReady) await this.agent.setTime({ timeoutMs: SET_TIME_TIMEOUT_MS }).catch(() => undefined);
    });
  }

  /** Runs a command to its end and gives what it wrote, as text. A code other than 0 is an answer like any other. */
  async exec(argv: AgentCommand['argv'], options: CommandOptions = {}): Promise<CommandResult<string>> {
    const result = await this.execBytes(argv, options);
    const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
    return { ...result, stdout: text(result.stdout), stderr: text(result.stderr) };
  }

  /** As `exec`, with what it wrote as it is. */
  execBytes(argv: AgentCommand['argv'], options: CommandOptions = {}): Promise<CommandResult<Uint8Array>> {
    return runCommand({ exec: (command) => this.#exec(command) }, argv, options);
  }

  /** Starts a command; resolves when it runs. Its streams are to be read, or discarded. */
  spawn(argv: AgentCommand['argv'], options: ProcessOptions = {}): Promise<AgentProcess> {
    return this.#exec({ ...options, argv });
  }

  /** Copies a file or folder of this computer into the guest, to where `docker cp` would. */
  copyIn(hostPath: string, guestPath: string, options?: CopyOptions): Promise<void> {
    return this.asked(({ agent }) => copyIntoGuest(agent, hostPath, guestPath, options));
  }

  /** Copies a file or folder of the guest to this computer, to where `docker cp` would. */
  copyOut(guestPath: string, hostPath: string, options?: CopyOptions): Promise<void> {
    return this.asked(({ agent }) => copyFromGuest(agent, guestPath, hostPath, options));
  }

  /** Looks at the serial console, beside whoever else does. */
  console(): ConsoleViewer {
    const viewer = this.#parts.serial.open();
    const { consoleProgram } = this.#parts;
    if (consoleProgram !== undefined && this.#isReady && !this.#hasConsoleProgram)
      void this.#runConsoleProgram(consoleProgram);
    return viewer;
  }

  /**
   * Shuts the guest down as its power button would; when that takes longer than `timeoutMs`, lets it `sync` and ends the machine as it is.
   * Resolves when it has ended.
   */
  async stop({ timeoutMs = STOP_TIMEOUT_MS }: StopOptions = {}): Promise<'shutdown' | 'forced'> {
    this.#isStopping = true;
    // Who stands still cannot shut down.
    if (timeoutMs > 0) await this.resume();
    const { promise: late, resolve } = Promise.withResolvers<'late'>();
    const patience = setTimeout(() => resolve('late'), timeoutMs);
    try {
      const asked = timeoutMs > 0 ? this.agent.shutdown('poweroff', { timeoutMs }) : late;
      // A guest that cannot be asked may still end by itself in its time.
      asked.catch(() => undefined);
      if ((await Promise.race([this.#finished, late])) !== 'late') return 'shutdown';
    } finally {
      clearTimeout(patience);
    }
    if (timeoutMs > 0 && this.hasDurable) await this.sync();
    await this.#runner.stop();
    await this.#finished;
    return 'forced';
  }

  /**
   * Lets the guest write to its disks what it has not written yet: before its plug is pulled. Gives whether it has, within `timeoutMs`. A guest
   * that never took commands has nothing of anybody's.
   */
  async sync({ timeoutMs = SYNC_TIMEOUT_MS }: { readonly timeoutMs?: number } = {}): Promise<boolean> {
    if (!this.#isReady) return true;
    await this.resume();
    if (!this.agent.isReady) return false;
    return syncGuest(this.agent, timeoutMs);
  }

  /** Ends the machine as it is, like pulling its plug. Resolves when everything of it is closed. */
  async kill(): Promise<void> {
    await this.#runner.stop();
    await this.ended.catch(() => undefined);
  }

  /** Counters of the machine. */
  statistics(): Record<string, number> {
    return this.#parts.machine.statistics();
  }

  /**
   * Asks the guest to give so much of its memory back, in bytes; 0 lets it have all again. It does so in its own time, as far as it can; `memory`
   * says how far it is. Throws a HostError when the machine was made without `balloon`.
   */
  setBalloon(bytes: number): void {
    this.#balloon.setTarget(checkedPart(bytes, this.#parts.settings.memoryBytes));
  }

  /** Its memory as this computer sees it, and as the guest says, where it does (bytes). */
  memory(): Promise<VMMemory> {
    return memoryOf(this.#parts, () => this.#balloon);
  }

  get #balloon(): VirtioBalloon {
    const { balloon } = this.#parts.machine;
    if (balloon !== undefined) return balloon;
    throw new HostError('unsupported', `the virtual machine "${this.name}" was made without a balloon`);
  }

  /** What it takes of this computer. Counts the whole process, but for one that shares that with others. */
  usage(): VMUsage {
    const usage = { ...usageOf(this.statistics()), ...pagesAndIo(this.#parts) };
    if (this.#parts.options.sharesProcess !== true) return usage;
    const all = [this, ...this.forks].map((vm) => ({ parts: vm.#parts, threadMs: vm.processors.threadMs }));
    return { ...usage, ...sharedUsageOf(all) };
  }

  /** What has become of its memory, of one with a pool of its own; which is to have `poolBytes` from now on. */
  poolUsage(input: OperationInput<'memory'>): VMMemoryUsage {
    return poolUsageOf(this.#parts, input);
  }

  /** Which images its disks are made of. */
  get disks(): ReturnType<typeof disksOf> {
    return disksOf(this.#parts.openDisks);
  }

  status(): VMStatus {
    const state = this.isPaused ? 'paused' : this.isStopping ? 'stopping' : this.#isReady ? 'running' : 'booting';
    const status = statusOf(this.#parts, state, this.#startedAt, this.#isMoved ? 'moved' : this.#departure?.state);
    return { ...status, ...(this.#stops.isBusy ? { isChanging: true } : {}) };
  }

  /** A machine that has disks or folders to write to is shut down, any other one ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isReady && this.hasDurable) await this.stop();
    await this.kill();
  }

  /** Whether something that outlasts it may still have to be written when it ends. */
  get hasDurable(): boolean {
    const { disks, shares } = this.#parts.settings;
    return disks.some((disk) => !disk.readOnly && !disk.snapshot) || shares.some((share) => !share.readOnly);
  }

  #exec(command: AgentCommand): Promise<AgentProcess> {
    const { env, user, workdir } = this.#parts.options;
    const whole = {
      ...(user === undefined ? {} : { user }),
      ...(workdir === undefined ? {} : { workdir }),
      ...command,
      env: { ...env, ...command.env },
    };
    if (!this.#takesFirst) return this.asked(({ agent }) => agent.exec(whole));
    return together(this.ready(), () => this.asked(({ agent }) => agent.exec(whole), true));
  }

  /** Whether a command may go to the guest together with who it is: the agent does one thing after the other. */
  get #takesFirst(): boolean {
    if (!takesFirst(this.#parts)) return false;
    return this.#state === 'running' && !this.#isReady && !this.isPaused && this.agent.takesRequests;
  }

  /** Asks the guest when it is ready. */
  async asked<T>(ask: (vm: { readonly agent: GuestCalls }) => Promise<T>, isAtOnce = false): Promise<T> {
    if (!isAtOnce) await this.ready();
    if (this.isPaused)
      throw new HostError('wrong-state', `the virtual machine "${this.name}" is paused; resume it first`);
    try {
      return await ask(this);
    } catch (error) {
      if (error instanceof AgentError && this.#state === 'ended') throw hasEnded(this.name, error);
      throw error;
    }
  }

  async #becomeReady(): Promise<void> {
    const { readyTimeoutMs = READY_TIMEOUT_MS } = this.#parts.options;
    const { start } = this.#parts;
    // What an agent takes at once goes to it together with the greeting.
    const identified =
      this.agent.takesRequests && start.kind === 'resume' ? identify(this.agent, this.#parts) : undefined;
    identified?.catch(() => undefined);
    try {
      await this.agent.ready({ timeoutMs: readyTimeoutMs });
    } catch (error) {
      if (!(error instanceof AgentError) || error.code !== 'no-agent') throw error;
      throw new HostError(
        'timeout',
        `the guest of the virtual machine "${this.name}" did not take commands within ${readyTimeoutMs / 1000} s${limitsSaid(this.processors.settings, this.#parts.options.memoryLimit)}`,
        error,
      );
    }
    if (this.#parts.arrive) {
      await this.#parts.arrive(this.agent);
      this.#isReady = true;
      return;
    }
    // One that was kept, or goes on from one, has memory that others have as well.
    if (start.kind !== 'boot' && start.kind !== 'arrive')
      await Promise.all([identified ?? identify(this.agent, this.#parts), moveKeptCard(this.agent, this.#parts)]);
    await renewIdentity(this.agent, this.#parts);
    // What was mounted when a snapshot was taken still is.
    if (start.kind === 'restore')
      await moveRestoredCard(this.agent, this.name, start.snapshot.manifest, this.#parts.network);
    else if (start.kind !== 'arrive') await mountShares(this.agent, this.#parts.settings.shares);
    this.#isReady = true;
  }

  async #runConsoleProgram(argv: readonly string[]): Promise<void> {
    this.#hasConsoleProgram = true;
    await runConsoleProgram(this.agent, argv);
    // Whoever looks next gets another one.
    this.#hasConsoleProgram = false;
  }

  async #untilAnswered(): Promise<VMEnd> {
    try {
      return await this.#finished;
    } finally {
      await this.#parts.control?.close();
    }
  }

  async #untilFinished(): Promise<VMEnd> {
    let isBroken = false;
    try {
      const end = await this.#runner.ended;
      return end.kind === 'stopped' ? { kind: 'killed' } : end;
    } catch (error) {
      isBroken = error instanceof SnapshotError;
      throw error;
    } finally {
      this.#state = 'ended';
      await this.#runner.stop();
      this.agent.close();
      this.#parts.serial.close();
      await this.kept;
      await leaveBehind(this.#parts, isBroken);
      await this.#parts.close();
    }
  }
}
