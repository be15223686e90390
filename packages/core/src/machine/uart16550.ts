/**
 * The serial line: a 16550A UART (PC16550D data sheet, National Semiconductor 1995, chapter 8) at one byte per register.
 *
 *     host --receive()--> input queue --> receiver FIFO (16) --RBR--> guest
 *     host <--ByteSink------------------------- transmitter <--THR--- guest
 *
 * The wire has no speed: a byte written is sent at once, and four character times have always passed, so bytes that wait below the
 * trigger level show as a character timeout. The transmitter is therefore always empty. The input queue is the other end's flow
 * control: the FIFO takes from it only what fits, so nothing is lost but what a guest itself discards or overruns in loopback.
 */

import { SavedReader } from '../base/saved.ts';
import type { Saved } from '../base/saved.ts';
import type { ByteSink } from '../base/ports.ts';
import { ByteRing } from './byte-ring.ts';
import type { AccessSize, InterruptLine, MmioDevice, Placement, TreeNode } from './device.ts';
import { plicInterrupt, regCells } from './fdt/tree-values.ts';
import { MEMORY_MAP } from './memory-map.ts';

/** Bytes from the host that wait for the guest to read. */
export const INPUT_QUEUE_BYTES = 64 * 1024;
/** Depth of the receiver FIFO. */
const FIFO_DEPTH = 16;
/** The baud rate generator's input, as QEMU's machine says; nothing here depends on it. */
const CLOCK_HZ = 3_686_400;

/** Registers (table II). The first two are the divisor latch while LCR.DLAB is set. */
const RBR_THR = 0;
const IER = 1;
const IIR_FCR = 2;
const LCR = 3;
const MCR = 4;
const LSR = 5;
const MSR = 6;
const SCR = 7;

const IER_RECEIVED = 1 << 0;
const IER_THR_EMPTY = 1 << 1;
const IER_LINE_STATUS = 1 << 2;
const IER_MODEM_STATUS = 1 << 3;
const IER_BITS = 0xf;

/** Interrupts by descending priority (table IV); bit 0 clear says that one is pending. */
const IIR_LINE_STATUS = 0x06;
const IIR_RECEIVED = 0x04;
const IIR_TIMEOUT = 0x0c;
const IIR_THR_EMPTY = 0x02;
const IIR_MODEM_STATUS = 0x00;
const IIR_NONE = 0x01;
const IIR_FIFOS_ENABLED = 0xc0;

const FCR_ENABLE = 1 << 0;
const FCR_CLEAR_RECEIVER = 1 << 1;
const FCR_TRIGGER_SHIFT = 6;
const TRIGGER_LEVELS = [1, 4, 8, 14] as const;

const LCR_DLAB = 1 << 7;

const MCR_DTR = 1 << 0;
const MCR_RTS = 1 << 1;
const MCR_OUT1 = 1 << 2;
const MCR_OUT2 = 1 << 3;
const MCR_LOOPBACK = 1 << 4;
const MCR_BITS = 0x1f;

const LSR_DATA_READY = 1 << 0;
const LSR_OVERRUN = 1 << 1;
const LSR_THR_EMPTY = 1 << 5;
const LSR_TRANSMITTER_EMPTY = 1 << 6;

const MSR_CTS = 1 << 4;
const MSR_DSR = 1 << 5;
const MSR_RI = 1 << 6;
const MSR_DCD = 1 << 7;
/** The modem inputs while something is connected: clear to send, data set ready, carrier. */
const MODEM_CONNECTED = MSR_CTS | MSR_DSR | MSR_DCD;
/** The inputs of which MSR notes every change, and the one of which it notes the falling edge. */
const MODEM_ANY_EDGE = MSR_CTS | MSR_DSR | MSR_DCD;
const MODEM_DELTA_SHIFT = 4;

