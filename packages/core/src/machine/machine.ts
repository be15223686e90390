/**
 * The computer: QEMU's `virt` platform assembled from its parts (memory-map.ts says where each is), and the loop that runs it.
 *
 *     harts ── engine ──┬── RAM, boot ROM (frames of the domain)
 *                       └── bus ──┬── CLINT, PLIC, UART, RTC, test device
 *                                 ├── virtio-mmio slots ── virtio: disks that are to be there
 *                                 └── PCIe host bridge ── virtio: entropy, console, disks, network cards, shared folders
 *
 * `run` executes for a while and says whether there is more to do; it never waits. Who drives it (vm/runner.ts) sleeps and wakes.
 */

import { assert, defined } from '../base/assert.ts';
import { PAGE_SIZE, guestPhysical } from '../base/numbers.ts';
import { type Saved, SavedReader } from '../base/saved.ts';
import { Domain, codePagesOf } from '../engine/domain.ts';
import { Engine, type EngineSurroundings } from '../engine/engine.ts';
import type { Guest, Region } from '../engine/guest.ts';
import { type Hart as EngineHart, hartCounters } from '../engine/hart.ts';
import { EXIT } from '../engine/interpreter.ts';
import { HART, MAX_PCPUS } from '../engine/layout.ts';
import { Mswi, Mtimer, clintNode } from './aclint.ts';
import { Allowance, hostNs } from './allowance.ts';
import { Bus } from './bus.ts';
import { type Device, type MmioDevice, type TimedDevice, type TreeNode, pollDevices } from './device.ts';
import type { Ending } from './ending.ts';
import { type InitrdRange, isaExtensions, machineTree } from './fdt/machine-tree.ts';
import { flattenTree } from './fdt/write.ts';
import { GuestPages } from './guest-pages.ts';
import { GoldfishRtc, goldfishRtcNode } from './goldfish-rtc.ts';
import { MachineHart } from './hart.ts';
import { Htif, savedHtif } from './htif.ts';
import { type MailHandlers, addressOf } from './mailbox.ts';
import { ProcessorMeter } from './processor-meter.ts';
import { PcpuThreads, allowanceCells } from './pcpu-threads.ts';
import { type BootPlan, type HtifSymbols, prepareBoot } from './loader/boot-plan.ts';
import { MachineImage } from './machine-image.ts';
import { unwrapped } from './loader/compressed-kernel.ts';
import { type Payload, discardPayload } from './loader/payload.ts';
import { IRQ, MEMORY_MAP, MSWI_PLACEMENT, MTIMER_PLACEMENT, dramPlacement } from './memory-map.ts';
import { Plic, plicNode } from './plic.ts';
import { Ram } from './ram.ts';
import { OWN_IDENTITY } from './sbi/base.ts';
import { Sbi } from './sbi/sbi.ts';
import { SifiveTest, sifiveTestNode } from './sifive-test.ts';
import { Uart16550, uartNode } from './uart16550.ts';
import {
  type MachineOptions,
  MAXIMUM_HARTS,
  MAXIMUM_MEMORY_BYTES,
  MINIMUM_MEMORY_BYTES,
  type Progress,
} from './options.ts';
import { startHarts } from './supervisor-start.ts';
import { SLICE_NS, Slices } from './slices.ts';
import { StealTime } from './steal-time.ts';
import { pollSupervisorTimers } from './supervisor-timers.ts';
import { Timebase } from './timebase.ts';
import { Turns } from './turns.ts';
import { virtioDevices } from './virtio-devices.ts';
import { VirtioBalloon } from './virtio/balloon.ts';
import { VirtioConsole } from './virtio/console.ts';

/** Milliseconds that the machine waits for its threads at a time, while they ask for much. */
const LOOK_MS = 0.05;
/** Nanoseconds that a machine waits for memory before it asks again. */
const MEMORY_WAIT_NS = 20e6;
/** Nanoseconds between two looks at HTIF, where nothing tells of a write. */
const HTIF_LOOK_NS = 1e6;

