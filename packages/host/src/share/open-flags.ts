/** Flags of open(2) on this host, whatever their numbers in the guest. */

import { constants } from 'node:fs';
import type { OpenMode } from '@ringfence/core';

/** A descriptor that only says which file (open(2), O_PATH): opens nothing, so it is harmless for devices and pipes. Node does not name it. */
const O_PATH = 0o10000000;

/** Holds an entry without following it or opening it. */
export const HOLD = O_PATH | constants.O_NOFOLLOW;
export const HOLD_FOLDER = O_PATH | constants.O_DIRECTORY;
/** Reading leaves the time of access as it is (open(2)); EPERM unless the file is ours or we may do everything. */
export const NO_ACCESS_TIME = constants.O_NOATIME;
export const READ_FOLDER = constants.O_RDONLY | constants.O_DIRECTORY;
/** Makes a file that was not there. */
export const CREATE = constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

const ACCESS = { read: constants.O_RDONLY, write: constants.O_WRONLY, both: constants.O_RDWR } as const;
const DURABLE = { no: 0, data: constants.O_DSYNC, all: constants.O_SYNC } as const;

export function openFlags({ access, append, truncate, durable }: OpenMode): number {
  return (
    ACCESS[access] |
    DURABLE[durable] |
    (append ? constants.O_APPEND : 0) |
    (truncate ? constants.O_TRUNC : 0) |
    constants.O_NOCTTY |
    constants.O_NONBLOCK
  );
}
