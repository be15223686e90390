/** The signals by which somebody ends this process, with their numbers. */

import { constants } from 'node:os';

const { SIGINT, SIGTERM, SIGHUP } = constants.signals;

export const SIGNALS = [
  ['SIGINT', SIGINT],
  ['SIGTERM', SIGTERM],
  ['SIGHUP', SIGHUP],
] as const;