/** Counts up when a device saves its state in another form. */
const STATE_REVISION = 1;

export class Machine {
  readonly memoryBytes: number;
  readonly ram: Ram;
  /** Memory as a snapshot sees it. */
  readonly pages: GuestPages;
  readonly serial: Uart16550;
  readonly console: VirtioConsole | undefined;
  readonly balloon: VirtioBalloon | undefined;
  /** How much of the host's processors it may use. */
  readonly allowance: Allowance;
  /** Called when something happened while the machine was idle: it wants to run. */
  onWake: (() => void) | undefined;
  readonly #options: MachineOptions;
  readonly #domain: Domain;
  /** Its memory. */
  readonly guest: Guest;
  readonly #bus = new Bus();
  readonly #devices: Device[] = [];
  readonly #timed: Pick<TimedDevice, 'poll' | 'dueInNs'>[] = [];
  readonly #nodes: TreeNode[] = [];
  readonly #engine: Engine;
  readonly #harts: readonly MachineHart[];
  readonly #ids: readonly number[];
  readonly #turns: Turns;
  readonly #steal: StealTime;
  readonly #meter: ProcessorMeter;
  readonly #isReady = (hart: number): boolean => this.#harts[hart]?.runState === 'running';
  readonly #sbi: Sbi;
  readonly #kernel: Payload | undefined;
  readonly #timebase: Timebase;
  readonly #mtimer: Mtimer;
  #slices = new Slices();
  readonly #threads: PcpuThreads | undefined;
  /** When the present `run` is over. */
  #turnEndsNs = 0;
  #plan: BootPlan | undefined;
  #htif: Htif | undefined;
  #ending: Ending | undefined;
  /** What a device failed with while nobody executed anything. */
  #failure: { readonly error: unknown } | undefined;
  #isClosed = false;
  /** What was counted before the state was restored. */
  #atRestore: Readonly<Record<string, number>> = {};

