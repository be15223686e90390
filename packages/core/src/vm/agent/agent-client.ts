/**
 * The host's side of a guest's agent: everything that `GuestAgent` promises, over one port of the console device.
 *
 *     AgentClient -- Channel (each process, copy, request) -- AgentLink -- Outbox, GuestMessageDecoder -- port
 */

import { AgentError } from './agent-error.ts';
import type { Channel } from './channel.ts';
import { Copies } from './copies.ts';
import { Deferred } from './deferred.ts';
import { refusal } from './failure.ts';
import type {
  AgentClockChange,
  AgentCommand,
  AgentFileStatus,
  AgentFreeze,
  AgentHello,
  AgentIdentity,
  AgentPatience,
  AgentPort,
  AgentProcess,
  AgentTreeStep,
  AgentWorld,
  CopyInOptions,
  CopyOutOptions,
  FreezeOptions,
  GuestAgent,
  ReadFileOptions,
  WriteFileOptions,
} from './guest-agent.ts';
import {
  AGENT_TIMEOUT_MS,
  CLOCK_JUMP_NS,
  CLOCK_TOLERANCE_NS,
  FREEZE_TIMEOUT_MS,
  HEARTBEAT_MS,
  MAXIMUM_MISSED_HEARTBEATS,
} from './limits.ts';
import { Heartbeat } from './heartbeat.ts';
import { type AgentConnection, AgentLink, type SpokenBefore } from './link.ts';
import { patiently } from './patience.ts';
import { CARD_ADDRESS_BYTES, FRAME, MAXIMUM_HOSTNAME_BYTES, MAXIMUM_SEED_BYTES, SHUTDOWN } from './protocol.ts';
import { checkSignal, checkTerminalSize, execRequest, octets } from './requests.ts';
import { TimeWatch } from './time-watch.ts';
import { WireWriter } from './wire.ts';

const NOTHING = new Uint8Array(0);
/** s64 nanoseconds behind, u32 whether it was set. */
const CLOCK_ANSWER_BYTES = 12;
const LONGEST_FREEZE_MS = 3_600_000;
/** What an agent calls itself; ours counts. */
const FIRST_WORD_AND_NUMBER = /^ringfence-agent (\d+)$/;
const FIRST_TO_IDENTIFY = 2;
const FIRST_TO_CHANGE_CARDS = 4;

export class AgentClient implements GuestAgent {
  readonly #world: AgentWorld;
  readonly #link: AgentLink;
  readonly #copies: Copies;
  readonly #watch: TimeWatch;
  readonly #heartbeat: Heartbeat;
  #hello: AgentHello | undefined;
  /** When the guest was told what time it is, before it said what it thinks; undefined when it was not. */
  #toldNs: number | undefined;
  #greeted = new Deferred<AgentHello>();
  /** What was wrong with the last agent there was; undefined when there was none or it was well. */
  #refusal: AgentError | undefined;
  #closed: AgentError | undefined;

