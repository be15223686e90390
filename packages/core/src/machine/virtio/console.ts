/**
 * The console device (virtio 1.3, 5.3) with several ports: terminals and named byte streams between the guest and the host.
 *
 *     queues: 0, 1 port 0 (to the guest, from the guest)   2, 3 control   4, 5 port 1   6, 7 port 2 ...
 *
 * A driver that knows only one port (no MULTIPORT) gets port 0, and has it open while it is there. Control messages of the driver are
 * taken at once in any case: Linux spins until they are.
 */

import { assert } from '../../base/assert.ts';
import type { Saved } from '../../base/saved.ts';
import { SavedReader } from '../../base/saved.ts';
import type { AccessSize } from '../device.ts';
import { CONSOLE_EVENT, ControlMailbox, readControlMessage } from './console-control.ts';
import type { ControlMessage, DeviceEvent } from './console-control.ts';
import { ConsolePort } from './console-port.ts';
import type { PortOwner } from './console-port.ts';
import type { Virtqueue } from './queue.ts';
import { VIRTIO_ID, readLittleEndian } from './virtio-device.ts';
import type { VirtioDevice, VirtioDriver } from './virtio-device.ts';

/** Feature bits (5.3.3). */
export const VIRTIO_CONSOLE_F = { SIZE: 0, MULTIPORT: 1, EMERG_WRITE: 2 } as const;

/** Ports that one device may have; QEMU's limit. */
export const MAXIMUM_PORTS = 31;
/** Linux fills every receive queue with pages: these keep that small. */
const RECEIVE_QUEUE_SIZE = 16;
const TRANSMIT_QUEUE_SIZE = 64;
const CONTROL_QUEUE_SIZE = 32;

const CONTROL_RECEIVE = 2;
const CONTROL_TRANSMIT = 3;

/** struct virtio_console_config (5.3.4). */
const CONFIGURATION = { columns: 0, rows: 2, maxPorts: 4, emergencyWrite: 8, end: 12 };

const NOTHING = new Uint8Array(0);

export interface PortDescription {
  readonly name: string;
  /** A terminal of the guest; otherwise a plain stream. */
  readonly console?: boolean;
}

export class VirtioConsole implements VirtioDevice, PortOwner {
  readonly kind = 'virtio-console';
  readonly deviceType = VIRTIO_ID.CONSOLE;
  readonly features = Object.values(VIRTIO_CONSOLE_F);
  readonly queueSizes: readonly number[];
  readonly ports: readonly ConsolePort[];
  readonly #mailbox: ControlMailbox;
  #driver: VirtioDriver | undefined;
  /** The driver can receive control messages, and was told of all ports. */
  #driverReady = false;
  /** Ports that the driver has set up. */
  #portsReady: boolean[];
  #quiesced = false;

  /** Port 0 is the one that a driver without MULTIPORT gets. */
  constructor(ports: readonly PortDescription[]) {
    assert(ports.length > 0 && ports.length <= MAXIMUM_PORTS, `a console device cannot have ${ports.length} ports`);
    this.ports = ports.map(({ name, console }, index) => new ConsolePort(index, name, console === true, this));
    const data = [RECEIVE_QUEUE_SIZE, TRANSMIT_QUEUE_SIZE];
    this.queueSizes = [...data, CONTROL_QUEUE_SIZE, CONTROL_QUEUE_SIZE, ...ports.slice(1).flatMap(() => data)];
    this.#mailbox = new ControlMailbox((port, event) => this.#payload(port, event));
    this.#portsReady = ports.map(() => false);
  }

  attach(driver: VirtioDriver): void {
    this.#driver = driver;
    for (const [index, port] of this.ports.entries()) {
      // The control queues come after those of port 0.
      const first = index === 0 ? 0 : 2 + 2 * index;
      const [receive, transmit] = driver.queues.slice(first, first + 2);
      if (receive !== undefined && transmit !== undefined) port.attach(receive, transmit);
    }
  }

