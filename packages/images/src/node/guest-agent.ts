/** The guest agent (docs/guest-agent.md): a program for riscv64 that needs nothing but a kernel, and how systemd runs it. */

import { readFile } from 'node:fs/promises';

const PROGRAM = new URL('../../agent/ringfence-agent', import.meta.url);
const UNIT = new URL('../../agent/ringfence-agent.service', import.meta.url);

/**
 * SHA-256 of the first agent that does all that a host cannot do without: images with it, or a later one, are as good as new. What a later one does beside that
 * is done in another way where there is none.
 */
export const OLDEST_AGENT = 'aecc8bab84f78e543e347102280041a7acb6bc62113a9d6d481825ca746ee916';

/** The program; in an image it is an executable, owned by root, such as /usr/sbin/ringfence-agent. */
export function readAgent(): Promise<Uint8Array> {
  return readFile(PROGRAM);
}

/** The unit for /usr/lib/systemd/system/ringfence-agent.service; it expects the program at /usr/sbin/ringfence-agent. */
export function readAgentUnit(): Promise<string> {
  return readFile(UNIT, 'utf8');
}
