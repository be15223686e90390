/** Entries of POSIX access lists by what they are for (acl(5)), and what tests of them open files with. */

import type { OpenMode } from '@ringfence/core';
import type { AccessEntry } from '../guest-access-lists.ts';

const NO_ID = 0xffffffff;
const entry = (tag: number, permissions: number, id = NO_ID): AccessEntry => ({ tag, permissions, id });

export const owner = (permissions: number): AccessEntry => entry(0x01, permissions);
export const user = (id: number, permissions: number): AccessEntry => entry(0x02, permissions, id);
export const group = (permissions: number): AccessEntry => entry(0x04, permissions);
export const mask = (permissions: number): AccessEntry => entry(0x10, permissions);
export const others = (permissions: number): AccessEntry => entry(0x20, permissions);

export const ACCESS = 'system.posix_acl_access';
export const DEFAULT = 'system.posix_acl_default';
export const BOTH: OpenMode = { access: 'both', append: false, truncate: false, durable: 'no' };