  activate(): void {
    // Nothing came before that: a fresh ring begins at 0.
    if (!this.#multiport) this.ports[0]?.guestToggled(true, 0);
    this.#lookAtEverything();
  }

  notify(queueIndex: number): void {
    if (queueIndex === CONTROL_TRANSMIT) this.#takeControl();
    else if (queueIndex === CONTROL_RECEIVE) this.#sendControl();
    else {
      const port = this.ports[queueIndex < CONTROL_RECEIVE ? 0 : (queueIndex >> 1) - 1];
      if (queueIndex % 2 === 0) port?.give();
      else port?.take();
    }
  }

  readConfiguration(offset: number, size: AccessSize): number {
    const bytes = new Uint8Array(CONFIGURATION.end);
    const fields = new DataView(bytes.buffer);
    fields.setUint16(CONFIGURATION.columns, this.ports[0]?.columns ?? 0, true);
    fields.setUint16(CONFIGURATION.rows, this.ports[0]?.rows ?? 0, true);
    fields.setUint32(CONFIGURATION.maxPorts, this.ports.length, true);
    return readLittleEndian(bytes, offset, size);
  }

  /** An emergency write is one character for the console, at any time (5.3.5). */
  writeConfiguration(offset: number, _size: AccessSize, value: number): void {
    if (offset === CONFIGURATION.emergencyWrite) this.ports[0]?.onData?.(Uint8Array.of(value & 0xff));
    else this.#driver?.complain('the driver wrote to a part of the configuration that is read-only');
  }

  reset(): undefined {
    this.#driverReady = false;
    this.#portsReady = this.ports.map(() => false);
    this.#mailbox.clear();
    for (const port of this.ports) port.reset();
  }

  resetQueue(queueIndex: number): undefined {
    const port = queueIndex === 1 ? 0 : (queueIndex >> 1) - 1;
    if (queueIndex % 2 === 1 && queueIndex !== CONTROL_TRANSMIT) this.ports[port]?.transmitReset();
  }

  /** Nothing is ever under way here; but from now on what the host does must not reach the guest. */
  quiesce(): Promise<void> {
    this.#quiesced = true;
    for (const port of this.ports) port.quiesce();
    return Promise.resolve();
  }

  resume(): void {
    this.#quiesced = false;
    for (const port of this.ports) port.resumeDevice();
    this.#lookAtEverything();
  }

  save(): Saved {
    return {
      driverReady: this.#driverReady,
      portsReady: [...this.#portsReady],
      mailbox: this.#mailbox.save(),
      ports: this.ports.map((port) => port.save()),
    };
  }

  restore(state: Saved): void {
    const reader = new SavedReader(state, this.kind);
    const driverReady = reader.field('driverReady').boolean();
    const portsReady = reader
      .field('portsReady')
      .list(this.ports.length)
      .map((item) => item.boolean());
    const restoreMailbox = this.#mailbox.restorer(reader.field('mailbox'), this.ports.length);
    const portReaders = reader.field('ports').list(this.ports.length);
    const restorePorts = this.ports.map((port, index) => port.restorer(portReaders[index] ?? reader));
    this.#driverReady = driverReady;
    this.#portsReady = portsReady;
    restoreMailbox();
    for (const restorePort of restorePorts) restorePort();
  }

  hostOpenChanged(port: ConsolePort): void {
    // Before that the driver learns it with everything else about the port.
    if (this.#portsReady[port.index] === true) this.#post(port, CONSOLE_EVENT.PORT_OPEN, Number(port.hostOpen));
  }

  complain(reason: string): void {
    this.#driver?.complain(reason);
  }

  broke(error: unknown): void {
    this.#driver?.broke(error);
  }

  sizeChanged(port: ConsolePort): void {
    if (port.index === 0) this.#driver?.configurationChanged();
    if (port.isConsole && this.#portsReady[port.index] === true) this.#post(port, CONSOLE_EVENT.RESIZE, 0);
  }

  get #multiport(): boolean {
    return this.#driver?.accepted(VIRTIO_CONSOLE_F.MULTIPORT) === true;
  }

  #lookAtEverything(): void {
    this.#takeControl();
    this.#sendControl();
    for (const port of this.ports) {
      port.take();
      port.give();
    }
  }

  #queue(index: number): Virtqueue | undefined {
    return this.#multiport && !this.#quiesced ? this.#driver?.queues[index] : undefined;
  }

  #takeControl(): void {
    const queue = this.#queue(CONTROL_TRANSMIT);
    for (;;) {
      const chain = queue?.pop();
      if (chain === undefined) return;
      const message = readControlMessage(chain);
      if (message === undefined) this.#driver?.complain('a control message is too short');
      else this.#act(message);
      queue?.complete(chain, 0);
    }
  }

  #act({ port: index, event, value }: ControlMessage): void {
    if (event === CONSOLE_EVENT.DEVICE_READY) {
      if (value === 1) this.#announce();
      else this.#driver?.complain('the driver could not set up the console');
      return;
    }
    const port = this.ports[index];
    if (port === undefined) this.#driver?.complain(`a control message is about port ${index}, which does not exist`);
    else if (event === CONSOLE_EVENT.PORT_OPEN) port.guestToggled(value !== 0);
    else if (event !== CONSOLE_EVENT.PORT_READY)
      this.#driver?.complain(`a control message has event ${event}, which no driver sends`);
    else if (value === 1) this.#describe(port);
    else this.#driver?.complain(`the driver could not set up port ${index}`);
  }

  /** Tells the driver of all ports, once. */
  #announce(): void {
    if (this.#driverReady) return;
    this.#driverReady = true;
    for (const port of this.ports) this.#post(port, CONSOLE_EVENT.DEVICE_ADD, 0);
  }

  /** Tells the driver what a port is. The name goes last: when the guest sees it, everything else is known already. */
  #describe(port: ConsolePort): void {
    this.#portsReady[port.index] = true;
    if (port.isConsole) {
      this.#post(port, CONSOLE_EVENT.CONSOLE_PORT, 1);
      if (port.columns > 0) this.#post(port, CONSOLE_EVENT.RESIZE, 0);
    }
    if (port.hostOpen) this.#post(port, CONSOLE_EVENT.PORT_OPEN, 1);
    this.#post(port, CONSOLE_EVENT.PORT_NAME, 1);
  }

  #post(port: ConsolePort, event: DeviceEvent, value: number): void {
    this.#mailbox.post(port.index, event, value);
    this.#sendControl();
  }

  #sendControl(): void {
    const queue = this.#queue(CONTROL_RECEIVE);
    if (queue !== undefined) this.#mailbox.send(queue);
  }

  #payload(index: number, event: DeviceEvent): Uint8Array {
    const port = this.ports[index];
    if (port === undefined) return NOTHING;
    if (event === CONSOLE_EVENT.PORT_NAME) return new TextEncoder().encode(port.name);
    if (event !== CONSOLE_EVENT.RESIZE) return NOTHING;
    // Columns first, as the specification has it; older kernels read them the wrong way round.
    const size = new Uint8Array(4);
    new DataView(size.buffer).setUint16(0, port.columns, true);
    new DataView(size.buffer).setUint16(2, port.rows, true);
    return size;
  }
}
