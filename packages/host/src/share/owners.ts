/**
 * Whose a file is, on the host and in the guest.
 *
 * Ringfence as root: users have the same numbers on both sides, as with virtiofsd and NFS without squashing. As anybody else it can give
 * files to nobody, so it does what a user namespace with a single mapping does (user_namespaces(7)): its own user and group are the
 * guest's root, all others are nobody, and whatever the guest makes belongs to the host's user.
 */

import process from 'node:process';
import { FileError, type FileOwner } from '@ringfence/core';

/** What stands for users that are not mapped: Linux's overflow uid and gid. */
const NOBODY = 65534;
const ROOT = 0;

export interface Owners {
  /** Whether files are given to the guest's user who makes them. */
  readonly gives: boolean;
  toGuest(owner: FileOwner): FileOwner;
  /** The host's numbers for a change that a guest asks for; -1 leaves as is. EPERM where the host's user may not. */
  toHost(owner: Partial<FileOwner>): FileOwner;
}

const SAME: Owners = {
  gives: true,
  toGuest: (owner) => owner,
  toHost: ({ uid = -1, gid = -1 }) => ({ uid, gid }),
};

export function squashed(self: FileOwner): Owners {
  return {
    gives: false,
    toGuest: ({ uid, gid }) => ({
      uid: uid === self.uid ? ROOT : NOBODY,
      gid: gid === self.gid ? ROOT : NOBODY,
    }),
    toHost({ uid, gid }) {
      if ((uid ?? ROOT) !== ROOT || (gid ?? ROOT) !== ROOT) throw new FileError('EPERM');
      return { uid: uid === undefined ? -1 : self.uid, gid: gid === undefined ? -1 : self.gid };
    },
  };
}

export function ownersOfThisProcess(): Owners {
  const uid = process.geteuid?.() ?? ROOT;
  const gid = process.getegid?.() ?? ROOT;
  return uid === ROOT ? SAME : squashed({ uid, gid });
}
