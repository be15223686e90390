/** Copies between this computer and a guest, or between two guests, to where copyTarget says. */

import type { AgentFileKind, AgentFileStatus, AgentTreeStep } from '@ringfence/core';
import { errnoOf, harmless, HostError } from '../failure.ts';
import type { GuestCalls } from '../guest/calls.ts';
import { hostKind, readTree } from './read-tree.ts';
import { copyTarget, type Kind } from './where.ts';
import { writeTree } from './write-tree.ts';

/** What is copied at all. */
const PLAIN_KINDS: ReadonlySet<AgentFileKind> = new Set(['folder', 'file', 'symlink']);

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
  await guest.copyIn(target.path, steps, { keepOwners, ...(user !== undefined && { user }) });
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
  const follow = !target.isSourceName;
  await writeTree(target.path, steps, { keepOwners, follow, ...(onLeftOut && { onLeftOut }) });
}

/** Copies from one guest into another, or the same. */
export async function copyBetweenGuests(
  from: GuestCalls,
  fromPath: string,
  to: GuestCalls,
  toPath: string,
  options: CopyOptions = {},
): Promise<void> {
  const { keepOwners = false, user, onLeftOut } = options;
  const there = await guestKind(to, absolute(toPath), user);
  const source = await guestSource(from, fromPath, options);
  const target = copyTarget(source, absolute(toPath), there);
  if (!source.isPlain) {
    onLeftOut?.(harmless(target.path));
    return;
  }
  const steps = plainSteps(target.path, from.copyOut(absolute(fromPath), eyes(fromPath, options)), onLeftOut);
  await to.copyIn(target.path, steps, { keepOwners, ...(user !== undefined && { user }) });
}

/** The steps without sockets, devices and pipes: one guest is not to put a device into another. */
async function* plainSteps(
  root: string,
  steps: AsyncIterable<AgentTreeStep>,
  onLeftOut: CopyOptions['onLeftOut'],
): AsyncGenerator<AgentTreeStep> {
  for await (const step of steps) {
    if (step.kind !== 'entry' || PLAIN_KINDS.has(step.status.kind)) yield step;
    else onLeftOut?.(harmless([root, ...step.path.map((name) => Buffer.from(name).toString())].join('/')));
  }
}

async function guestSource(
  guest: GuestCalls,
  path: string,
  options: CopyOptions,
): Promise<{ readonly path: string; readonly kind: Kind; readonly isPlain: boolean }> {
  const status = await guest.stat(absolute(path), eyes(path, options));
  return { path, kind: kindOf(status), isPlain: PLAIN_KINDS.has(status.kind) };
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
