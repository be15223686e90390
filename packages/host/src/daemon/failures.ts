/** Whatever does not work, as the contract says it. */

import { ApiError, type ErrorCode, type Failure } from '@ringfence/api';
import { AgentError, BlockStoreError, LoadError, SnapshotError } from '@ringfence/core';
import { ImageError, type ImageErrorCode } from '@ringfence/images';
import { errnoOf, systemReason } from '../failure.ts';
import { snapshotFailure } from '../snapshot/snapshot-failure.ts';

/** What is not the image's fault. */
const IMAGE_CODES: Readonly<Partial<Record<ImageErrorCode, ErrorCode>>> = {
  'bad-argument': 'bad-argument',
  'no-space': 'no-space',
  cache: 'unavailable',
};

export function failureOf(error: unknown): Failure {
  if (error instanceof ApiError) return { code: error.code, message: error.message };
  if (error instanceof SnapshotError) return failureOf(snapshotFailure(error));
  if (error instanceof ImageError)
    return { code: IMAGE_CODES[error.code] ?? 'image', message: error.message.replace(/\.$/, '') };
  if (error instanceof BlockStoreError)
    return { code: error.code === 'full' ? 'no-space' : 'unavailable', message: error.message };
  if (error instanceof LoadError) return { code: 'not-a-machine', message: error.message };
  if (error instanceof AgentError) return { code: 'unavailable', message: error.message };
  const errno = errnoOf(error);
  if (errno === 'ENOSPC' || errno === 'EDQUOT') return { code: 'no-space', message: systemReason(error) };
  if (errno !== undefined) return { code: 'unavailable', message: systemReason(error) };
  return {
    code: 'bug',
    message: `this is a bug of Ringfence: ${error instanceof Error ? error.message : String(error)}`,
  };
}