  /** Takes the port over until `close`. */
  constructor(port: AgentPort, world: AgentWorld, before: SpokenBefore = 'unknown') {
    this.#world = world;
    this.#copies = new Copies(world, (type, request, options, action) => this.#start(type, request, options, action));
    this.#watch = new TimeWatch(world, () => this.#keepTime());
    this.#heartbeat = new Heartbeat(world, {
      isBusy: () => this.#link.isBusy,
      ask: () => void this.ping({ timeoutMs: HEARTBEAT_MS }).catch(() => undefined),
      stopped: () => this.#link.abandon(silent()),
    });
    this.#link = new AgentLink(
      port,
      world.timers,
      {
        ready: (hello) => this.#ready(hello),
        lost: (error) => this.#lost(error),
        heard: () => this.#heartbeat.heard(),
      },
      before,
    );
    if (typeof before === 'object' && this.#link.isReady) this.#begin(before.hello);
    // How late its guest thinks that it is, is not known, but that it is wrong.
    this.#keepTime();
  }

  /** Whether requests may be made although nothing was heard yet of an agent that is known: they follow the greeting, and are done one after another. */
  get takesRequests(): boolean {
    return this.#link.takesRequests;
  }

  /** For the client of a copy of the guest as it is now, which need not greet the agent anew; undefined when something is under way. */
  get connection(): AgentConnection | undefined {
    return this.#link.connection;
  }

  get #isEarly(): boolean {
    return this.takesRequests && !this.isReady;
  }

  get isReady(): boolean {
    return this.#hello !== undefined;
  }

  ready({ timeoutMs }: AgentPatience = {}): Promise<AgentHello> {
    if (this.#hello !== undefined) return Promise.resolve(this.#hello);
    const refused = this.#closed ?? this.#refusal;
    if (refused !== undefined) return Promise.reject(refused);
    return patiently(this.#world, timeoutMs, this.#greeted.promise);
  }

  async exec(command: AgentCommand): Promise<AgentProcess> {
    const request = execRequest(command);
    const channel = await this.#start(FRAME.EXEC, request, command, 'run');
    const isTerminal = command.terminal !== undefined;
    if (command.stdin === 'empty') channel.stdin.abandon();
    return {
      pid: await channel.started.promise,
      stdin: channel.stdin,
      stdout: channel.stdout,
      stderr: channel.stderr,
      exited: channel.exited.promise,
      signal(signal) {
        checkSignal(signal);
        channel.signal(signal);
      },
      resize(columns, rows) {
        checkTerminalSize(columns, rows);
        if (isTerminal) channel.resize(columns, rows);
      },
      close: () => channel.close(),
    };
  }

  stat(path: string | Uint8Array, options: CopyOutOptions = {}): Promise<AgentFileStatus> {
    return this.#copies.stat(path, options);
  }

  copyOut(path: string | Uint8Array, options: CopyOutOptions = {}): AsyncIterable<AgentTreeStep> {
    return this.#copies.copyOut(path, options);
  }

  copyIn(
    path: string | Uint8Array,
    steps: Iterable<AgentTreeStep> | AsyncIterable<AgentTreeStep>,
    options: CopyInOptions = {},
  ): Promise<void> {
    return this.#copies.copyIn(path, steps, options);
  }

  readFile(path: string | Uint8Array, options: ReadFileOptions = {}): Promise<Uint8Array> {
    return this.#copies.readFile(path, options);
  }

  writeFile(
    path: string | Uint8Array,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    options: WriteFileOptions = {},
  ): Promise<void> {
    return this.#copies.writeFile(path, content, options);
  }

  async setTime(options: AgentPatience = {}): Promise<AgentClockChange> {
    if (this.#isEarly) this.#toldNs = this.#world.clock.monotonicNs();
    else await this.ready(patienceOf(options));
    const request = new WireWriter().u64(this.#world.clock.wallNs()).u64(CLOCK_TOLERANCE_NS);
    const answer = await this.#ask(FRAME.SET_TIME, request.take(), options);
    if (answer.length !== CLOCK_ANSWER_BYTES)
      throw new AgentError('protocol', "The guest's agent said of its clock what cannot be.");
    const fields = new DataView(answer.buffer, answer.byteOffset, answer.byteLength);
    return { behindNs: fields.getBigInt64(0, true), wasSet: fields.getUint32(8, true) !== 0 };
  }

  async identify({ hostname, seed, ...patience }: AgentIdentity): Promise<void> {
    // One that is known does.
    const { agent } = this.#isEarly ? { agent: '' } : await this.ready(patienceOf(patience));
    if (isBefore(agent, FIRST_TO_IDENTIFY))
      throw new AgentError('unsupported', `The guest's agent (${agent}) cannot make its guest another one.`);
    const name = hostname === undefined ? NOTHING : octets(hostname, 'The name of the host');
    if (hostname === '' || name.length > MAXIMUM_HOSTNAME_BYTES)
      throw new AgentError('bad-argument', `A host name has 1 to ${MAXIMUM_HOSTNAME_BYTES} bytes.`);
    if (seed.length > MAXIMUM_SEED_BYTES)
      throw new AgentError('bad-argument', `A seed has at most ${MAXIMUM_SEED_BYTES} bytes.`);
    await this.#ask(FRAME.IDENTITY, new WireWriter().u16(name.length).bytes(name).bytes(seed).take(), patience);
  }

  async changeCard(from: Uint8Array, to: Uint8Array, options: AgentPatience = {}): Promise<void> {
    const { agent } = await this.ready(patienceOf(options));
    if (isBefore(agent, FIRST_TO_CHANGE_CARDS))
      throw new AgentError('unsupported', `The guest's agent (${agent}) cannot change the address of a network card.`);
    if (from.length !== CARD_ADDRESS_BYTES || to.length !== CARD_ADDRESS_BYTES)
      throw new AgentError('bad-argument', `The address of a network card has ${CARD_ADDRESS_BYTES} bytes.`);
    await this.#ask(FRAME.CARD, new WireWriter().bytes(from).bytes(to).take(), options);
  }

  async shutdown(how: 'poweroff' | 'reboot', options: AgentPatience = {}): Promise<void> {
    const request = new WireWriter().u32(how === 'poweroff' ? SHUTDOWN.POWEROFF : SHUTDOWN.REBOOT);
    await this.#ask(FRAME.SHUTDOWN, request.take(), options);
  }

  async freeze(options: FreezeOptions = {}): Promise<AgentFreeze> {
    const { thawAfterMs = FREEZE_TIMEOUT_MS } = options;
    if (!Number.isInteger(thawAfterMs) || thawAfterMs < 1 || thawAfterMs > LONGEST_FREEZE_MS)
      throw new AgentError('bad-argument', `File systems cannot be frozen for ${thawAfterMs} ms.`);
    const channel = await this.#start(FRAME.FREEZE, new WireWriter().u32(thawAfterMs).take(), options, 'freeze');
    const thawed = channel.exited.promise.then((exit) =>
      exit.kind === 'exited' && exit.code === 0 ? ('asked' as const) : ('timeout' as const),
    );
    thawed.catch(() => undefined);
    return {
      count: await channel.started.promise,
      thawed,
      thaw: async () => {
        channel.stdin.end();
        await patiently(this.#world, patienceOf(options).timeoutMs, thawed);
      },
    };
  }

  async ping(options: AgentPatience = {}): Promise<number> {
    await this.ready(patienceOf(options));
    const sentAt = this.#world.clock.monotonicNs();
    await this.#ask(FRAME.PING, NOTHING, options);
    return this.#world.clock.monotonicNs() - sentAt;
  }

  close(): void {
    if (this.#closed !== undefined) return;
    this.#closed = new AgentError('closed', "The connection to the guest's agent was closed.");
    this.#watch.close();
    this.#heartbeat.close();
    this.#hello = undefined;
    this.#greeted.reject(this.#closed);
    this.#link.close();
  }

  /** Opens a channel for a process or a copy and waits until it has started. */
  async #start(type: number, request: Uint8Array, options: AgentPatience, action: string): Promise<Channel> {
    const { timeoutMs } = patienceOf(options);
    if (!this.#isEarly) await this.ready({ timeoutMs });
    const channel = this.#link.open(type, 'process', request, (stage, errno, about) =>
      refusal(stage, errno, about, action),
    );
    await patiently(this.#world, timeoutMs, channel.started.promise, (error) => channel.close(error));
    return channel;
  }

  /** The body of the answer to a request. */
  async #ask(type: number, request: Uint8Array, options: AgentPatience): Promise<Uint8Array> {
    const { timeoutMs } = patienceOf(options);
    if (!this.#isEarly) await this.ready({ timeoutMs });
    const channel = this.#link.open(type, 'request', request, refusal);
    return patiently(this.#world, timeoutMs, channel.done.promise, (error) => channel.fail(error));
  }

  #ready(hello: AgentHello): void {
    this.#begin(hello);
    const { clock } = this.#world;
    // It hears what it was told when it begins to run, and thinks that it is so late by then.
    const late =
      this.#toldNs === undefined ? clock.wallNs() - hello.wallNs : BigInt(clock.monotonicNs() - this.#toldNs);
    this.#toldNs = undefined;
    if (late > CLOCK_JUMP_NS || late < -CLOCK_JUMP_NS) this.#keepTime();
  }

  #begin(hello: AgentHello): void {
    this.#hello = hello;
    this.#refusal = undefined;
    this.#greeted.resolve(hello);
  }

  #lost(error: AgentError): void {
    const wasReady = this.#hello !== undefined;
    this.#hello = undefined;
    // An agent that cannot be understood is an answer to who waits; one that has ended may come again.
    if (error.code === 'protocol') {
      this.#refusal = error;
      this.#greeted.reject(error);
    } else if (!wasReady) return;
    this.#greeted = new Deferred();
  }

  /** Best effort: whoever wants to know asks for it. */
  #keepTime(): void {
    if (this.takesRequests) void this.setTime().catch(() => undefined);
  }
}

/** Whether it is ours, and older than the one of that number. */
function isBefore(agent: string, number: number): boolean {
  return Number(FIRST_WORD_AND_NUMBER.exec(agent)?.[1] ?? number) < number;
}

function silent(): AgentError {
  const seconds = (MAXIMUM_MISSED_HEARTBEATS * HEARTBEAT_MS) / 1000;
  return new AgentError(
    'lost',
    `The guest's agent has said nothing for ${seconds} s; what it had under way is given up.`,
  );
}

function patienceOf({ timeoutMs = AGENT_TIMEOUT_MS }: AgentPatience): { readonly timeoutMs: number } {
  return { timeoutMs };
}
