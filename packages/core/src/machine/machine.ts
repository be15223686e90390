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
import { Domain } from '../engine/domain.ts';
import { Engine, type EngineSurroundings } from '../engine/engine.ts';
import { EXIT } from '../engine/interpreter.ts';
import { HART } from '../engine/layout.ts';
import { CSR } from '../engine/state.ts';
import { ENVCFG } from '../isa/csrs.ts';
import { Mswi, Mtimer, clintNode } from './aclint.ts';
import { Bus } from './bus.ts';
import type { Device, FaultSink, MmioDevice, TimedDevice, TreeNode } from './device.ts';
import type { Ending } from './ending.ts';
import { type InitrdRange, isaExtensions, machineTree } from './fdt/machine-tree.ts';
import { flattenTree } from './fdt/write.ts';
import { GoldfishRtc, goldfishRtcNode } from './goldfish-rtc.ts';
import { MIP } from './hart-port.ts';
import { MachineHart } from './hart.ts';
import { Htif } from './htif.ts';
import { type BootPlan, prepareBoot } from './loader/boot-plan.ts';
import { unwrapKernel } from './loader/compressed-kernel.ts';
import type { Payload } from './loader/payload.ts';
import {
  IRQ,
  MEMORY_MAP,
  MSWI_PLACEMENT,
  MTIMER_PLACEMENT,
  NS_PER_TICK,
  PCIE_INTX_COUNT,
  VIRTIO_MMIO_SLOTS,
  dramPlacement,
  highPcieMmioPlacement,
  virtioMmioPlacement,
} from './memory-map.ts';
import { PciHostBridge } from './pci/host-bridge.ts';
import { hostBridgeNode } from './pci/tree.ts';
import { PciWindow } from './pci/window.ts';
import { Plic, plicNode } from './plic.ts';
import { Ram } from './ram.ts';
import { Sbi } from './sbi/sbi.ts';
import { SifiveTest, sifiveTestNode } from './sifive-test.ts';
import { Uart16550, uartNode } from './uart16550.ts';
import { type MachineOptions, MAXIMUM_MEMORY_BYTES, MINIMUM_MEMORY_BYTES, type Progress } from './options.ts';
import { handToSupervisor } from './supervisor-start.ts';
import { MAXIMUM_BLOCK_QUEUES, VirtioBlock } from './virtio/block.ts';
import { VirtioConsole } from './virtio/console.ts';
import { VirtioFs } from './virtio/fs.ts';
import { VirtioNet } from './virtio/net.ts';
import { VirtioRng } from './virtio/rng.ts';
import { EmptyVirtioMmio, VirtioMmio, virtioMmioNode } from './virtio/transport-mmio.ts';
import { VirtioPci } from './virtio/transport-pci.ts';
import type { VirtioDevice } from './virtio/virtio-device.ts';

/** Time between two looks at timers and devices, as far as the guest's speed is known: in nanoseconds. */
const SLICE_NS = 100_000;
/** Instructions of a slice at the least and at the most. */
const MINIMUM_SLICE = 500;
const MAXIMUM_SLICE = 1_000_000;
/** Instructions per nanosecond that a guest is thought to execute at least. (Less was measured when the host did something else.) */
const SLOWEST_SPEED = 0.1;
/** Slices shorter than this say nothing about the guest's speed. */
const MEASURED_SLICE = 2000;
/** How much of the speed is counted on, so that a timer is rather looked at twice than late. */
const CAUTION = 0.8;

export class Machine {
  readonly memoryBytes: number;
  readonly ram: Ram;
  readonly serial: Uart16550;
  readonly console: VirtioConsole | undefined;
  /** Called when something happened while the machine was idle: it wants to run. */
  onWake: (() => void) | undefined;
  readonly #options: MachineOptions;
  readonly #domain: Domain;
  readonly #bus = new Bus();
  readonly #devices: Device[] = [];
  readonly #timed: TimedDevice[] = [];
  readonly #nodes: TreeNode[] = [];
  readonly #engine: Engine;
  readonly #harts: readonly MachineHart[];
  readonly #sbi: Sbi;
  readonly #kernel: Payload | undefined;
  readonly #startNs: number;
  /** Instructions per nanosecond that the guest executed lately. */
  #speed = SLOWEST_SPEED;
  /** When the present `run` is over. */
  #turnEndsNs = 0;
  /** The present slice: when something is due, and when it (or what it was prolonged by) began, at which count of its instructions. */
  #slice = { dueNs: 0, startNs: 0, count: 0 };
  #tickOffset = 0n;
  #plan: BootPlan | undefined;
  #htif: Htif | undefined;
  #ending: Ending | undefined;