/** The registers and what is behind them. */
interface UartState {
  interruptEnable: number;
  fifosEnabled: boolean;
  /** Index into TRIGGER_LEVELS. */
  trigger: number;
  lineControl: number;
  modemControl: number;
  scratch: number;
  divisor: number;
  overrun: boolean;
  /** THR empty is an event: set when a byte has left or the interrupt gets enabled, cleared by reading it from IIR. */
  thrEmptyPending: boolean;
  /** The same event as the interrupt line shows it. Reading LSR ends it there, though not in IIR: xv6 of 2020 to 2022 never reads IIR,
   *  and a line left high would interrupt it for ever. */
  thrEmptyOnLine: boolean;
  /** MSR bits 3:0. */
  modemDelta: number;
  /** What the receiver holds: at most FIFO_DEPTH bytes, one while the FIFOs are off. */
  received: number[];
}

/** Table III, master reset. */
function masterReset(): UartState {
  return {
    interruptEnable: 0,
    fifosEnabled: false,
    trigger: 0,
    lineControl: 0,
    modemControl: 0,
    scratch: 0,
    divisor: 0,
    overrun: false,
    thrEmptyPending: false,
    thrEmptyOnLine: false,
    modemDelta: 0,
    received: [],
  };
}

export interface UartPorts {
  readonly line: InterruptLine;
  /** What the guest sends. Gets one byte at a time. */
  readonly output: ByteSink;
  /** The input queue, full before, has room again: the host may go on calling `receive`. */
  readonly inputRoom?: () => void;
}

export class Uart16550 implements MmioDevice {
  readonly name = `serial@${MEMORY_MAP.uart.base.toString(16)}`;
  readonly #ports: UartPorts;
  readonly #sent = new Uint8Array(1);

  #state = masterReset();
  /** What the host sent and the receiver has not taken. */
  readonly #queue = new ByteRing(INPUT_QUEUE_BYTES);
  #hostWaits = false;

  constructor(ports: UartPorts) {
    this.#ports = ports;
  }

  /** Takes as many of `bytes` as the input queue has room for and says how many; after fewer than all, `inputRoom` says when to go on. */
  receive(bytes: Uint8Array): number {
    const taken = this.#queue.push(bytes);
    this.#hostWaits = taken < bytes.length;
    this.#fill();
    this.#notify();
    return taken;
  }

  /** Sends bytes past the guest's registers: the console of our own firmware. */
  firmwareWrite(bytes: Uint8Array): void {
    this.#ports.output.write(bytes);
  }

  /** Takes one received byte past the guest's registers, or undefined when there is none. */
  firmwareRead(): number | undefined {
    const byte = this.#take();
    this.#notify();
    return byte;
  }

  /** Back to master reset (table III). Input that the guest has not taken is dropped, as a receiver switched off would. */
  reset(): void {
    this.#state = masterReset();
    this.#queue.clear();
    this.#roomAgain();
    this.#notify();
  }

