/** The guest agent (docs/guest-agent.md): a program for riscv64 that needs nothing but a kernel, and how systemd runs it. */

import { readFile } from 'node:fs/promises';

const PROGRAM = new URL('../../agent/ringfence-agent', import.meta.url);
const UNIT = new URL('../../agent/ringfence-agent.service', import.meta.url);

/** The program; in an image it is an executable, owned by root, such as /usr/sbin/ringfence-agent. */
export function readAgent(): Promise<Uint8Array> {
  return readFile(PROGRAM);
}

/** The unit for /usr/lib/systemd/system/ringfence-agent.service; it expects the program at /usr/sbin/ringfence-agent. */
export function readAgentUnit(): Promise<string> {
  return readFile(UNIT, 'utf8');
}