  /** Builds the machine and loads what it boots. Rejects with a LoadError when that cannot be loaded. */
  static async create(options: MachineOptions): Promise<Machine> {
    const { memoryBytes } = options;
    assert(
      memoryBytes % PAGE_SIZE === 0 && memoryBytes >= MINIMUM_MEMORY_BYTES && memoryBytes <= MAXIMUM_MEMORY_BYTES,
      `${memoryBytes} is no memory size`,
    );
    const kernel =
      options.kernel === undefined
        ? undefined
        : options.decompressor === undefined
          ? options.kernel
          : await unwrapKernel(options.kernel, options.decompressor);
    const ram = dramPlacement(memoryBytes);
    const { bootRom } = MEMORY_MAP;
    const domain = new Domain([
      { base: ram.base, sizeBytes: ram.sizeBytes, writable: true },
      { base: bootRom.base, sizeBytes: bootRom.sizeBytes, writable: false },
    ]);
    // The engine calls the machine, which does not exist before the engine does.
    const late: { machine?: Machine } = {};
    const machine = (): Machine => defined(late.machine, 'the machine');
    const surroundings: EngineSurroundings = {
      mmioLoad: (hart, low, high, bytes) => machine().#mmioLoad(hart, low, high, bytes),
      mmioStore: (hart, low, high, bytes) => machine().#mmioStore(hart, low, high, bytes),
      readTime: (hart) => machine().#readTime(hart),
      timerChanged: () => machine().#timerChanged(),
      moreTime: (_hart, count) => machine().#moreTime(count),
    };
    const engine = await Engine.create(domain, surroundings, {
      kind: options.engine,
      compiler: options.compiler,
      heat: options.heat,
    });
    late.machine = new Machine(options, kernel, domain, engine);
    late.machine.#powerOn();
    if (options.discardPayloads === true)
      for (const payload of [options.kernel, kernel, options.initrd]) discard(payload);
    return late.machine;
  }