  /** Builds the machine and loads what it boots. Rejects with a LoadError when that cannot be loaded. */
  static async create(options: MachineOptions): Promise<Machine> {
    const { memoryBytes, harts = 1 } = options;
    assert(Number.isInteger(harts) && harts >= 1 && harts <= MAXIMUM_HARTS, `${harts} is no number of harts`);
    assert(
      memoryBytes % PAGE_SIZE === 0 && memoryBytes >= MINIMUM_MEMORY_BYTES && memoryBytes <= MAXIMUM_MEMORY_BYTES,
      `${memoryBytes} is no memory size`,
    );
    const kernel = options.kernel && (await unwrapped(options.kernel, options.decompressor));
    const ram = dramPlacement(memoryBytes);
    const { bootRom } = MEMORY_MAP;
    const regions = [
      { base: ram.base, sizeBytes: ram.sizeBytes, writable: true },
      { base: bootRom.base, sizeBytes: bootRom.sizeBytes, writable: false },
    ];
    if (options.domain !== undefined) {
      const { engine } = options.domain;
      return Machine.#among(engine, options, regions, (guest, engineHarts) => {
        const machine = new Machine(options, kernel, engine, guest, engineHarts);
        return { machine, begin: () => machine.#begin(kernel) };
      });
    }
    const pcpus = Math.min(harts, options.pcpus?.count ?? 0, MAX_PCPUS);
    const domain = new Domain(regions, {
      codePages: options.engine === 'interpreter' ? undefined : codePagesOf(Math.max(1, pcpus), options.domainBytes),
      totalBytes: options.domainBytes,
      threads: pcpus > 1 ? { pcpus, own: -1 } : undefined,
    });
    const late: { machine?: Machine } = {};
    const engine = await Engine.create(domain, Machine.#around(late), {
      kind: options.engine,
      harts,
      compiler: options.compiler,
      heat: options.heat,
      interpreters: options.interpreters,
    });
    const engineHarts = Array.from({ length: harts }, (_, id) => engine.addHart(id));
    late.machine = new Machine(options, kernel, engine, domain.guest, engineHarts);
    late.machine.#begin(kernel);
    return late.machine;
  }

  /** Another machine of the domain, or nothing is left of it. */
  static #among(
    engine: Engine,
    options: MachineOptions,
    regions: readonly Region[],
    make: (guest: Guest, harts: readonly EngineHart[]) => { readonly machine: Machine; readonly begin: () => void },
  ): Machine {
    assert(options.pcpus === undefined, 'machines of one domain take turns on its thread');
    const late: { machine?: Machine } = {};
    const { guest, harts } = engine.addGuest(regions, Machine.#around(late));
    assert((options.harts ?? 1) === harts.length, 'machines of one domain have as many harts');
    try {
      const { machine, begin } = make(guest, harts);
      late.machine = machine;
      begin();
      return machine;
    } catch (error) {
      if (late.machine) late.machine.close();
      else engine.removeGuest(guest);
      throw error;
    }
  }

  #begin(kernel: Payload | undefined): void {
    const { blank, discardPayloads, initrd, kernel: given } = this.#options;
    if (blank !== true) this.#powerOn();
    if (discardPayloads === true) for (const payload of [given, kernel, initrd]) discardPayload(payload);
  }

  /**
   * A machine that goes on where `image` was, in the same memory domain: alike in everything but what `options` puts behind its devices, and started
   * by nobody. Nothing is loaded. Throws a DomainFullError when there is no room for it, and a SavedStateError when it is not alike.
   */
  static from(image: MachineImage, options: MachineOptions): Machine {
    assert(image.isOf(options), 'a machine is like the one whose image it is');
    const { engine } = image;
    return Machine.#among(engine, options, image.regions, (guest, harts) => {
      image.shareWith(guest);
      const machine = new Machine(options, undefined, engine, guest, harts, image.elapsedNs);
      return { machine, begin: () => machine.restore(image.state) };
    });
  }

  /** What the engine calls, of a machine that does not exist before its harts do. */
  static #around(late: { readonly machine?: Machine }): EngineSurroundings {
    const machine = (): Machine => defined(late.machine, 'the machine');
    return {
      mmioLoad: (hart, low, high, bytes) => machine().#mmioLoad(hart, low, high, bytes),
      mmioStore: (hart, low, high, bytes) => machine().#mmioStore(hart, low, high, bytes),
      readTime: (hart) => machine().#timebase.read(hart),
      timerChanged: () => machine().#timerChanged(),
      moreTime: (_hart, count) => machine().#moreTime(count),
    };
  }

  private constructor(
    options: MachineOptions,
    kernel: Payload | undefined,
    engine: Engine,
    guest: Guest,
    engineHarts: readonly EngineHart[],
    elapsedNs = 0,
  ) {
    const { domain } = guest;
    this.#options = options;
    this.memoryBytes = options.memoryBytes;
    this.#kernel = kernel;
    this.#domain = domain;
    this.guest = guest;
    this.#engine = engine;
    this.#timebase = new Timebase(options.clock, guest, options.clock.monotonicNs() - elapsedNs);
    this.ram = new Ram(guest);
    this.pages = new GuestPages(guest, engineHarts, () => {
      for (const hart of this.#harts) hart.engine.refresh();
    });
    this.#threads =
      options.pcpus && domain.words && new PcpuThreads(options, options.pcpus, engine, domain.words, this.#timebase);
    this.#harts = engineHarts.map((hart) => this.#threads?.hart(hart) ?? new MachineHart(hart, () => this.onWake?.()));
    this.#ids = this.#harts.map(({ id }) => id);
    this.#turns = new Turns(SLICE_NS);
    this.allowance = options.allowance ?? new Allowance(this.#threads && allowanceCells(domain));
    this.allowance.join(this, () => (this.#threads === undefined ? this.onWake?.() : this.#threads.wake()));
    this.#meter = new ProcessorMeter(this.allowance, options.clock);
    this.#steal = new StealTime(this.#harts, this.ram, options.clock, this.allowance);
    const ended = (ending: Ending): void => this.#end(ending);

    const plic = new Plic(this.#harts);
    const mtimer = new Mtimer(this.#harts, { now: () => this.#timebase.ticks() }, (offset) => {
      this.#timebase.offset = offset;
    });
    this.#mtimer = mtimer;
    this.serial = new Uart16550({
      line: plic.line(IRQ.uart),
      output: options.serialOutput,
      ...(options.serialInputRoom ? { inputRoom: options.serialInputRoom } : {}),
    });
    const rtc = new GoldfishRtc(options.clock, plic.line(IRQ.rtc));
    this.#add(new SifiveTest(ended), MEMORY_MAP.test, sifiveTestNode(MEMORY_MAP.test));
    this.#add(rtc, MEMORY_MAP.rtc, goldfishRtcNode(MEMORY_MAP.rtc, IRQ.rtc));
    this.#add(new Mswi(this.#harts), MSWI_PLACEMENT);
    this.#add(mtimer, MTIMER_PLACEMENT, clintNode(MEMORY_MAP.clint, this.#harts.length));
    this.#add(plic, MEMORY_MAP.plic, plicNode(MEMORY_MAP.plic, this.#harts.length));
    this.#add(this.serial, MEMORY_MAP.uart, uartNode(MEMORY_MAP.uart, IRQ.uart));
    this.console = options.consolePorts ? new VirtioConsole(options.consolePorts) : undefined;
    this.balloon = options.balloon === true ? new VirtioBalloon() : undefined;
    const virtio = virtioDevices({
      options,
      plic,
      harts: this.#harts.length,
      memory: this.ram,
      console: this.console,
      balloon: this.balloon,
      broke: (error) => this.#broke(error),
    });
    for (const { device, placement, node } of virtio.placed) this.#add(device, placement, node);
    this.#timed.push(mtimer, rtc, ...virtio.timed);
    this.#sbi = new Sbi({
      harts: this.#harts,
      memory: this.ram,
      ended,
      console: { write: (bytes) => this.serial.firmwareWrite(bytes), read: () => this.serial.firmwareRead() },
      machine: OWN_IDENTITY,
    });
    options.domain?.add(this);
  }

  /** Whether other threads execute its harts. */
  get isThreaded(): boolean {
    return this.#threads !== undefined;
  }

  get hartCount(): number {
    return this.#harts.length;
  }

  /** Whether others are in its memory domain, and executed on the same thread. */
  get isAmongOthers(): boolean {
    return this.#engine.guests > (this.#options.domain ? 1 : 0);
  }

  /** How the machine ended, once it has. */
  get ending(): Ending | undefined {
    return this.#ending;
  }

  /** What the saved state of a machine is made of: restored it is only by a program that says the same. */
  static readonly stateLayout: string = `${STATE_REVISION} ${JSON.stringify(HART)}`;

  /** The flattened device tree that the machine was started with. */
  get deviceTree(): Uint8Array {
    return defined(this.#plan, 'the boot plan').tree.bytes;
  }

  /**
   * Executes for about `forMs` milliseconds of real time, or until nothing is left to do. Harts take turns, a slice each (turns.ts). Throws what a
   * device failed with.
   */
  run(forMs: number): Progress {
    if (this.#failure !== undefined) throw this.#failure.error;
    const { clock } = this.#options;
    const endNs = clock.monotonicNs() + forMs * 1e6;
    if (this.#threads) return this.#serve(this.#threads, endNs);
    this.#turnEndsNs = endNs;
    return this.#meter.during(endNs, () => this.#execute(endNs));
  }

  #execute(endNs: number): Progress {
    const { clock } = this.#options;
    for (;;) {
      if (this.#ending) return { kind: 'ended', ending: this.#ending };
      const dueInNs = this.#poll();
      const heldNs = this.allowance.isLimited ? this.allowance.dueInNs(hostNs(clock)) : 0;
      if (heldNs > 0) {
        this.#steal.hold(this.#ids, clock.monotonicNs());
        return { kind: 'idle', dueInNs: Math.min(dueInNs, heldNs) };
      }
      const hart = this.#harts[this.#turns.next(this.#ids, this.#isReady)];
      if (hart && this.#options.mayRun?.(this) === false)
        return { kind: 'idle', dueInNs: Math.min(dueInNs, MEMORY_WAIT_NS) };
      if (hart) this.#runSlice(hart, dueInNs);
      this.#htif?.poll();
      if (this.#ending) return { kind: 'ended', ending: this.#ending };
      if (!hart) return { kind: 'idle', dueInNs };
      if (clock.monotonicNs() >= endNs) return { kind: 'busy' };
    }
  }

  /** The same where other threads execute the harts: does what they and the clock ask for. */
  #serve(threads: PcpuThreads, endNs: number): Progress {
    const { clock } = this.#options;
    threads.go();
    for (;;) {
      const seen = threads.mailbox.rung;
      const dueInNs = Math.min(pollDevices(this.#timed), this.#htif ? HTIF_LOOK_NS : Infinity);
      const served = threads.serve(this.#mail);
      this.#htif?.poll();
      if (this.#ending) {
        threads.stop(this.#mail);
        return { kind: 'ended', ending: this.#ending };
      }
      const now = clock.monotonicNs();
      if (!served && threads.isQuiet(now, seen, () => this.onWake?.())) return { kind: 'idle', dueInNs };
      if (now >= endNs) return { kind: 'busy' };
      if (!served) threads.mailbox.wait(seen, LOOK_MS);
      else threads.served(now);
    }
  }

  readonly #mail: MailHandlers = {
    load: (hart, low, high, bytes) => this.#mmioLoad(hart, low, high, bytes),
    store: (hart, low, high, bytes) => this.#mmioStore(hart, low, high, bytes),
    isNotice: (address) => this.#bus.isNotice(address),
    notice: (address, bytes, low, high) => void this.#bus.store(address, bytes as 1 | 2 | 4 | 8, low, high),
    write: (byte) => this.serial.firmwareWrite(Uint8Array.of(byte)),
    read: () => this.serial.firmwareRead(),
    ended: (ending) => this.#end(ending),
    keep: (index) => this.pages.keep(index),
  };

  /** Ends the threads that execute harts, if there are any, and gives its memory back to those that share a domain with it. It runs no more. */
  close(): void {
    this.#threads?.close();
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.allowance.leave(this);
    this.#options.domain?.remove(this);
    if (this.#engine.guests > 0) this.#engine.removeGuest(this.guest);
  }

  /** The machine at this point, for others that go on from there. Only while it is quiet. Throws a DomainFullError when there is no room. */
  image(): MachineImage {
    assert(this.ram.loans === 0, 'a machine that is quiet has lent nothing of its memory');
    assert(this.#htif === undefined, 'a machine with HTIF has no image');
    return new MachineImage(this.#engine, this.guest, this.save(), this.#timebase.elapsedNs);
  }

  /** Power off and on: the same payloads are loaded again. Devices must be quiet. */
  reset(): void {
    assert(this.#options.blank !== true, 'a machine that was restored has nothing to load at a reset');
    assert(this.#options.discardPayloads !== true, 'a machine that discarded its payloads cannot be reset');
    for (const device of this.#devices) device.reset();
    this.#powerOn();
  }

  /** Stops work that outlasts a register access; see Device.quiesce. */
  async quiesce(): Promise<void> {
    this.#threads?.stop(this.#mail);
    await Promise.all(this.#devices.map((device) => device.quiesce?.() ?? Promise.resolve()));
  }

  resume(): void {
    for (const device of this.#devices) device.resume?.();
  }

  /** Harts and devices; memory is the snapshot's own matter (`pages`). Only while the machine is quiet, and not when a device of it has failed. */
  save(): Saved {
    if (this.#failure !== undefined) throw this.#failure.error;
    return {
      harts: this.#harts.map((hart) => hart.save()),
      devices: this.#saved().map((device) => ({ name: device.name, state: device.save() })),
      htif: this.#htif?.place ?? null,
    };
  }

  /** Takes back what `save` gave, of this machine or of one made alike; throws SavedStateError and is then as it was before. */
  restore(state: Saved): void {
    const [before, htif] = [this.save(), this.#htif];
    try {
      this.#restore(new SavedReader(state, 'machine'));
    } catch (error) {
      this.#htif = htif;
      this.#restore(new SavedReader(before, 'machine'));
      throw error;
    }
    this.#ending = undefined;
    // Nothing is known of the guest's speed: its code is looked at for the first time.
    [this.#atRestore, this.#slices] = [this.#counters(), new Slices()];
    this.#pollSupervisorTimers();
  }

  #restore(reader: SavedReader): void {
    const htif = reader.field('htif');
    if (this.#options.blank === true) this.#htif = htif.raw() === null ? undefined : this.#newHtif(savedHtif(htif));
    for (const [index, saved] of reader.field('harts').list(this.#harts.length).entries())
      defined(this.#harts[index], 'a hart').restore(saved.raw());
    const devices = this.#saved();
    for (const [index, saved] of reader.field('devices').list(devices.length).entries()) {
      const device = defined(devices[index], 'a device');
      if (saved.field('name').text() !== device.name) saved.field('name').refuse(`is not ${device.name}`);
      device.restore(saved.field('state').raw());
    }
  }

  /** Everything but the harts that has a state. */
  #saved(): readonly Device[] {
    return this.#htif ? [...this.#devices, this.#htif] : this.#devices;
  }

  /** Lets the guest's time be later by so many nanoseconds: those that passed while it was nowhere. Only while the machine is quiet. */
  pass(ns: number): void {
    this.#mtimer.pass(ns);
    this.#pollSupervisorTimers();
  }

  /** Counters for people who look where time goes; of what was executed here, where the machine was restored. */
  statistics(): Record<string, number> {
    const before = this.#atRestore;
    const counters = Object.entries(this.#counters()).map(([name, count]) => [name, count - (before[name] ?? 0)]);
    const memory = this.guest.memoryBytes;
    return {
      ...(Object.fromEntries(counters) as Record<string, number>),
      residentBytes: memory.all,
      ownBytes: memory.own,
      codePages: this.#domain.codePagesInUse,
      ...(this.#threads?.counters ?? this.#engine.compiled),
    };
  }

  /** Those that are part of a hart's state. */
  #counters(): Record<string, number> {
    return hartCounters(this.#harts.map(({ engine }) => engine));
  }

  #add(device: MmioDevice, placement: { readonly base: number; readonly sizeBytes: number }, node?: TreeNode): void {
    this.#bus.map({ base: guestPhysical(placement.base), sizeBytes: placement.sizeBytes }, device);
    this.#devices.push(device);
    if (node) this.#nodes.push(node);
  }

  #powerOn(): void {
    const { firmware, initrd, bootArguments, entropy } = this.#options;
    const memory = dramPlacement(this.memoryBytes);
    this.#ending = undefined;
    const plan = prepareBoot({
      into: { placement: memory, memory: this.ram },
      firmware,
      ...(this.#kernel ? { kernel: this.#kernel } : {}),
      ...(initrd ? { initrd } : {}),
      tree: (range: InitrdRange | undefined) =>
        flattenTree(
          machineTree({
            harts: this.#harts.length,
            memory,
            extensions: isaExtensions,
            mmuType: 'riscv,sv57',
            soc: this.#nodes,
            entropy,
            ...(bootArguments === undefined ? {} : { bootArgs: bootArguments }),
            ...(range ? { initrd: range } : {}),
          }),
        ),
    });
    this.#plan = plan;
    if (plan.bootRom) this.ram.writeRom(MEMORY_MAP.bootRom.base, plan.bootRom);
    const symbols = plan.kernel?.htif;
    this.#htif = symbols && this.#newHtif(symbols);
    startHarts(this.#harts, plan);
  }

  #newHtif(place: HtifSymbols): Htif {
    return new Htif(place, {
      memory: this.ram,
      output: this.#options.serialOutput,
      input: () => this.serial.firmwareRead(),
      ended: (ending) => this.#end(ending),
      faults: this.#options.faults ?? { report: () => {} },
    });
  }

  #runSlice(hart: MachineHart, dueInNs: number): void {
    const { clock } = this.#options;
    const [startNs, startCount] = [clock.monotonicNs(), hart.engine.retiredLow];
    this.#steal.begin(hart.id, startNs, this.#ids);
    const exit = this.#engine.run(hart.engine, this.#slices.begin(startNs, dueInNs, this.#turnEndsNs));
    const nowNs = clock.monotonicNs();
    this.#slices.end(nowNs, (hart.engine.retiredLow - startCount) >>> 0);
    this.#steal.end(hart.id, nowNs - startNs);
    this.#turns.charge(hart.id, nowNs - startNs, hart.engine.takeYield(), this.#ids);
    if (exit === EXIT.WAIT) hart.waitForInterrupt();
    else if (exit === EXIT.SBI) {
      hart.engine.pc += 4n;
      this.#sbi.handle(hart);
    }
  }

  /** The slice of `count` instructions is over, and nothing but time has passed: how many more until something has to be looked at. */
  #moreTime(count: number): number {
    if (this.#harts.length > 1 || this.#htif || this.#ending) return 0;
    // A device may have got something to do meanwhile: frames behind the one that it was notified of.
    if (this.#timed.some((device) => device.dueInNs() <= 0)) return 0;
    return this.#slices.more(this.#options.clock.monotonicNs(), count);
  }

  /** Does what is due, and says in how many nanoseconds the next thing will be. */
  #poll(): number {
    return Math.min(this.#pollSupervisorTimers(), pollDevices(this.#timed));
  }

  #pollSupervisorTimers(): number {
    return pollSupervisorTimers(this.#harts, () => this.#timebase.now());
  }

  #mmioLoad(hart: number, low: number, high: number, bytes: number): number {
    if (!this.#bus.load(addressOf(low, high), bytes as 1 | 2 | 4 | 8)) return 0;
    const cell = (hart + HART.value) >>> 2;
    this.#domain.u32[cell] = this.#bus.low;
    this.#domain.u32[cell + 1] = this.#bus.high;
    return 1;
  }

  /** A timer that is due before the slice is over ends it, so that the next one is as long as the timer allows. */
  #timerChanged(): void {
    const due = this.#pollSupervisorTimers();
    if (due < SLICE_NS) for (const hart of this.#harts) hart.engine.requestAttention();
  }

  #mmioStore(hart: number, low: number, high: number, bytes: number): number {
    const { u32 } = this.#domain;
    const cell = (hart + HART.value) >>> 2;
    const address = addressOf(low, high);
    const stored = this.#bus.store(address, bytes as 1 | 2 | 4 | 8, u32[cell] ?? 0, u32[cell + 1] ?? 0);
    // mtimecmp may have come nearer.
    if (address >= MTIMER_PLACEMENT.base && address < MTIMER_PLACEMENT.base + MTIMER_PLACEMENT.sizeBytes) {
      for (const each of this.#harts) each.engine.requestAttention();
    }
    return stored ? 1 : 0;
  }

  #broke(error: unknown): void {
    this.#failure ??= { error };
    this.onWake?.();
  }

  #end(ending: Ending): void {
    this.#ending ??= ending;
    for (const hart of this.#harts) hart.engine.requestAttention();
    this.onWake?.();
  }
}
