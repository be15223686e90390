/** What does not work with a snapshot, as the contract of the daemon says it. */

import type { ErrorCode } from '@ringfence/api';
import { BlockStoreError, type SnapshotError, type SnapshotErrorCode } from '@ringfence/core';
import { errnoOf, HostError } from '../failure.ts';

const CODES: Readonly<Record<SnapshotErrorCode, ErrorCode>> = {
  broken: 'broken',
  version: 'other-version',
  'other-machine': 'other-machine',
  'missing-parent': 'broken',
  'not-found': 'not-found',
  exists: 'name-taken',
  'in-use': 'in-use',
  'not-now': 'wrong-state',
  'too-many': 'too-many',
  unavailable: 'unavailable',
};

export function snapshotFailure(error: SnapshotError): HostError {
  return new HostError(isFull(error) ? 'no-space' : CODES[error.code], error.message, error);
}

/** Whether what is behind it is a disk without space. */
function isFull(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof BlockStoreError && cause.code === 'full') return true;
    if (['ENOSPC', 'EDQUOT'].includes(errnoOf(cause) ?? '')) return true;
  }
  return false;
}
