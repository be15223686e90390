/** Copies between this computer and a guest, or between two guests, to where copyTarget says. */

import type { AgentFileStatus } from '@ringfence/core';
import { errnoOf, HostError } from '../failure.ts';
import type { GuestCalls } from '../guest/calls.ts';
import { hostKind, readTree } from './read-tree.ts';
import { copyTarget, type Kind } from './where.ts';
import { writeTree } from './write-tree.ts';

export interface CopyOptions {
  /** When the source itself is a symbolic link, what it leads to is copied. Default false. */
  readonly follow?: boolean;
  /** Files keep the numbers of their owners, and set-user-ID; on this computer only root may. Default false. */
  readonly keepOwners?: boolean;
  /** The guest's user whose eyes and hands it is done with; root when it is not given. */
  readonly user?: string;
  /** Called with each path that is left out: sockets, devices, pipes. */
  readonly onLeftOut?: (path: string) => void;
}

/** Copies a file or folder of this computer into the guest. */
export async function copyIntoGuest(
  guest: GuestCalls,
  hostPath: string,
  guestPath: string,
  options: CopyOptions = {},
): Promise<void> {
  const { follow = false, keepOwners = false, user, onLeftOut } = options;
  const isFollowed = follow || named(hostPath);
  const kind = await hostKind(hostPath, isFollowed);
  if (kind === undefined) throw new HostError('not-found', `there is no file or folder "${hostPath}" to copy`);
  const there = await guestKind(guest, absolute(guestPath), user);
  const target = copyTarget({ path: hostPath, kind }, absolute(guestPath), there);
  const steps = readTree(hostPath, { follow: isFollowed, ...(onLeftOut && { onLeftOut }) });
  await guest.copyIn(target, steps, { keepOwners, ...(user !== undefined && { user }) });
}

/** Copies a file or folder of the guest to this computer. */
export async function copyFromGuest(
  guest: GuestCalls,
  guestPath: string,
  hostPath: string,
  options: CopyOptions = {},
): Promise<void> {
  const { keepOwners = false, onLeftOut } = options;
  const target = copyTarget(await guestSource(guest, guestPath, options), hostPath, await hostKind(hostPath, true));
  const steps = guest.copyOut(absolute(guestPath), eyes(guestPath, options));
  await writeTree(target, steps, { keepOwners, ...(onLeftOut && { onLeftOut }) });
}

/** Copies from one guest into another, or the same. */
export async function copyBetweenGuests(
  from: GuestCalls,
  fromPath: string,
  to: GuestCalls,
  toPath: string,
  options: CopyOptions = {},
): Promise<void> {
  const { keepOwners = false, user } = options;
  const there = await guestKind(to, absolute(toPath), user);
  const target = copyTarget(await guestSource(from, fromPath, options), absolute(toPath), there);
  const steps = from.copyOut(absolute(fromPath), eyes(fromPath, options));
  await to.copyIn(target, steps, { keepOwners, ...(user !== undefined && { user }) });
}

async function guestSource(
  guest: GuestCalls,
  path: string,
  options: CopyOptions,
): Promise<{ readonly path: string; readonly kind: Kind }> {
  return { path, kind: kindOf(await guest.stat(absolute(path), eyes(path, options))) };
}

function eyes(path: string, { follow = false, user }: CopyOptions): { follow: boolean; user?: string } {
  return { follow: follow || named(path), ...(user !== undefined && { user }) };
}

async function guestKind(guest: GuestCalls, path: string, user: string | undefined): Promise<Kind | undefined> {
  try {
    return kindOf(await guest.stat(path, { follow: true, ...(user !== undefined && { user }) }));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function kindOf({ kind }: AgentFileStatus): Kind {
  return kind === 'folder' ? 'folder' : 'other';
}

/** A path that ends so is the folder that a link leads to, not the link (path_resolution(7)). */
function named(path: string): boolean {
  return /(?:^|\/)\.?$/.test(path);
}

/** Paths in a guest begin at its root. */
function absolute(path: string): string {
  return path.startsWith('/') ? path : `/${path}`;
}
