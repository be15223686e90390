/** A session over any tree, with a guest that has mounted it; for tests of trees in other packages. */

import type { FuseOptions } from '../connection.ts';
import { FuseSession } from '../session.ts';
import { ArrayExchange, FuseGuest } from './fuse-guest.ts';

export interface Mounted {
  readonly guest: FuseGuest;
  /** Unmounts, and waits until everything is let go of. */
  end(): Promise<void>;
}

export async function mounted(options: Pick<FuseOptions, 'tree'> & Partial<FuseOptions>): Promise<Mounted> {
  const session = new FuseSession({ readOnly: false, writeback: false, ...options }, () => undefined);
  const guest = new FuseGuest(async (bytes, room) => {
    const exchange = new ArrayExchange(bytes, room);
    const written = await session.serve(exchange);
    return exchange.answer.slice(0, written);
  });
  await guest.init();
  return {
    guest,
    async end() {
      session.reset();
      await session.settled();
    },
  };
}

export { FuseGuest, entryOf, struct } from './fuse-guest.ts';
export { OPCODE } from '../abi.ts';
export { ERRNO } from '../errno.ts';
