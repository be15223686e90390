/** Copying between host and guest, on channels that a client opens. */

import { AgentError } from './agent-error.ts';
import type { Channel } from './channel.ts';
import type {
  AgentFileStatus,
  AgentPatience,
  AgentTreeStep,
  AgentWorld,
  CopyInOptions,
  CopyOutOptions,
  ReadFileOptions,
  WriteFileOptions,
} from './guest-agent.ts';
import { ProtocolViolation } from './guest-message.ts';
import { AGENT_TIMEOUT_MS, MAXIMUM_READ_BYTES } from './limits.ts';
import { patiently } from './patience.ts';
import { FRAME, PACK_FLAG, UNPACK_FLAG } from './protocol.ts';
import { pathRequest } from './requests.ts';
import { TreeDecoder } from './tree-decoder.ts';
import { encodeEnd, encodeStep } from './tree-encoder.ts';

/** Opens a channel for a request once there is an agent. `action` completes "The guest could not ..." for what fails with a file. */
export type OpenChannel = (
  type: number,
  request: Uint8Array,
  options: AgentPatience,
  action: string,
) => Promise<Channel>;

type Path = string | Uint8Array;

const NOTHING = new Uint8Array(0);
/** A large array goes into the guest in pieces. */
const PIECE_BYTES = 64 * 1024;
const DEFAULT_MODE = 0o644;

export class Copies {
  readonly #world: AgentWorld;
  readonly #open: OpenChannel;

  constructor(world: AgentWorld, open: OpenChannel) {
    this.#world = world;
    this.#open = open;
  }

  async stat(path: Path, options: CopyOutOptions): Promise<AgentFileStatus> {
    const flags = PACK_FLAG.ENTRY_ONLY | (options.follow === true ? PACK_FLAG.FOLLOW : 0);
    let status: AgentFileStatus | undefined;
    for await (const step of this.#pack(path, flags, options, 'look at')) {
      if (step.kind !== 'entry' || status !== undefined) throw unwanted();
      ({ status } = step);
    }
    if (status !== undefined) return status;
    throw new AgentError('protocol', "The guest's agent said nothing about a file.");
  }

  copyOut(path: Path, options: CopyOutOptions): AsyncGenerator<AgentTreeStep, void, undefined> {
    return this.#pack(path, options.follow === true ? PACK_FLAG.FOLLOW : 0, options, 'read');
  }

  async readFile(path: Path, options: ReadFileOptions): Promise<Uint8Array> {
    const { maximumBytes = MAXIMUM_READ_BYTES } = options;
    let content: Uint8Array = NOTHING;
    let size: number | undefined;
    for await (const step of this.#pack(path, PACK_FLAG.CONTENT | PACK_FLAG.FOLLOW, options, 'read')) {
      if (step.kind === 'hard-link' || (step.kind === 'entry') !== (size === undefined)) throw unwanted();
      const end: number = step.kind === 'entry' ? step.status.sizeBytes : step.offsetBytes + step.bytes.length;
      size = Math.max(size ?? 0, end);
      if (size > maximumBytes)
        throw new AgentError(
          'limit',
          `A file of the guest is larger than the ${maximumBytes} bytes that were asked for.`,
        );
      if (step.kind === 'entry') continue;
      // Into one array at once: of bytes that come one by one, each would take the memory of an array.
      if (size > content.length) content = larger(content, Math.min(maximumBytes, Math.max(size, 2 * content.length)));
      content.set(step.bytes, step.offsetBytes);
    }
    return larger(content.subarray(0, size), size ?? 0);
  }

  async copyIn(
    path: Path,
    steps: Iterable<AgentTreeStep> | AsyncIterable<AgentTreeStep>,
    options: CopyInOptions,
  ): Promise<void> {
    const { user = '', timeoutMs = AGENT_TIMEOUT_MS } = options;
    const flags =
      (options.keepOwners === true ? UNPACK_FLAG.KEEP_OWNERS : 0) |
      (options.makeParents === true ? UNPACK_FLAG.MAKE_PARENTS : 0);
    const channel = await this.#open(FRAME.UNPACK, pathRequest(flags, user, path), options, 'write');
    const wait = <T>(promise: Promise<T>): Promise<T> =>
      patiently(this.#world, timeoutMs, promise, (error) => channel.close(error));
    channel.stdout.discard();
    try {
      for await (const step of steps) {
        for (const record of encodeStep(step)) await wait(channel.stdin.write(record));
        if (channel.isOver) break;
      }
      await wait(channel.stdin.write(encodeEnd()));
      channel.stdin.end();
      whole(await wait(channel.exited.promise));
    } finally {
      channel.close();
    }
  }

  async writeFile(
    path: Path,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    options: WriteFileOptions,
  ): Promise<void> {
    const { mode = DEFAULT_MODE, owner, mtimeNs = this.#world.clock.wallNs() } = options;
    const status: AgentFileStatus = {
      kind: 'file',
      mode,
      uid: owner?.uid ?? 0,
      gid: owner?.gid ?? 0,
      mtimeNs,
      sizeBytes: 0,
      device: { major: 0, minor: 0 },
      target: NOTHING,
    };
    await this.copyIn(path, fileSteps(status, content), { ...options, keepOwners: owner !== undefined });
  }

  async *#pack(
    path: Path,
    flags: number,
    options: CopyOutOptions,
    action: string,
  ): AsyncGenerator<AgentTreeStep, void, undefined> {
    const { user = '', timeoutMs = AGENT_TIMEOUT_MS } = options;
    const channel = await this.#open(FRAME.PACK, pathRequest(flags, user, path), options, action);
    const wait = <T>(promise: Promise<T>): Promise<T> =>
      patiently(this.#world, timeoutMs, promise, (error) => channel.close(error));
    try {
      const output = channel.stdout[Symbol.asyncIterator]();
      const decoder = new TreeDecoder();
      for (;;) {
        const { done, value } = await wait(output.next());
        if (done === true) break;
        yield* decoder.push(value);
      }
      whole(await wait(channel.exited.promise));
      if (!decoder.hasEnded) throw new ProtocolViolation('only a part of a copy');
    } catch (error) {
      if (error instanceof ProtocolViolation)
        throw new AgentError('protocol', `The guest's agent sent ${error.message}.`);
      throw error;
    } finally {
      channel.close();
    }
  }
}

function unwanted(): AgentError {
  return new AgentError('protocol', "The guest's agent sent more of a file than it was asked for.");
}

/** The bytes in an array of that size, zeroes behind them. */
function larger(bytes: Uint8Array, size: number): Uint8Array {
  const array = new Uint8Array(size);
  array.set(bytes);
  return array;
}

function whole(exit: { readonly kind: string; readonly code?: number }): void {
  if (exit.kind !== 'exited' || exit.code !== 0)
    throw new AgentError('lost', 'The copy ended before it was whole: the guest ended the process that made it.');
}

async function* fileSteps(
  status: AgentFileStatus,
  content: Uint8Array | AsyncIterable<Uint8Array>,
): AsyncGenerator<AgentTreeStep, void, undefined> {
  yield { kind: 'entry', path: [], status };
  let offsetBytes = 0;
  for await (const bytes of content instanceof Uint8Array ? pieces(content) : content) {
    yield { kind: 'data', offsetBytes, bytes };
    offsetBytes += bytes.length;
  }
}

function* pieces(content: Uint8Array): Generator<Uint8Array, void, undefined> {
  for (let at = 0; at < content.length; at += PIECE_BYTES) yield content.subarray(at, at + PIECE_BYTES);
}
