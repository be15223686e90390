/** What cannot travel as JSON by itself: bytes, large numbers, errors. */

import {
  SnapshotError,
  AgentError,
  type AgentErrorCode,
  type AgentFileStatus,
  type AgentTreeStep,
} from '@ringfence/core';
import { isErrorCode } from '@ringfence/api/errors';
import { snapshotFailure } from '../snapshot/snapshot-failure.ts';
import { HostError } from '../failure.ts';
import type { WireFailure, WireFileStatus, WireTreeStep } from './operations.ts';

const AGENT_ERROR_CODES: readonly AgentErrorCode[] = [
  'no-agent',
  'lost',
  'refused',
  'protocol',
  'bad-argument',
  'limit',
  'closed',
];

export function toBase64(bytes: Uint8Array | string): string {
  const buffer = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
  return Buffer.from(buffer.buffer, buffer.byteOffset, buffer.byteLength).toString('base64');
}

export function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'base64'));
}

export function wireStatus(status: AgentFileStatus): WireFileStatus {
  return { ...status, mtimeNs: String(status.mtimeNs), target: toBase64(status.target) };
}

export function statusOf(status: WireFileStatus): AgentFileStatus {
  return { ...status, mtimeNs: BigInt(status.mtimeNs), target: fromBase64(status.target) };
}

export function wireStep(step: Exclude<AgentTreeStep, { kind: 'data' }>): WireTreeStep {
  const path = step.path.map(toBase64);
  return step.kind === 'entry'
    ? { kind: 'entry', path, status: wireStatus(step.status) }
    : { kind: 'hard-link', path, to: step.to.map(toBase64) };
}

export function stepOf(step: WireTreeStep): AgentTreeStep {
  const path = step.path.map(fromBase64);
  return step.kind === 'entry'
    ? { kind: 'entry', path, status: statusOf(step.status) }
    : { kind: 'hard-link', path, to: step.to.map(fromBase64) };
}

const OFFSET_BYTES = 8;

export function wireData(offsetBytes: number, bytes: Uint8Array): Uint8Array {
  const payload = Buffer.alloc(OFFSET_BYTES + bytes.length);
  payload.writeBigUInt64BE(BigInt(offsetBytes));
  payload.set(bytes, OFFSET_BYTES);
  return payload;
}

export function dataOf(payload: Buffer): AgentTreeStep {
  const offset = payload.length < OFFSET_BYTES ? -1 : Number(payload.readBigUInt64BE());
  if (!Number.isSafeInteger(offset) || offset < 0) throw new HostError('protocol', 'a copy has data that is nowhere');
  return { kind: 'data', offsetBytes: offset, bytes: Uint8Array.from(payload.subarray(OFFSET_BYTES)) };
}

export function wireFailure(error: unknown): WireFailure {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof SnapshotError) return wireFailure(snapshotFailure(error));
  if (error instanceof HostError) return { from: 'host', code: error.code, message };
  if (error instanceof AgentError)
    return { from: 'agent', code: error.code, message, ...(error.errno === undefined ? {} : { errno: error.errno }) };
  return { from: 'bug', code: 'bug', message };
}

export function errorOf({ from, code, message, errno }: WireFailure): Error {
  const agentCode = AGENT_ERROR_CODES.find((each) => each === code);
  if (from === 'agent' && agentCode !== undefined) return new AgentError(agentCode, message, errno);
  const hostCode = isErrorCode(code) && from === 'host' ? code : 'protocol';
  return new HostError(
    hostCode,
    from === 'bug' ? `the virtual machine's process failed; this is a bug of Ringfence: ${message}` : message,
  );
}
