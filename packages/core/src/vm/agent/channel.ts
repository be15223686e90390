/**
 * One thing under way in the guest, from the frame that opens it until the guest has said its last word about it.
 *
 *     request   opened --> DONE, PING or FAILED
 *     process   opened --> STARTED --> DATA, END, WINDOW ... EXITED; over when it has exited and both streams have ended
 *                     \--> FAILED, at any time
 */

import { AgentError } from './agent-error.ts';
import { Deferred } from './deferred.ts';
import type { AgentExit } from './guest-agent.ts';
import { type GuestMessage, ProtocolViolation } from './guest-message.ts';
import { InputStream } from './input-stream.ts';
import { OutputStream } from './output-stream.ts';
import { FRAME, STREAM } from './protocol.ts';
import { WireWriter } from './wire.ts';

/** What a channel needs of the connection. */
export interface ChannelOwner {
  send(type: number, stream: number, channel: number, payload?: Uint8Array): void;
  /** The channel is no more. */
  over(channel: Channel): void;
}

export type ChannelMessage = Exclude<GuestMessage, { readonly kind: 'hello' }>;

const NOTHING = new Uint8Array(0);

export class Channel {
  readonly id: number;
  readonly kind: 'request' | 'process';
  readonly started = new Deferred<number>();
  readonly exited = new Deferred<AgentExit>();
  /** What the answer to a request holds. */
  readonly done = new Deferred<Uint8Array>();
  readonly stdin: InputStream;
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly #owner: ChannelOwner;
  /** Makes an error of what the guest says about its failure. */
  readonly #failure: (stage: number, errno: number, about: string) => AgentError;
  #state: 'request' | 'starting' | 'running' | 'exited' | 'over';

  constructor(
    id: number,
    kind: 'request' | 'process',
    owner: ChannelOwner,
    windowBytes: number,
    failure: (stage: number, errno: number, about: string) => AgentError,
  ) {
    this.id = id;
    this.kind = kind;
    this.#owner = owner;
    this.#failure = failure;
    this.#state = kind === 'request' ? 'request' : 'starting';
    this.stdin = new InputStream(windowBytes, {
      data: (bytes) => this.#send(FRAME.DATA, STREAM.STDIN, bytes),
      end: () => this.#send(FRAME.END, STREAM.STDIN),
    });
    const output = (stream: number): OutputStream =>
      new OutputStream((bytes) => this.#send(FRAME.WINDOW, stream, new WireWriter().u32(bytes).take()));
    this.stdout = output(STREAM.STDOUT);
    this.stderr = output(STREAM.STDERR);
  }

  get isOver(): boolean {
    return this.#state === 'over';
  }

  signal(signal: number): void {
    this.#send(FRAME.SIGNAL, 0, new WireWriter().u32(signal).take());
  }

  resize(columns: number, rows: number): void {
    this.#send(FRAME.RESIZE, 0, new WireWriter().u16(columns).u16(rows).take());
  }

  /** The host does not want it any more. */
  close(error = new AgentError('closed', 'It was closed before it had ended.')): void {
    if (this.#state === 'over') return;
    this.#send(FRAME.CLOSE, 0);
    this.fail(error);
  }

  /** It is over, for this reason. */
  fail(error: Error): void {
    if (this.#state === 'over') return;
    this.#state = 'over';
    for (const promise of [this.started, this.exited, this.done]) promise.reject(error);
    this.stdin.abandon();
    this.stdout.fail(error);
    this.stderr.fail(error);
    this.#owner.over(this);
  }

  /** Throws a ProtocolViolation when the message has no place here. */
  take(message: ChannelMessage): void {
    switch (message.kind) {
      case 'ping':
      case 'done':
        this.#expect('request');
        this.#state = 'over';
        this.done.resolve(message.kind === 'done' ? message.body : NOTHING);
        this.#owner.over(this);
        return;
      case 'failed':
        this.fail(this.#failure(message.stage, message.errno, message.about));
        return;
      case 'started':
        this.#expect('starting');
        this.#state = 'running';
        this.started.resolve(message.value);
        return;
      case 'exited':
        this.#expect('running');
        this.#state = 'exited';
        this.exited.resolve(message.exit);
        break;
      case 'window':
        this.#expect('running', 'exited');
        this.stdin.openWindow(message.bytes);
        return;
      case 'data':
      case 'end': {
        this.#expect('running', 'exited');
        if (message.stream === STREAM.STDIN) {
          this.stdin.abandon();
          return;
        }
        const output = message.stream === STREAM.STDOUT ? this.stdout : this.stderr;
        if (message.kind === 'data') output.push(message.bytes);
        else output.end();
      }
    }
    if (this.#state !== 'exited' || !this.stdout.hasEnded || !this.stderr.hasEnded) return;
    this.#state = 'over';
    this.stdin.abandon();
    this.#owner.over(this);
  }

  #expect(...states: readonly string[]): void {
    if (!states.includes(this.#state)) throw new ProtocolViolation('a message that has no place there');
  }

  #send(type: number, stream: number, payload?: Uint8Array): void {
    if (this.#state !== 'over') this.#owner.send(type, stream, this.id, payload);
  }
}
