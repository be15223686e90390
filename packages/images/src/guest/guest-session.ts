/**
 * The host's side of what the guest's /init speaks on the ports of the console device (packages/images/README.md, "The guest protocol"):
 *
 *     console           the guest's terminal /dev/hvc0, when the run is interactive
 *     ringfence.stdin   host -> command, closed at the end of input
 *     ringfence.stdout  command -> host
 *     ringfence.stderr  command -> host
 *     ringfence.control guest -> host, lines: "ready", then "exit N", or "unshared N" instead of running the command
 *
 * What comes on `control` is the guest's word: a line that is none of these, or too long, is passed over.
 */

import type { ConsolePort, MachineOptions } from '@ringfence/core';

/** In the order they are announced: control comes last, for the guest takes it as the sign that the others are there. */
export const GUEST_PORTS: NonNullable<MachineOptions['consolePorts']> = [
  { name: 'console', console: true },
  { name: 'ringfence.stdin' },
  { name: 'ringfence.stdout' },
  { name: 'ringfence.stderr' },
  { name: 'ringfence.control' },
];

/** What a session needs of a port; a ConsolePort has it. */
export type GuestPort = Pick<ConsolePort, 'write' | 'writable' | 'close' | 'pause' | 'resume' | 'onData'>;

/** What takes bytes for the guest, as many as it has room for. */
export type GuestInput = Pick<GuestPort, 'write' | 'writable' | 'close'>;

/** Where the guest's bytes go. The array is the sink's to keep. */
export interface GuestSink {
  write(bytes: Uint8Array): void;
  /** More waits here than should. */
  readonly isFull: boolean;
  /** Calls back once, when it is full no longer. */
  whenRoom(callback: () => void): void;
}

export interface SessionEvents {
  readonly ready: () => void;
  /** The command has ended, and all that it wrote was handed to the sinks. */
  readonly exit: (code: number) => void;
  /** The guest could not mount the share with this index, and runs nothing. */
  readonly unshared?: (index: number) => void;
}

/** Longer than anything the protocol says. */
const LONGEST_LINE = 64;
const NEWLINE = 0x0a;
const MAXIMUM_EXIT_CODE = 255;

export class GuestSession {
  /** The guest's terminal. */
  readonly terminal: GuestPort;
  readonly stdin: GuestPort;
  readonly #outputs: readonly GuestPort[];
  readonly #events: SessionEvents;
  #line = '';
  #isReady = false;
  #exited = false;

  /** Takes the ports of a machine that was made with GUEST_PORTS. */
  constructor(
    ports: readonly GuestPort[],
    sinks: { readonly terminal: GuestSink; readonly stdout: GuestSink; readonly stderr: GuestSink },
    events: SessionEvents,
  ) {
    const [terminal, stdin, stdout, stderr, control] = ports;
    if (!terminal || !stdin || !stdout || !stderr || !control)
      throw new Error('the machine lacks a port of the session');
    this.terminal = terminal;
    this.stdin = stdin;
    this.#outputs = [terminal, stdout, stderr];
    this.#events = events;
    connect(terminal, sinks.terminal);
    connect(stdout, sinks.stdout);
    connect(stderr, sinks.stderr);
    control.onData = (bytes) => this.#hear(bytes);
  }

  /** Whether the guest has got as far as its command. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** Takes all that the guest has written, however full the sinks are. */
  takeRest(): void {
    for (const port of this.#outputs) port.resume();
  }

  #hear(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (byte === NEWLINE) {
        this.#obey(this.#line);
        this.#line = '';
      } else if (this.#line.length <= LONGEST_LINE) this.#line += String.fromCharCode(byte);
    }
  }

  #obey(line: string): void {
    if (line === 'ready' && !this.#isReady) {
      this.#isReady = true;
      this.#events.ready();
    }
    const [, share] = /^unshared (\d{1,3})$/.exec(line) ?? [];
    if (share !== undefined && !this.#exited) {
      this.#exited = true;
      this.#events.unshared?.(Number(share));
    }
    const [, digits] = /^exit (\d{1,3})$/.exec(line) ?? [];
    const code = Number(digits);
    if (digits === undefined || code > MAXIMUM_EXIT_CODE || this.#exited) return;
    this.#exited = true;
    // The guest says it after its outputs were written to the end, so what they wrote is in their rings by now.
    this.takeRest();
    this.#events.exit(code);
  }
}

function connect(port: GuestPort, sink: GuestSink): void {
  port.onData = (bytes) => {
    sink.write(bytes);
    if (!sink.isFull) return;
    port.pause();
    sink.whenRoom(() => port.resume());
  };
}

/** Gives a port all of `input`, no faster than it takes it, and closes it. */
export async function feed(port: GuestInput, input: AsyncIterable<Uint8Array>): Promise<void> {
  try {
    for await (const chunk of input) {
      let rest = chunk;
      for (;;) {
        rest = rest.subarray(port.write(rest));
        if (rest.length === 0) break;
        await port.writable();
      }
    }
  } finally {
    port.close();
  }
}
