/**
 * Plays steps on a device over a transport, and throws when something happened that must never: an exception, a promise that nobody took
 * back, memory that stays on loan, a step that takes the processor for long, or a device that is not as new after a reset.
 *
 * Guest memory is a test double that refuses every access outside of it, so what a device reads or writes it was let.
 */

import { cpuUsage } from 'node:process';
import { setImmediate as turn } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { FakeClock } from '../../src/machine/testing/doubles.ts';
import { DESC } from '../../src/machine/virtio/testing/guest-queue.ts';
import { RAM_BASE, Rig, type TransportName } from '../../src/machine/virtio/testing/rig.ts';
import { RAM_PAGES, type Step, type WRONGS } from './steps.ts';
import { type DeviceName, type Subject, subjectOf } from './subjects.ts';

/** Processor time that one step may take. None takes a hundredth of it when all is well. */
const STEP_CPU_MS = 2000;
/** Guest memory that may be allocated before the next rings begin at its start again. */
const MOST_ALLOCATED = (RAM_PAGES * 4096) / 2;
const SLOT = 1;

class Play {
  readonly clock = new FakeClock();
  readonly subject: Subject;
  readonly rig: Rig;

  constructor(device: DeviceName, transport: TransportName) {
    this.subject = subjectOf(device, this.clock);
    this.rig = new Rig(transport, this.subject.device, RAM_PAGES);
    this.rig.start({ queueSize: 8 });
  }

  async step(step: Step): Promise<void> {
    const { rig, subject } = this;
    const index = 'queue' in step ? step.queue % Math.max(1, rig.queues.length) : 0;
    const queue = rig.queues[index];
    switch (step.kind) {
      case 'register':
        rig.access(step.region, step.offset, step.size, step.value);
        break;
      case 'configuration space': {
        // Over MMIO there is none, and it is a register like others.
        const at = (SLOT << 15) + step.offset;
        const { machineDevice } = rig;
        if (!isMmio(machineDevice)) break;
        if (step.value === undefined) machineDevice.read(at % 2 ** 28, step.size);
        else machineDevice.write(at % 2 ** 28, step.size, step.value);
        break;
      }
      case 'descriptor':
        queue?.setDescriptor(step.index % queue.size, step);
        break;
      case 'offer':
        queue?.offer(step.head);
        break;
      case 'available index':
        queue?.setAvailableIndex(step.index);
        break;
      case 'poke':
        rig.memory.write(RAM_BASE + step.at, step.bytes);
        break;
      case 'request': {
        if (queue === undefined || queue.size < 1 + step.room.length) break;
        const bytes = subject.request(index, step.seed);
        for (const { at, value } of step.changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
        // Cut in two, for framing has no meaning.
        const cut = (step.seed[0] ?? 0) % (bytes.length + 1);
        const isIndirect = step.indirect && (bytes.length > 0 || step.room.length > 0);
        const parts = step.room.length + 2 <= queue.size ? [bytes.subarray(0, cut), bytes.subarray(cut)] : [bytes];
        const send = parts.filter((part) => part.length > 0);
        const descriptors = Math.max(1, send.length + step.room.length);
        const { head } = queue.submit(send, step.room, isIndirect);
        if (step.wrong !== undefined) {
          const table = isIndirect ? (rig.memory.load64(queue.descriptors + 16 * head) ?? 0) : queue.descriptors;
          const at = isIndirect
            ? step.wrong.which % descriptors
            : (head + (step.wrong.which % descriptors)) % queue.size;
          this.#falsify(table + 16 * at, step.wrong.how, isIndirect ? 0 : head);
        }
        rig.guest.notify(index);
        break;
      }
      case 'endless chain': {
        if (queue === undefined) break;
        for (let at = 0; at < queue.size; at++)
          queue.setDescriptor(at, {
            address: RAM_BASE,
            size: RAM_PAGES * 4096,
            flags: (step.writable ? DESC.WRITE : 0) | (at + 1 < queue.size ? DESC.NEXT : 0),
            next: at + 1,
          });
        for (let times = 0; times < queue.size; times++) queue.offer(0);
        rig.guest.notify(index);
        break;
      }
      case 'notify':
        rig.guest.notify(index);
        break;
      case 'outside':
        await subject.outside(step.what, step.bytes);
        break;
      case 'time':
        this.clock.advanceNs(step.ns);
        subject.poll?.();
        break;
      case 'turns':
        subject.poll?.();
        await turn();
        break;
      case 'snapshot': {
        await this.#rest();
        const saved = rig.machineDevice.save();
        rig.machineDevice.restore(saved);
        if (!isDeepStrictEqual(rig.machineDevice.save(), saved))
          throw new Error('what was saved is not what was restored');
        rig.machineDevice.resume?.();
        break;
      }
      case 'restart':
        await this.#restart(step);
        break;
    }
  }

  /** Makes the descriptor at `at` one that lies. */
  #falsify(at: number, how: (typeof WRONGS)[number], head: number): void {
    const { memory } = this.rig;
    const flags = memory.load16(at + 12) ?? 0;
    switch (how) {
      case 'beyond':
        // By less than it is long.
        memory.store64(at, RAM_BASE + RAM_PAGES * 4096 - 1);
        break;
      case 'empty':
        memory.store32(at + 8, 0);
        break;
      case 'huge':
        memory.store32(at + 8, 0xffff_ffff);
        break;
      case 'nowhere':
        memory.store64(at, 2 ** 62);
        break;
      case 'loop':
        memory.store16(at + 12, flags | DESC.NEXT);
        memory.store16(at + 14, head);
        break;
    }
  }

