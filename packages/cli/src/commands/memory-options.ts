/** Options that say what a machine may have of the memory. */

import { MEMORY_SHARES, type OvercommitSettings } from '@ringfence/api';
import { formatSize, parseSize } from '@ringfence/core/sizes';
import { EXIT } from '../exit-codes.ts';
import { CliError } from '../failure.ts';

export interface OvercommitOptions {
  readonly overcommit?: boolean | undefined;
  readonly memoryShares?: string | undefined;
  readonly memoryReservation?: string | undefined;
  readonly memoryLimit?: string | undefined;
}

/** As a new machine has them: nothing when no option was given, for then it has all of its memory. */
export function overcommitOptions(options: OvercommitOptions): { readonly overcommit?: OvercommitSettings } {
  const { overcommit, memoryShares, memoryReservation, memoryLimit } = options;
  const settings: OvercommitSettings = {
    ...(memoryShares === undefined ? {} : { shares: sharesOf(memoryShares) }),
    ...(memoryReservation === undefined ? {} : { reservation: memoryReservation }),
    ...(memoryLimit === undefined ? {} : { limit: memoryLimit }),
  };
  return overcommit !== true && Object.keys(settings).length === 0 ? {} : { overcommit: settings };
}

export function overcommitText({ shares = MEMORY_SHARES.usual, reservation, limit }: OvercommitSettings): string {
  return [
    `${shares} shares`,
    ...(reservation === undefined ? [] : [`${reservation} reserved`]),
    ...(limit === undefined ? [] : [`at most ${limit}`]),
  ].join(', ');
}

export function sizeOf(option: string, text: string): number {
  const bytes = parseSize(text);
  if (bytes !== undefined && bytes >= LEAST_BYTES) return bytes;
  throw new CliError(
    `${option} "${text}" is no size of ${formatSize(LEAST_BYTES)} or more; write it like 8G`,
    EXIT.FAILED,
  );
}

/** Nothing begins with less. */
const LEAST_BYTES = 64 * 1024 ** 2;

function sharesOf(text: string): number {
  const shares = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (shares >= 1 && shares <= MEMORY_SHARES.most) return shares;
  throw new CliError(
    `--memory-shares "${text}" is no number of shares; there can be 1 to ${MEMORY_SHARES.most}`,
    EXIT.FAILED,
  );
}
