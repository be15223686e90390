/**
 * One port of a console device: a byte stream each way between the host and the guest, and who has it open.
 *
 *     host --write--> queue (bounded) --> receiveq --> guest          transmitq --> onData --> host
 *     host --close--> PORT_OPEN 0, after the last byte                PORT_OPEN 0 --> onClose, after the last byte
 *
 * Data and control travel on different queues. So that nothing overtakes, an opening or closing by the guest is noted together with how
 * far the guest had filled its transmit queue, and takes effect when the port has got there. Nothing of the guest's is kept here: what
 * the host does not take (`pause`) stays in the guest's ring.
 */

import { assert } from '../../base/assert.ts';
import { KiB } from '../../base/numbers.ts';
import type { Saved, SavedReader } from '../../base/saved.ts';
import { ByteRing } from '../byte-ring.ts';
import type { Virtqueue } from './queue.ts';

/** Bytes for the guest that wait until it takes them. */
export const PORT_QUEUE_BYTES = 64 * KiB;
/** `onData` gets no more than this at once. */
export const PORT_CHUNK_BYTES = 32 * KiB;
/**
 * Bytes that the guest may write at once. No driver comes near; one that lays the same memory into a buffer again and again would keep the
 * host busy for minutes.
 */
export const MAXIMUM_WRITE_BYTES = 16 * 1024 * KiB;
const MAXIMUM_TERMINAL_SIDE = 0xffff;

/** What a port tells its device. */
export interface PortOwner {
  /** `hostOpen` changed. */
  hostOpenChanged(port: ConsolePort): void;
  sizeChanged(port: ConsolePort): void;
  /** The driver broke a rule and the port goes on. */
  complain(reason: string): void;
  /** See VirtioDriver. */
  broke(error: unknown): void;
}

/** The guest opened or closed the port when its transmit queue was filled up to `at`. */
interface Toggle {
  readonly at: number;
  readonly open: boolean;
}

export class ConsolePort {
  readonly index: number;
  /** How the guest finds it: `/dev/virtio-ports/NAME`. */
  readonly name: string;
  /** A terminal of the guest (`/dev/hvcN`) rather than a plain stream. */
  readonly isConsole: boolean;

  /** Bytes that the guest wrote; the array is the host's to keep. Without a taker they are dropped. */
  onData: ((bytes: Uint8Array) => void) | undefined;
  /** A program of the guest opened the port. */
  onOpen: (() => void) | undefined;
  /** The guest closed the port, or reset the device; all that it wrote before was given to `onData`. */
  onClose: (() => void) | undefined;

  readonly #owner: PortOwner;
  #receive: Virtqueue | undefined;
  #transmit: Virtqueue | undefined;

  // Towards the guest.
  readonly #queue = new ByteRing(PORT_QUEUE_BYTES);
  /** The host has closed the port and its last bytes are still in the queue. */
  #ending = false;
  #hostOpen = true;
  #waiters: (() => void)[] = [];

  // From the guest.
  #paused = false;
  /** Bytes of the chain at the transmit queue's position that were given to `onData` already. */
  #consumed = 0;
  /** INVARIANT: by ascending `at`, at most two of the same. */
  #toggles: Toggle[] = [];
  /** The state that `onOpen` and `onClose` have told. */
  #toldOpen = false;
  #taking = false;

  #columns = 0;
  #rows = 0;
  #quiesced = false;

  constructor(index: number, name: string, isConsole: boolean, owner: PortOwner) {
    this.index = index;
    this.name = name;
    this.isConsole = isConsole;
    this.#owner = owner;
  }

  // The host's side.

