/**
 * The numbers of the protocol between the host and a guest's agent (docs/guest-agent.md). The agent's header is made of them
 * (testing/protocol-header.ts), so the two sides cannot disagree. All integers on the wire are little-endian.
 *
 *     frame:  u16 payload bytes   u8 type   u8 stream   u32 channel   payload
 */

import { KiB, MiB } from '../../base/numbers.ts';

/** What this host speaks; the agent answers with one of them. */
export const LOWEST_VERSION = 1;
export const HIGHEST_VERSION = 1;

/** The first bytes of a hello's payload. */
export const HELLO_MAGIC = 'RFagent\n';

export const FRAME_HEADER_BYTES = 8;
/** With its header a frame is what Linux hands a port in one piece (drivers/char/virtio_console.c, port_fops_write). */
export const MAXIMUM_PAYLOAD_BYTES = 32 * KiB - FRAME_HEADER_BYTES;
/** A request may span frames that follow one another. */
export const MAXIMUM_REQUEST_BYTES = MiB;

/** Types of frames. */
export const FRAME = {
  /** First, in both directions: magic, u16 lowest version, u16 highest, u32 window; back: see AGENT_HELLO. */
  HELLO: 1,
  /** Comes back as it is. */
  PING: 2,

  // The host opens a channel with one of these; `stream` 1 says that the request goes on in the next frame.
  /** See EXEC_REQUEST. */
  EXEC: 3,
  /** See PACK_REQUEST. */
  PACK: 4,
  /** See UNPACK_REQUEST. */
  UNPACK: 5,
  /** u32 milliseconds until it thaws by itself. */
  FREEZE: 6,
  /** s64 nanoseconds since 1970, u64 nanoseconds by which the clock may be wrong. */
  SET_TIME: 7,
  /** u32: a SHUTDOWN. */
  SHUTDOWN: 8,
  /** Who the guest is from now on: u16 bytes of its host name (0: as it was), then the name, and all that follows is a random seed. */
  IDENTITY: 9,
  /** The hardware address of a network card, and the one that it has from now on: 6 bytes each. */
  CARD: 10,

  // On an open channel.
  /** Bytes of a stream. */
  DATA: 16,
  /** A stream ends; towards the host and about STDIN: nobody reads it any more. */
  END: 17,
  /** u32: so many more bytes of a stream may be sent. */
  WINDOW: 18,
  /** u32: a signal for the program's process group. */
  SIGNAL: 19,
  /** u16 columns, u16 rows. */
  RESIZE: 20,
  /** The host is done with the channel. */
  CLOSE: 21,

  // From the guest.
  /** It runs: u32, its process number; of FREEZE: how many file systems. */
  STARTED: 32,
  /** It has ended: u32 EXIT, u32 code or signal. */
  EXITED: 33,
  /** It could not be done, and the channel is no more: u16 errno, u8 STAGE, u8 0, and what it was about as text. */
  FAILED: 34,
  /** It is done, and the channel is no more. SET_TIME: s64 nanoseconds behind, u32 whether it was set. */
  DONE: 35,
} as const;

export const STREAM = { STDIN: 0, STDOUT: 1, STDERR: 2 } as const;
export const STREAMS = 3;

/** `stream` of a request's frame. */
export const REQUEST_GOES_ON = 1;

/** How a process ended. */
export const EXIT = { CODE: 0, SIGNAL: 1 } as const;

/** What the guest was at when it failed. */
export const STAGE = {
  /** The request itself is wrong, or there are too many. */
  REQUEST: 0,
  /** Processes, pipes, memory. */
  RESOURCES: 1,
  USER: 2,
  GROUP: 3,
  WORKDIR: 4,
  TERMINAL: 5,
  PROGRAM: 6,
  /** A file that was to be read or written. */
  PATH: 7,
  /** The steps of a copy do not make sense. */
  TREE: 8,
  FREEZE: 9,
  CLOCK: 10,
  SHUTDOWN: 11,
  IDENTITY: 12,
  CARD: 13,
} as const;

/** Linux's own limit (include/uapi/linux/utsname.h). */
export const MAXIMUM_HOSTNAME_BYTES = 64;
export const MAXIMUM_SEED_BYTES = 512;
/** Of an Ethernet address (IEEE 802, clause 8). */
export const CARD_ADDRESS_BYTES = 6;
/** The network devices that are looked at for a card, by the kernel's numbers, which begin with 1; real cards are among the first. */
export const MAXIMUM_CARD_NUMBER = 256;

export const SHUTDOWN = { POWEROFF: 0, REBOOT: 1 } as const;

/** What the agent's hello says of the first process. */
export const INIT = { OTHER: 0, SYSTEMD: 1 } as const;

/** Magic, u16 version (0: none in common), u16 channels, u32 window, s64 wall clock, u32 INIT, then name and version as text. */
export const AGENT_HELLO_BYTES = 28;
export const MAXIMUM_AGENT_NAME_BYTES = 64;

/** u16 flags, u16 columns, u16 rows, u16 0, u32 arguments, u32 variables; then strings, each with a NUL: user, workdir, arguments, variables. */
export const EXEC_REQUEST_BYTES = 16;
export const EXEC_FLAG = { TERMINAL: 1, NO_INPUT: 2 } as const;

/** u32 flags, then user and path, each with a NUL. */
export const PACK_FLAG = {
  /** A symbolic link at the path itself is followed. */
  FOLLOW: 1,
  /** The entry alone. */
  ENTRY_ONLY: 2,
  /** Whatever can be read counts as a file; a folder is refused. */
  CONTENT: 4,
} as const;
export const UNPACK_FLAG = { KEEP_OWNERS: 1, MAKE_PARENTS: 2 } as const;

/** Kinds of records that a copy is made of. */
export const RECORD = {
  FOLDER: 1,
  FILE: 2,
  SYMLINK: 3,
  HARD_LINK: 4,
  FIFO: 5,
  SOCKET: 6,
  CHARACTER_DEVICE: 7,
  BLOCK_DEVICE: 8,
  DATA: 16,
  END: 17,
} as const;

/**
 * u8 kind, u8 flags, u16 name bytes, u16 depth, u16 target bytes, u32 mode, u32 uid, u32 gid, u32 nanoseconds, s64 seconds, u64 size,
 * u32 major, u32 minor; then name and target. `depth` counts from 0, the root, which has no name. The target of a HARD_LINK is the path
 * of a file that came before, from the root on. From the guest: in one folder names ascend, byte by byte.
 */
export const ENTRY_RECORD_BYTES = 48;
/** A file that may come again as a HARD_LINK. */
export const ENTRY_FLAG = { MORE_NAMES: 1 } as const;
/** u8 kind, 3 x 0, u32 bytes, u64 offset; then bytes. */
export const DATA_RECORD_BYTES = 16;
/** u8 kind, 3 x 0: the copy is whole. */
export const END_RECORD_BYTES = 4;
export const MAXIMUM_DATA_RECORD_BYTES = 64 * KiB;

/** Linux's own limits (include/uapi/linux/limits.h). */
export const MAXIMUM_NAME_BYTES = 255;
export const MAXIMUM_PATH_BYTES = 4095;
/** Folders within folders of one copy: the agent keeps each open. */
export const MAXIMUM_DEPTH = 256;
/** Files with several names in one copy. */
export const MAXIMUM_LINKED_FILES = 65536;
