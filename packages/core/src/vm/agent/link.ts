/**
 * The connection to the agent: it begins when the agent opens its port, and ends when either side closes it. Each side answers the other's
 * closing with its own before it opens the port again, so nothing of one connection gets into the next:
 *
 *     waiting --guest opens--> greeting --hello--> ready --guest closes--> waiting
 *        ^                        |                  |
 *        |   guest closes         v  what cannot be  v
 *        +-------------------- parting: the host's end is closed
 */

import { assert } from '../../base/assert.ts';
import { AgentError } from './agent-error.ts';
import { Channel } from './channel.ts';
import type { AgentHello, AgentPort, AgentWorld } from './guest-agent.ts';
import { GuestMessageDecoder, ProtocolViolation, type GuestMessage } from './guest-message.ts';
import {
  GREETING_MS,
  HOST_WINDOW_BYTES,
  MAXIMUM_GUEST_WINDOW_BYTES,
  MAXIMUM_OUTBOX_BYTES,
  NOTICE_MS,
} from './limits.ts';
import { Outbox } from './outbox.ts';
import {
  FRAME,
  HELLO_MAGIC,
  HIGHEST_VERSION,
  LOWEST_VERSION,
  MAXIMUM_PAYLOAD_BYTES,
  REQUEST_GOES_ON,
} from './protocol.ts';
import { WireWriter } from './wire.ts';

export interface LinkEvents {
  readonly ready: (hello: AgentHello) => void;
  /** There was a connection, or nearly; now there is none. */
  readonly lost: (error: AgentError) => void;
  /** The agent said something. */
  readonly heard: () => void;
}

/** A connection at a moment when nothing was under way on it, for who goes on with a copy of that guest. */
export interface AgentConnection {
  readonly hello: AgentHello;
  readonly windowBytes: number;
  readonly nextChannel: number;
}

/** Who spoke to the agent before: nobody knows; nobody, and it has its port open; or we, and its guest is a copy of the one that we spoke to. */
export type SpokenBefore = 'unknown' | 'nobody' | AgentConnection;

type State = 'waiting' | 'greeting' | 'ready' | 'parting' | 'closed';

const NOTHING = new Uint8Array(0);

export class AgentLink {
  readonly #port: AgentPort;
  readonly #timers: AgentWorld['timers'];
  readonly #events: LinkEvents;
  readonly #channels = new Map<number, Channel>();
  #state: State = 'waiting';
  #decoder = new GuestMessageDecoder();
  #outbox: Outbox;
  #nextChannel = 1;
  #guestWindowBytes = 0;
  /** What the agent said last when it greeted. */
  #hello: AgentHello | undefined;
  /** Who hears the greeting is an agent that is known, and nobody else has spoken to it: it takes requests at once. */
  #isKnown = false;
  #cancelAlarm: () => void = () => {};

  constructor(port: AgentPort, timers: AgentWorld['timers'], events: LinkEvents, before: SpokenBefore) {
    this.#port = port;
    this.#timers = timers;
    this.#events = events;
    this.#outbox = new Outbox(port);
    port.onData = (bytes) => this.#hear(bytes);
    port.onOpen = () => this.#opened();
    port.onClose = () => this.#closed();
    if (!port.guestOpen) {
      port.discard();
      port.open();
    } else if (before === 'nobody' && port.hostOpen) {
      this.#isKnown = true;
      this.#opened();
    } else if (typeof before === 'object' && port.hostOpen) this.#goOn(before);
    // What an agent heard from somebody before us cannot be known: it is to begin anew.
    else if (port.hostOpen) this.#part();
    else this.#resume();
  }

  get isReady(): boolean {
    return this.#state === 'ready';
  }