  private constructor(options: MachineOptions, kernel: Payload | undefined, domain: Domain, engine: Engine) {
    this.#options = options;
    this.memoryBytes = options.memoryBytes;
    this.#kernel = kernel;
    this.#domain = domain;
    this.#engine = engine;
    this.#startNs = options.clock.monotonicNs();
    this.ram = new Ram(domain);
    this.#harts = [new MachineHart(engine.addHart(0), () => this.onWake?.())];
    const ended = (ending: Ending): void => this.#end(ending);

    const plic = new Plic(this.#harts);
    const mtimer = new Mtimer(this.#harts, { now: () => this.#ticksBig() }, (offset) => {
      this.#tickOffset = offset;
    });
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
    this.#timed.push(mtimer, rtc);
    this.#addMmio(plic);
    this.console = options.consolePorts ? new VirtioConsole(options.consolePorts) : undefined;
    this.#addPci(plic);
    this.#sbi = new Sbi({
      harts: this.#harts,
      memory: this.ram,
      ended,
      console: { write: (bytes) => this.serial.firmwareWrite(bytes), read: () => this.serial.firmwareRead() },
      machine: { mvendorid: 0n, marchid: 0n, mimpid: 0n },
    });
  }

  /** How the machine ended, once it has. */
  get ending(): Ending | undefined {
    return this.#ending;
  }

  /** The flattened device tree that the machine was started with. */
  get deviceTree(): Uint8Array {
    return defined(this.#plan, 'the boot plan').tree.bytes;
  }

  /** Executes for about `forMs` milliseconds of real time, or until nothing is left to do. */
  run(forMs: number): Progress {
    const { clock } = this.#options;
    const endNs = clock.monotonicNs() + forMs * 1e6;
    this.#turnEndsNs = endNs;
    for (;;) {
      if (this.#ending) return { kind: 'ended', ending: this.#ending };
      const dueInNs = this.#poll();
      let ran = false;
      for (const hart of this.#harts) {
        if (hart.runState !== 'running') continue;
        ran = true;
        this.#runSlice(hart, dueInNs);
      }
      this.#htif?.poll();
      if (this.#ending) return { kind: 'ended', ending: this.#ending };
      if (!ran) return { kind: 'idle', dueInNs };
      if (clock.monotonicNs() >= endNs) return { kind: 'busy' };
    }
  }

  /** Power off and on: the same payloads are loaded again. Devices must be quiet. */
  reset(): void {
    assert(this.#options.discardPayloads !== true, 'a machine that discarded its payloads cannot be reset');
    for (const device of this.#devices) device.reset();
    this.#powerOn();
  }

  /** Stops work that outlasts a register access; see Device.quiesce. */
  async quiesce(): Promise<void> {
    await Promise.all(this.#devices.map((device) => device.quiesce?.() ?? Promise.resolve()));
  }

  resume(): void {
    for (const device of this.#devices) device.resume?.();
  }

  /** Harts and devices; memory is the snapshot's own matter. Only while the machine is quiet. */
  save(): Saved {
    return {
      harts: this.#harts.map((hart) => hart.save()),
      devices: this.#saved().map((device) => ({ name: device.name, state: device.save() })),
    };
  }

  restore(state: Saved): void {
    const reader = new SavedReader(state, 'machine');
    for (const [index, saved] of reader.field('harts').list(this.#harts.length).entries())
      defined(this.#harts[index], 'a hart').restore(saved.raw());
    const devices = this.#saved();
    for (const [index, saved] of reader.field('devices').list(devices.length).entries()) {
      const device = defined(devices[index], 'a device');
      if (saved.field('name').text() !== device.name) saved.field('name').refuse(`is not ${device.name}`);
      device.restore(saved.field('state').raw());
    }
    this.#ending = undefined;
    this.#pollSupervisorTimers();
  }

  /** Everything but the harts that has a state. */
  #saved(): readonly Device[] {
    return this.#htif ? [...this.#devices, this.#htif] : this.#devices;
  }

  /** Counters for people who look where time goes. */
  statistics(): Record<string, number> {
    const [hart] = this.#harts;
    const engine = defined(hart, 'a hart').engine;
    const count = (
      cell:
        | 'retired'
        | 'compiled'
        | 'tlbMisses'
        | 'fetchMisses'
        | 'slowSteps'
        | 'traps'
        | 'interrupts'
        | 'mmioAccesses',
    ): number => Number(engine.get64(cell));
    return {
      instructions: count('retired'),
      'jit.instructions': count('compiled'),
      tlbMisses: count('tlbMisses'),
      fetchMisses: count('fetchMisses'),
      slowSteps: count('slowSteps'),
      traps: count('traps'),
      interrupts: count('interrupts'),
      mmioAccesses: count('mmioAccesses'),
      residentBytes: this.#domain.residentBytes,
      codePages: this.#domain.codePagesInUse,
      ...this.#engine.compiled,
    };
  }

  #add(device: MmioDevice, placement: { readonly base: number; readonly sizeBytes: number }, node?: TreeNode): void {
    this.#bus.map({ base: guestPhysical(placement.base), sizeBytes: placement.sizeBytes }, device);
    this.#devices.push(device);
    if (node) this.#nodes.push(node);
  }

  /** The slots that QEMU's machine has, each with its node, the first ones with disks. */
  #addMmio(plic: Plic): void {
    const disks = this.#disksOn('mmio');
    assert(
      disks.length <= VIRTIO_MMIO_SLOTS,
      `${disks.length} disks do not fit ${VIRTIO_MMIO_SLOTS} slots of virtio-mmio`,
    );
    for (let slot = 0; slot < VIRTIO_MMIO_SLOTS; slot++) {
      const placement = virtioMmioPlacement(slot);
      const source = IRQ.virtioFirst + slot;
      const device = disks[slot];
      const parts = { placement, memory: this.ram, interrupt: plic.line(source), faults: this.#faults() };
      this.#add(
        device === undefined ? new EmptyVirtioMmio(placement) : new VirtioMmio({ ...parts, device }),
        placement,
        virtioMmioNode(placement, source),
      );
    }
  }

  #disksOn(wanted: 'pci' | 'mmio'): VirtioBlock[] {
    const { disks = [], log } = this.#options;
    return disks
      .filter(({ bus = 'pci' }) => bus === wanted)
      .map(
        ({ store, serial, cache, queues = Math.min(this.#harts.length, MAXIMUM_BLOCK_QUEUES) }) =>
          new VirtioBlock({ store, serial, cache, queues, ...(log ? { log } : {}) }),
      );
  }

  #faults(): FaultSink {
    const { faults, log } = this.#options;
    return faults ?? { report: (device, reason) => log?.log('warn', 'device', `${device}: ${reason}`) };
  }

  #addPci(plic: Plic): void {
    const { entropy, networkCards = [], shares = [], log } = this.#options;
    const faults = this.#faults();
    const places = {
      ecam: MEMORY_MAP.pcieEcam,
      io: MEMORY_MAP.pciePio,
      memory32: MEMORY_MAP.pcieMmio,
      memory64: highPcieMmioPlacement(this.memoryBytes),
      firstSource: IRQ.pcieIntxFirst,
    };
    const lines = Array.from({ length: PCIE_INTX_COUNT }, (_, pin) => plic.line(IRQ.pcieIntxFirst + pin));
    const bridge = new PciHostBridge(places.ecam, lines);
    const plugged: VirtioDevice[] = [
      new VirtioRng(entropy),
      ...(this.console ? [this.console] : []),
      ...this.#disksOn('pci'),
      ...networkCards.map(({ mac, port }) => new VirtioNet({ mac, port, queuePairs: this.#harts.length })),
      ...shares.map(
        ({ tag, tree, readOnly = false, writeback = false }) =>
          new VirtioFs({ tag, tree, readOnly, writeback, ...(log ? { log } : {}) }),
      ),
    ];
    for (const [index, device] of plugged.entries())
      bridge.plug(index + 1, new VirtioPci({ slot: index + 1, device, memory: this.ram, faults }));
    this.#add(bridge, places.ecam, hostBridgeNode(places));
    this.#add(new PciWindow(places.memory32, bridge), places.memory32);
    this.#add(new PciWindow(places.memory64, bridge), places.memory64);
    this.#add(new PciWindow(places.io, undefined), places.io);
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
    this.#htif =
      symbols &&
      new Htif(symbols, {
        memory: this.ram,
        output: this.#options.serialOutput,
        input: () => this.serial.firmwareRead(),
        ended: (ending) => this.#end(ending),
        faults: this.#options.faults ?? { report: () => {} },
      });
    for (const hart of this.#harts) {
      hart.engine.reset(BigInt(plan.entry));
      hart.setX(10, BigInt(hart.id));
      hart.setX(11, BigInt(plan.a1));
      hart.setX(12, BigInt(plan.a2));
      if (plan.mode === 'S') handToSupervisor(hart.engine);
      if (plan.harts === 'first' && hart.id !== 0) continue;
      if (plan.mode === 'S') hart.startSupervisor(BigInt(plan.entry), BigInt(plan.a1));
      else hart.startMachine(BigInt(plan.entry));
    }
  }

  #runSlice(hart: MachineHart, dueInNs: number): void {
    const wanted = Math.min(SLICE_NS, dueInNs) * this.#speed * CAUTION;
    const budget = Math.max(MINIMUM_SLICE, Math.min(MAXIMUM_SLICE, wanted));
    const { clock } = this.#options;
    const [startNs, startCount] = [clock.monotonicNs(), hart.engine.retiredLow];
    this.#slice = { dueNs: startNs + dueInNs, startNs, count: 0 };
    const exit = this.#engine.run(hart.engine, budget);
    const { count } = this.#slice;
    this.#measure(((hart.engine.retiredLow - startCount) >>> 0) - count, clock.monotonicNs() - this.#slice.startNs);
    if (exit === EXIT.WAIT) hart.waitForInterrupt();
    else if (exit === EXIT.SBI) {
      hart.engine.pc += 4n;
      this.#sbi.handle(hart);
    }
  }

  /** The slice of `count` instructions is over, and nothing but time has passed: how many more until something has to be looked at. */
  #moreTime(count: number): number {
    if (this.#harts.length > 1 || this.#htif || this.#ending) return 0;
    const nowNs = this.#options.clock.monotonicNs();
    const { dueNs, startNs, count: before } = this.#slice;
    const leftNs = Math.min(dueNs, this.#turnEndsNs) - nowNs;
    if (leftNs <= 0) return 0;
    this.#measure(count - before, nowNs - startNs);
    this.#slice = { dueNs, startNs: nowNs, count };
    return Math.max(MINIMUM_SLICE, Math.floor(Math.min(SLICE_NS, leftNs) * this.#speed * CAUTION));
  }

  /** Slower is believed at once, faster little by little. */
  #measure(instructions: number, ns: number): void {
    if (instructions < MEASURED_SLICE || ns <= 0) return;
    const speed = Math.max(SLOWEST_SPEED, instructions / ns);
    this.#speed = speed < this.#speed ? speed : this.#speed + (speed - this.#speed) / 4;
  }

  /** Does what is due, and says in how many nanoseconds the next thing will be. */
  #poll(): number {
    let due = this.#pollSupervisorTimers();
    for (const device of this.#timed) {
      device.poll();
      due = Math.min(due, device.dueInNs());
    }
    return due;
  }

  /** Drives STIP from stimecmp where menvcfg.STCE is set (Sstc); gives the nanoseconds until the next one is due. */
  #pollSupervisorTimers(): number {
    let due = Infinity;
    for (const hart of this.#harts) {
      const { engine } = hart;
      if ((engine.stored(CSR.menvcfg) & ENVCFG.STCE) === 0n) {
        hart.setPending(MIP.STIP, false);
        continue;
      }
      const compare = engine.stored(CSR.stimecmp);
      const now = BigInt.asUintN(64, this.#ticksBig() + this.#tickOffset);
      const isDue = now >= compare;
      hart.setPending(MIP.STIP, isDue);
      if (!isDue) due = Math.min(due, Number(compare - now) * NS_PER_TICK);
    }
    return due;
  }

  #ticks(): number {
    return Math.floor((this.#options.clock.monotonicNs() - this.#startNs) / NS_PER_TICK);
  }

  #ticksBig(): bigint {
    return BigInt(this.#ticks());
  }

  #readTime(hart: number): void {
    const cell = (hart + HART.time) >>> 2;
    if (this.#tickOffset === 0n) {
      const ticks = this.#ticks();
      this.#domain.u32[cell] = ticks % 2 ** 32;
      this.#domain.u32[cell + 1] = Math.floor(ticks / 2 ** 32);
    } else this.#domain.u64[cell >>> 1] = BigInt.asUintN(64, this.#ticksBig() + this.#tickOffset);
  }

  #mmioLoad(hart: number, low: number, high: number, bytes: number): number {
    if (!this.#bus.load((high >>> 0) * 2 ** 32 + (low >>> 0), bytes as 1 | 2 | 4 | 8)) return 0;
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
    const cell = (hart + HART.value) >>> 2;
    const stored = this.#bus.store(
      (high >>> 0) * 2 ** 32 + (low >>> 0),
      bytes as 1 | 2 | 4 | 8,
      this.#domain.u32[cell] ?? 0,
      this.#domain.u32[cell + 1] ?? 0,
    );
    // mtimecmp may have come nearer.
    if (high === 0 && low >= MTIMER_PLACEMENT.base && low < MTIMER_PLACEMENT.base + MTIMER_PLACEMENT.sizeBytes) {
      for (const each of this.#harts) each.engine.requestAttention();
    }
    return stored ? 1 : 0;
  }

  #end(ending: Ending): void {
    this.#ending ??= ending;
    for (const hart of this.#harts) hart.engine.requestAttention();
    this.onWake?.();
  }
}

/** Gives the memory behind a payload back at once, where the payload is alone in it. */
function discard(payload: Payload | undefined): void {
  const bytes = payload?.bytes;
  if (bytes?.buffer instanceof ArrayBuffer && !bytes.buffer.detached && bytes.byteLength === bytes.buffer.byteLength)
    bytes.buffer.transfer(0);
}
