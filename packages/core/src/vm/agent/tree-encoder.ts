/** The steps of a copy as the agent reads them (RECORD in protocol.ts). */

import { AgentError } from './agent-error.ts';
import type { AgentFileKind, AgentTreeStep } from './guest-agent.ts';
import {
  ENTRY_RECORD_BYTES,
  MAXIMUM_DATA_RECORD_BYTES,
  MAXIMUM_DEPTH,
  MAXIMUM_PATH_BYTES,
  RECORD,
} from './protocol.ts';
import { isName, joined } from './tree-decoder.ts';
import { WireWriter } from './wire.ts';

const RECORD_OF: Readonly<Record<AgentFileKind, number>> = {
  folder: RECORD.FOLDER,
  file: RECORD.FILE,
  symlink: RECORD.SYMLINK,
  fifo: RECORD.FIFO,
  socket: RECORD.SOCKET,
  'character-device': RECORD.CHARACTER_DEVICE,
  'block-device': RECORD.BLOCK_DEVICE,
};

const NS_PER_SECOND = 1_000_000_000n;
const NOTHING = new Uint8Array(0);

/** The records of one step, in pieces that follow one another. */
export function* encodeStep(step: AgentTreeStep): Generator<Uint8Array, void, undefined> {
  switch (step.kind) {
    case 'entry': {
      const { status, path } = step;
      const seconds = BigInt.asIntN(64, floorDivide(status.mtimeNs, NS_PER_SECOND));
      const target = status.kind === 'symlink' ? status.target : NOTHING;
      yield entry(RECORD_OF[status.kind], path, target, (record) =>
        record
          .u32(status.mode)
          .u32(status.uid)
          .u32(status.gid)
          .u32(Number(status.mtimeNs - seconds * NS_PER_SECOND))
          .u64(seconds)
          .u64(BigInt(status.sizeBytes))
          .u32(status.device.major)
          .u32(status.device.minor),
      );
      return;
    }
    case 'hard-link':
      yield entry(RECORD.HARD_LINK, step.path, joined(step.to), (record) =>
        record.bytes(new Uint8Array(ENTRY_RECORD_BYTES - record.length)),
      );
      return;
    case 'data':
      for (let at = 0; at < step.bytes.length; at += MAXIMUM_DATA_RECORD_BYTES) {
        const piece = step.bytes.subarray(at, at + MAXIMUM_DATA_RECORD_BYTES);
        yield new WireWriter()
          .u32(RECORD.DATA)
          .u32(piece.length)
          .u64(BigInt(step.offsetBytes + at))
          .take();
        yield piece;
      }
  }
}

/** What the agent has to read last. */
export function encodeEnd(): Uint8Array {
  return new WireWriter().u32(RECORD.END).take();
}

function entry(
  kind: number,
  path: readonly Uint8Array[],
  target: Uint8Array,
  attributes: (record: WireWriter) => WireWriter,
): Uint8Array {
  const name = path.at(-1) ?? NOTHING;
  if (path.length > MAXIMUM_DEPTH || !path.every(isName))
    throw new AgentError('bad-argument', 'A step of a copy has a path that is none.');
  if (target.length > MAXIMUM_PATH_BYTES)
    throw new AgentError(
      'bad-argument',
      `A link of a copy has ${target.length} bytes, and no more than 4095 are possible.`,
    );
  const record = new WireWriter().u8(kind).u8(0).u16(name.length).u16(path.length).u16(target.length);
  return attributes(record).bytes(name).bytes(target).take();
}

/** Rounds down, for times before 1970 too. */
function floorDivide(value: bigint, by: bigint): bigint {
  const quotient = value / by;
  return value % by < 0n ? quotient - 1n : quotient;
}