  read(offset: number, _size: AccessSize): number {
    switch (offset) {
      case RBR_THR: {
        if (this.#divisorLatch()) return this.#state.divisor & 0xff;
        const byte = this.#take();
        this.#notify();
        return byte ?? 0;
      }
      case IER:
        return this.#divisorLatch() ? this.#state.divisor >>> 8 : this.#state.interruptEnable;
      case IIR_FCR: {
        const identification = this.#identification();
        if (identification === IIR_THR_EMPTY) {
          this.#setThrEmpty(false);
          this.#notify();
        }
        return identification | (this.#state.fifosEnabled ? IIR_FIFOS_ENABLED : 0);
      }
      case LCR:
        return this.#state.lineControl;
      case MCR:
        return this.#state.modemControl;
      case LSR: {
        const status =
          LSR_THR_EMPTY |
          LSR_TRANSMITTER_EMPTY |
          (this.#state.received.length > 0 ? LSR_DATA_READY : 0) |
          (this.#state.overrun ? LSR_OVERRUN : 0);
        this.#state.overrun = false;
        this.#state.thrEmptyOnLine = false;
        this.#notify();
        return status;
      }
      case MSR: {
        const status = this.#modemInputs() | this.#state.modemDelta;
        this.#state.modemDelta = 0;
        this.#notify();
        return status;
      }
      case SCR:
        return this.#state.scratch;
      default:
        return 0;
    }
  }

  write(offset: number, _size: AccessSize, value: number): void {
    const byte = value & 0xff;
    switch (offset) {
      case RBR_THR:
        if (this.#divisorLatch()) this.#state.divisor = (this.#state.divisor & 0xff00) | byte;
        else this.#send(byte);
        break;
      case IER:
        if (this.#divisorLatch()) this.#state.divisor = (this.#state.divisor & 0xff) | (byte << 8);
        else this.#enableInterrupts(byte & IER_BITS);
        break;
      case IIR_FCR:
        this.#controlFifos(byte);
        break;
      case LCR:
        this.#state.lineControl = byte;
        break;
      case MCR:
        this.#controlModem(byte & MCR_BITS);
        break;
      case SCR:
        this.#state.scratch = byte;
        break;
    }
    this.#notify();
  }

  save(): Saved {
    return { ...this.#state, received: Uint8Array.from(this.#state.received), queue: this.#queue.toBytes() };
  }

  restore(state: Saved): void {
    const reader = new SavedReader(state, this.name);
    const fifosEnabled = reader.field('fifosEnabled').boolean();
    const received = reader.field('received').bytes();
    if (received.length > (fifosEnabled ? FIFO_DEPTH : 1))
      reader.field('received').refuse('has more bytes than the receiver holds');
    const queue = reader.field('queue').bytes();
    if (queue.length > INPUT_QUEUE_BYTES) reader.field('queue').refuse(`has more than ${INPUT_QUEUE_BYTES} bytes`);

    this.#state = {
      interruptEnable: reader.field('interruptEnable').integer(0, IER_BITS),
      fifosEnabled,
      trigger: reader.field('trigger').integer(0, TRIGGER_LEVELS.length - 1),
      lineControl: reader.field('lineControl').integer(0, 0xff),
      modemControl: reader.field('modemControl').integer(0, MCR_BITS),
      scratch: reader.field('scratch').integer(0, 0xff),
      divisor: reader.field('divisor').integer(0, 0xffff),
      overrun: reader.field('overrun').boolean(),
      thrEmptyPending: reader.field('thrEmptyPending').boolean(),
      thrEmptyOnLine: reader.field('thrEmptyOnLine').boolean(),
      modemDelta: reader.field('modemDelta').integer(0, 0xf),
      received: [...received],
    };
    this.#queue.clear();
    this.#queue.push(queue);
    this.#roomAgain();
    this.#notify();
  }

  #divisorLatch(): boolean {
    return (this.#state.lineControl & LCR_DLAB) !== 0;
  }

  #loopback(): boolean {
    return (this.#state.modemControl & MCR_LOOPBACK) !== 0;
  }

  #capacity(): number {
    return this.#state.fifosEnabled ? FIFO_DEPTH : 1;
  }

  /** Section 8.6.7 (loopback): what is sent is received; the wire sees nothing of it. */
  #send(byte: number): void {
    if (this.#loopback()) {
      if (this.#state.received.length < this.#capacity()) this.#state.received.push(byte);
      else this.#state.overrun = true;
    } else {
      this.#sent[0] = byte;
      this.#ports.output.write(this.#sent);
    }
    this.#setThrEmpty(true);
  }

  #setThrEmpty(pending: boolean): void {
    this.#state.thrEmptyPending = pending;
    this.#state.thrEmptyOnLine = pending;
  }

  /** Enabling the THR-empty interrupt while THR is empty, as it always is, brings one: drivers start sending that way. */
  #enableInterrupts(enable: number): void {
    const changed = this.#state.interruptEnable ^ enable;
    this.#state.interruptEnable = enable;
    if ((changed & IER_THR_EMPTY) !== 0) this.#setThrEmpty((enable & IER_THR_EMPTY) !== 0);
  }

  /** Section 8.5: turning the FIFOs on or off empties them; the other bits count only while bit 0 is written as 1. */
  #controlFifos(value: number): void {
    const enable = (value & FCR_ENABLE) !== 0;
    if (enable !== this.#state.fifosEnabled) this.#state.received = [];
    this.#state.fifosEnabled = enable;
    this.#state.trigger = enable ? value >>> FCR_TRIGGER_SHIFT : 0;
    if (enable && (value & FCR_CLEAR_RECEIVER) !== 0) this.#state.received = [];
    this.#fill();
  }

  #controlModem(value: number): void {
    const before = this.#modemInputs();
    this.#state.modemControl = value;
    const after = this.#modemInputs();
    this.#state.modemDelta |= (((before ^ after) & MODEM_ANY_EDGE) | (before & ~after & MSR_RI)) >>> MODEM_DELTA_SHIFT;
    this.#fill();
  }

  /** MSR bits 7:4: the other end is always there; in loopback the inputs are the outputs of MCR. */
  #modemInputs(): number {
    if (!this.#loopback()) return MODEM_CONNECTED;
    const outputs = this.#state.modemControl;
    return (
      ((outputs & MCR_RTS) !== 0 ? MSR_CTS : 0) |
      ((outputs & MCR_DTR) !== 0 ? MSR_DSR : 0) |
      ((outputs & MCR_OUT1) !== 0 ? MSR_RI : 0) |
      ((outputs & MCR_OUT2) !== 0 ? MSR_DCD : 0)
    );
  }

  /** Moves bytes from the host's queue into the receiver. In loopback the receiver is cut off from the wire. */
  #fill(): void {
    while (!this.#loopback() && this.#state.received.length < this.#capacity()) {
      const byte = this.#queue.shift();
      if (byte === undefined) break;
      this.#state.received.push(byte);
    }
    this.#roomAgain();
  }

  /** Half a queue of room is worth waking the host for. */
  #roomAgain(): void {
    if (!this.#hostWaits || this.#queue.length > INPUT_QUEUE_BYTES / 2) return;
    this.#hostWaits = false;
    this.#ports.inputRoom?.();
  }

  #take(): number | undefined {
    const byte = this.#state.received.shift();
    this.#fill();
    return byte;
  }