  /** Whether requests may be made: an agent that is known takes those that follow the greeting. */
  get takesRequests(): boolean {
    return this.isReady || (this.#isKnown && this.#state === 'greeting');
  }

  /** For who goes on with a copy of the guest as it is now; undefined when something is under way that is not the copy's. */
  get connection(): AgentConnection | undefined {
    const isAtRest = this.#channels.size === 0 && this.#outbox.bytes === 0 && this.#decoder.isEmpty;
    if (!this.isReady || this.#hello === undefined || !isAtRest) return undefined;
    return { hello: this.#hello, windowBytes: this.#guestWindowBytes, nextChannel: this.#nextChannel };
  }

  /** Whether a process or a copy is under way. */
  get isBusy(): boolean {
    return [...this.#channels.values()].some(({ kind }) => kind === 'process');
  }

  /** The connection is of no use any more. */
  abandon(error: AgentError): void {
    if (this.#state === 'ready') this.#giveUp(error);
  }

  /** Opens a channel with a request. */
  open(
    type: number,
    kind: 'request' | 'process',
    request: Uint8Array,
    failure: (stage: number, errno: number, about: string) => AgentError,
  ): Channel {
    assert(this.takesRequests, 'a channel was opened without a connection');
    const owner = {
      send: (frameType: number, stream: number, channel: number, payload: Uint8Array = NOTHING) =>
        this.#send(frameType, stream, channel, payload),
      over: ({ id }: Channel) => void this.#channels.delete(id),
    };
    const channel = new Channel(this.#nextChannel++, kind, owner, this.#guestWindowBytes, failure);
    this.#channels.set(channel.id, channel);
    let rest = request;
    while (rest.length > MAXIMUM_PAYLOAD_BYTES) {
      this.#send(type, REQUEST_GOES_ON, channel.id, rest.subarray(0, MAXIMUM_PAYLOAD_BYTES));
      rest = rest.subarray(MAXIMUM_PAYLOAD_BYTES);
    }
    this.#send(type, 0, channel.id, rest);
    return channel;
  }

  /** Ends everything and gives the port up. */
  close(): void {
    if (this.#state === 'closed') return;
    this.#end(new AgentError('closed', "The connection to the guest's agent was closed."));
    this.#state = 'closed';
    this.#cancelAlarm();
    this.#port.onData = undefined;
    this.#port.onOpen = undefined;
    this.#port.onClose = undefined;
    this.#port.discard();
    this.#port.close();
  }

  #send(type: number, stream: number, channel: number, payload: Uint8Array): void {
    if (this.#state !== 'ready' && this.#state !== 'greeting') return;
    this.#outbox.send(type, stream, channel, payload);
    if (this.#outbox.bytes > MAXIMUM_OUTBOX_BYTES)
      this.#giveUp(new AgentError('lost', "The guest's agent does not take what it is sent."));
  }

  #opened(): void {
    if (this.#state !== 'waiting') return;
    this.#state = 'greeting';
    this.#decoder = new GuestMessageDecoder();
    this.#outbox = new Outbox(this.#port);
    const hello = new WireWriter()
      .bytes(new TextEncoder().encode(HELLO_MAGIC))
      .u16(LOWEST_VERSION)
      .u16(HIGHEST_VERSION)
      .u32(HOST_WINDOW_BYTES);
    this.#send(FRAME.HELLO, 0, 0, hello.take());
    // It is there, and who asks has patience of his own.
    if (this.#isKnown) return;
    this.#alarm(GREETING_MS, () => {
      if (this.#state === 'greeting') this.#part();
    });
  }

  #goOn({ hello, windowBytes, nextChannel }: AgentConnection): void {
    this.#decoder = new GuestMessageDecoder('greeted');
    this.#nextChannel = nextChannel;
    this.#become(hello, windowBytes);
  }

  /**
   * Somebody before us has closed the host's end, and the agent has its own open. It closes it when it notices, or has done so and opened
   * it again; the second when nothing happens.
   */
  #resume(): void {
    this.#state = 'parting';
    this.#alarm(NOTICE_MS, () => {
      if (this.#state !== 'parting') return;
      this.#state = 'waiting';
      this.#port.discard();
      this.#port.open();
      this.#opened();
    });
  }

  /** Rings once, unless another alarm is set or the link is closed before. */
  #alarm(delayMs: number, ring: () => void): void {
    this.#cancelAlarm();
    this.#cancelAlarm = this.#timers.after(delayMs, ring);
  }

  #closed(): void {
    const before = this.#state;
    this.#end(new AgentError('lost', "The guest's agent has ended."));
    this.#state = 'waiting';
    this.#cancelAlarm();
    this.#port.discard();
    if (before === 'parting') this.#port.open();
  }

  #hear(bytes: Uint8Array): void {
    this.#events.heard();
    const decoder = this.#decoder;
    try {
      decoder.push(bytes, (message) => {
        // What follows a message that ended the connection belongs to nothing.
        if (this.#decoder === decoder) this.#take(message);
      });
    } catch (error) {
      if (!(error instanceof ProtocolViolation)) throw error;
      this.#giveUp(new AgentError('protocol', `The guest's agent sent ${error.message}; the connection begins anew.`));
    }
  }

  #take(message: GuestMessage): void {
    if (this.#state !== 'ready' && this.#state !== 'greeting') return;
    if (message.kind === 'hello') {
      this.#greet(message);
      return;
    }
    const channel = this.#channels.get(message.channel);
    if (channel !== undefined) channel.take(message);
    // About channels that are over the guest may not know it yet.
    else if (message.channel === 0 || message.channel >= this.#nextChannel)
      throw new ProtocolViolation('a message about a channel that was never opened');
  }

  #greet(hello: GuestMessage & { readonly kind: 'hello' }): void {
    const { version, agent, init, wallNs, maximumChannels, windowBytes } = hello;
    if (version < LOWEST_VERSION || version > HIGHEST_VERSION) {
      // It stays silent until the guest has another agent, which opens the port anew.
      this.#end(
        new AgentError(
          'protocol',
          `The guest's agent (${agent}) speaks no version of the protocol that this Ringfence does (${LOWEST_VERSION} to ${HIGHEST_VERSION}).`,
        ),
      );
      this.#state = 'waiting';
      return;
    }
    if (windowBytes === 0 || windowBytes > MAXIMUM_GUEST_WINDOW_BYTES)
      throw new ProtocolViolation(`a window of ${windowBytes} bytes`);
    for (const { stdin } of this.#channels.values()) stdin.begin(windowBytes);
    this.#isKnown = false;
    this.#cancelAlarm();
    const said = { protocolVersion: version, agent, init, wallNs, maximumChannels };
    this.#become(said, windowBytes);
    this.#events.ready(said);
  }

  #become(hello: AgentHello, windowBytes: number): void {
    this.#hello = hello;
    this.#guestWindowBytes = windowBytes;
    this.#state = 'ready';
  }

  #giveUp(error: AgentError): void {
    this.#end(error);
    this.#part();
  }

  /** Closes the host's end; the agent closes its own, and the next connection can begin. */
  #part(): void {
    this.#state = 'parting';
    this.#port.discard();
    this.#port.close();
  }

  /** Nothing that was under way goes on. */
  #end(error: AgentError): void {
    const was = this.#state;
    this.#isKnown = false;
    this.#state = 'parting';
    this.#decoder = new GuestMessageDecoder();
    this.#outbox.close();
    for (const channel of this.#channels.values()) channel.fail(error);
    if (was === 'greeting' || was === 'ready') this.#events.lost(error);
  }
}