  /** Queues bytes for the guest and says how many it took; with less than all of them, wait for `writable`. */
  write(bytes: Uint8Array): number {
    assert(this.#hostOpen && !this.#ending, `port ${this.name} was written to after it was closed`);
    const taken = this.#queue.push(bytes);
    this.#guarded(() => this.give());
    return taken;
  }

  /** Resolves when at least half of the queue is free. */
  async writable(): Promise<void> {
    while (this.#queue.length > PORT_QUEUE_BYTES / 2) await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  /** End of input: the guest reads end-of-file after the last byte. Linux then also stops programs that write to the port. */
  close(): void {
    this.#ending = this.#hostOpen;
    this.#guarded(() => this.give());
  }

  /** Opens the port again after `close`. */
  open(): void {
    this.#ending = false;
    this.#setHostOpen(true);
  }

  /** Drops what is queued for the guest: whoever it was meant for is gone. */
  discard(): void {
    this.#queue.clear();
    this.#guarded(() => this.give());
  }

  /** Whoever is on the host's side cannot help it that the guest's memory does not work. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#owner.broke(error);
    }
  }

  /** Takes no more from the guest until `resume`. At most the rest of one chunk still comes. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#guarded(() => this.take());
  }

  /** The size of the terminal, for a console port. */
  resize(columns: number, rows: number): void {
    const side = (value: number): boolean => Number.isInteger(value) && value >= 0 && value <= MAXIMUM_TERMINAL_SIDE;
    assert(side(columns) && side(rows), `a terminal cannot have ${columns} columns and ${rows} rows`);
    if (columns === this.#columns && rows === this.#rows) return;
    this.#columns = columns;
    this.#rows = rows;
    this.#owner.sizeChanged(this);
  }

  get columns(): number {
    return this.#columns;
  }

  get rows(): number {
    return this.#rows;
  }

  /** Whether the guest sees the host's end as open. */
  get hostOpen(): boolean {
    return this.#hostOpen;
  }

  /** Whether the guest has it open, by its newest word. */
  get guestOpen(): boolean {
    return this.#toggles.at(-1)?.open ?? this.#toldOpen;
  }

  // The device's side.

  attach(receive: Virtqueue, transmit: Virtqueue): void {
    this.#receive = receive;
    this.#transmit = transmit;
  }

  /** The guest says that it has the port open, or no longer; what it wrote up to index `at` of its ring came before. */
  guestToggled(open: boolean, at = this.#transmit?.availableIndex() ?? 0): void {
    if (open !== this.guestOpen) {
      const [older, newer] = this.#toggles.slice(-2);
      // A third change of mind at the same place takes the second back: what was before it and how it is now is all that matters.
      if (newer !== undefined && older?.at === at && newer.at === at) this.#toggles.pop();
      else this.#toggles.push({ at, open });
    }
    this.take();
    this.give();
  }

  /** Gives the guest what is queued, as far as it has buffers and the port open. */
  give(): void {
    const receive = this.#receive;
    while (receive !== undefined && this.#queue.length > 0 && this.guestOpen && !this.#quiesced) {
      const chain = receive.pop();
      if (chain === undefined) break;
      const bytes = new Uint8Array(Math.min(chain.writable.bytes, this.#queue.length));
      this.#queue.take(bytes);
      chain.writable.copyFrom(bytes);
      receive.complete(chain, bytes.length);
    }
    if (this.#queue.length <= PORT_QUEUE_BYTES / 2) for (const resolve of this.#waiters.splice(0)) resolve();
    if (this.#queue.length === 0 && this.#ending) {
      this.#ending = false;
      this.#setHostOpen(false);
    }
  }

  /** Takes what the guest wrote, and acts on openings and closings when it gets to them. */
  take(): void {
    // A callback may come back here; the loop that called it goes on anyway.
    if (this.#taking) return;
    this.#taking = true;
    try {
      while (this.#takeOne());
    } finally {
      this.#taking = false;
    }
  }

  /** Does the next thing there is; false when there is none. */
  #takeOne(): boolean {
    const transmit = this.#transmit;
    if (transmit === undefined || this.#quiesced) return false;
    const [toggle] = this.#toggles;
    if (toggle !== undefined && (toggle.at === transmit.position || !transmit.enabled)) {
      this.#toggles.shift();
      this.#tell(toggle.open);
      return true;
    }
    const chain = this.#paused ? undefined : transmit.pop();
    if (chain === undefined) return false;
    if (chain.readable.bytes > MAXIMUM_WRITE_BYTES) {
      this.#owner.complain(`the driver wrote ${chain.readable.bytes} bytes to port ${this.name} at once`);
      transmit.complete(chain, 0);
      return true;
    }
    while (this.#consumed < chain.readable.bytes && !this.#paused && transmit.awaits(chain)) {
      const chunk = new Uint8Array(Math.min(PORT_CHUNK_BYTES, chain.readable.bytes - this.#consumed));
      chain.readable.copyTo(chunk, this.#consumed);
      this.#consumed += chunk.length;
      this.onData?.(chunk);
    }
    // A reset within onData has forgotten the chain and begun anew.
    if (!transmit.awaits(chain)) return true;
    if (this.#consumed < chain.readable.bytes) {
      transmit.undo(chain);
      return false;
    }
    this.#consumed = 0;
    transmit.complete(chain, 0);
    return true;
  }

  /** The driver reset the transmit queue: what was in it is gone, and what waited for it happens now. */
  transmitReset(): void {
    this.#consumed = 0;
    this.take();
  }

  /** The driver reset the device. What the host queued, closed or sized is the host's and stays. */
  reset(): void {
    this.#consumed = 0;
    this.#toggles = [];
    this.#tell(false);
  }

  quiesce(): void {
    this.#quiesced = true;
  }

  resumeDevice(): void {
    this.#quiesced = false;
    this.take();
    this.give();
  }

  #tell(open: boolean): void {
    if (open === this.#toldOpen) return;
    this.#toldOpen = open;
    if (open) this.onOpen?.();
    else this.onClose?.();
  }

  #setHostOpen(open: boolean): void {
    if (open === this.#hostOpen) return;
    this.#hostOpen = open;
    this.#owner.hostOpenChanged(this);
  }

  save(): Saved {
    return {
      queue: this.#queue.toBytes(),
      ending: this.#ending,
      hostOpen: this.#hostOpen,
      consumed: this.#consumed,
      toggles: this.#toggles.map((toggle) => ({ ...toggle })),
      toldOpen: this.#toldOpen,
      columns: this.#columns,
      rows: this.#rows,
    };
  }

  /** Checks what `save` gave and returns what takes it over. Callbacks do not hear of it. */
  restorer(reader: SavedReader): () => void {
    const queue = reader.field('queue').bytes();
    const ending = reader.field('ending').boolean();
    const hostOpen = reader.field('hostOpen').boolean();
    const consumed = reader.field('consumed').integer(0, MAXIMUM_WRITE_BYTES);
    const toggles = reader
      .field('toggles')
      .list()
      .map((item) => ({ at: item.field('at').integer(0, 0xffff), open: item.field('open').boolean() }));
    const toldOpen = reader.field('toldOpen').boolean();
    const columns = reader.field('columns').integer(0, MAXIMUM_TERMINAL_SIDE);
    const rows = reader.field('rows').integer(0, MAXIMUM_TERMINAL_SIDE);
    if (queue.length > PORT_QUEUE_BYTES) reader.field('queue').refuse(`has more than ${PORT_QUEUE_BYTES} bytes`);
    if (ending && !hostOpen) reader.field('ending').refuse('says that a closed port is being closed');
    const mostToggles = 2 * ((this.#transmit?.maximumSize ?? 0) + 1);
    if (toggles.length > mostToggles) reader.field('toggles').refuse(`has more than ${mostToggles} elements`);
    return () => {
      this.#queue.clear();
      this.#queue.push(queue);
      this.#ending = ending;
      this.#hostOpen = hostOpen;
      this.#consumed = consumed;
      this.#toggles = toggles;
      this.#toldOpen = toldOpen;
      this.#columns = columns;
      this.#rows = rows;
    };
  }
}
