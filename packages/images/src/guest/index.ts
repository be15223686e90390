/** The host's side of what the image's /init speaks (README.md, "The guest protocol"). Pure: a page has it as well as Node. */

export { commandArchive, type GuestCommand, type GuestNetwork } from '../tiny/command-archive.ts';
export { cpioArchive } from '../archive/cpio.ts';
export { feed, GUEST_PORTS, GuestSession, type GuestInput, type GuestSink } from './guest-session.ts';
export { SerialTail } from './serial-tail.ts';
export { TypeAhead } from './type-ahead.ts';