  /** The device comes to rest, gives all memory back, and works again after a reset. */
  async end(): Promise<void> {
    await this.#rest();
    this.rig.machineDevice.resume?.();
    await this.#restart({ queueSize: 8, without: [] });
    if (this.rig.needsReset) throw new Error('a device that was reset needs a reset');
  }

  async #rest(): Promise<void> {
    const quiet = this.rig.machineDevice.quiesce?.();
    await this.subject.release();
    await quiet;
    const { loans } = this.rig.memory;
    if (loans.length > 0) throw new Error(`a device at rest holds guest memory: ${loans.join(', ')}`);
  }

  async #restart(options: { readonly queueSize: number; readonly without: readonly number[] }): Promise<void> {
    const { rig } = this;
    // BARs may be anywhere by now, and what is behind them unreachable.
    rig.findDevice();
    rig.guest.setStatus(0);
    await this.#rest();
    rig.machineDevice.resume?.();
    if (rig.allocator.used > MOST_ALLOCATED) rig.allocator.startOver();
    rig.start(options);
  }
}

function isMmio(
  device: object,
): device is { read(at: number, size: 1 | 2 | 4): number; write(at: number, size: 1 | 2 | 4, value: number): void } {
  return 'read' in device && 'write' in device;
}

/** Throws what went wrong, with the step at which it did. */
export async function play(device: DeviceName, transport: TransportName, steps: readonly Step[]): Promise<void> {
  const one = new Play(device, transport);
  let lost: unknown;
  const onLost = (reason: unknown): void => {
    lost ??= reason;
  };
  process.on('unhandledRejection', onLost);
  try {
    for (const [index, step] of steps.entries()) {
      const before = cpuUsage();
      try {
        await one.step(step);
      } catch (error) {
        throw new Error(`step ${index}, ${step.kind}: ${String(error)}`, { cause: error });
      }
      const { user, system } = cpuUsage(before);
      if ((user + system) / 1000 > STEP_CPU_MS)
        throw new Error(`step ${index}, ${step.kind}, took ${Math.round((user + system) / 1000)} ms of the processor`);
    }
    await one.end();
    await turn();
    if (lost !== undefined) throw new Error('a promise was rejected and nobody knew', { cause: lost });
  } finally {
    process.off('unhandledRejection', onLost);
  }
}