  /** Table IV: the pending interrupt of the highest priority. */
  #identification(): number {
    const enabled = this.#state.interruptEnable;
    if ((enabled & IER_LINE_STATUS) !== 0 && this.#state.overrun) return IIR_LINE_STATUS;
    if ((enabled & IER_RECEIVED) !== 0 && this.#state.received.length > 0) {
      const trigger = this.#state.fifosEnabled ? TRIGGER_LEVELS[this.#state.trigger]! : 1;
      return this.#state.received.length >= trigger ? IIR_RECEIVED : IIR_TIMEOUT;
    }
    if ((enabled & IER_THR_EMPTY) !== 0 && this.#state.thrEmptyPending) return IIR_THR_EMPTY;
    if ((enabled & IER_MODEM_STATUS) !== 0 && this.#state.modemDelta !== 0) return IIR_MODEM_STATUS;
    return IIR_NONE;
  }

  #notify(): void {
    const pending = this.#identification();
    const { thrEmptyOnLine, modemDelta, interruptEnable } = this.#state;
    const seenOnLine = thrEmptyOnLine || ((interruptEnable & IER_MODEM_STATUS) !== 0 && modemDelta !== 0);
    this.#ports.line.set(pending === IIR_THR_EMPTY ? seenOnLine : pending !== IIR_NONE);
  }
}

/** The node of the device tree (binding: serial/8250). */
export function uartNode(placement: Placement, source: number): TreeNode {
  return {
    name: `serial@${placement.base.toString(16)}`,
    properties: {
      compatible: 'ns16550a',
      reg: regCells(placement),
      'clock-frequency': CLOCK_HZ,
      ...plicInterrupt(source),
    },
  };
}
