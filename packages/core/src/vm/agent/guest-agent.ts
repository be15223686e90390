/**
 * What the host can ask of a guest through its agent: the interfaces that `AgentClient` fulfils, and what they need of the host.
 * docs/guest-agent.md says what happens in the guest.
 *
 * Every promise here rejects with an AgentError. Bytes that a guest sends are its own word, and names in a tree are checked: what comes
 * out of `copyOut` cannot lead outside of the folder it is written to, if whoever writes it follows no links.
 */

import type { Clock } from '../../base/ports.ts';
import type { ConsolePort } from '../../machine/virtio/console-port.ts';
import type { Turns } from '../runner.ts';

/** The name of the agent's port on the console device. */
export const AGENT_PORT_NAME = 'org.ringfence.agent.0';

/** What the client needs of a port; a ConsolePort has it. The client sets the three callbacks and takes the port over. */
export type AgentPort = Pick<
  ConsolePort,
  'write' | 'writable' | 'close' | 'open' | 'discard' | 'hostOpen' | 'guestOpen' | 'onData' | 'onOpen' | 'onClose'
>;

/** Time, and alarms. */
export interface AgentWorld {
  readonly clock: Clock;
  readonly timers: Pick<Turns, 'after'>;
  /** Whether the guest's machine stands still: then it need not answer. */
  readonly isPaused?: () => boolean;
}

/** What the agent said of itself and its guest. */
export interface AgentHello {
  /** The protocol that both sides speak. */
  readonly protocolVersion: number;
  /** Name and version of the agent, such as `ringfence-agent 2`. */
  readonly agent: string;
  /** What the first process is: `systemd` obeys signals for a shutdown, `other` is bypassed. */
  readonly init: 'systemd' | 'other';
  /** The guest's wall clock when it answered, in nanoseconds since 1970. */
  readonly wallNs: bigint;
  /** Processes, copies and the like that may be under way at once. */
  readonly maximumChannels: number;
}

/** How long to wait for an answer of the guest; AGENT_TIMEOUT_MS when it is not given. */
export interface AgentPatience {
  readonly timeoutMs?: number;
}

export interface AgentTerminal {
  readonly columns: number;
  readonly rows: number;
  /** TERM of the program; `xterm-256color` when it is not given. */
  readonly term?: string;
}

export interface AgentCommand extends AgentPatience {
  /** The program, looked for in the PATH of its environment when it has no `/`, and its arguments. Not empty. */
  readonly argv: readonly (string | Uint8Array)[];
  /** Added to what a login sets: HOME, USER, LOGNAME, SHELL, PATH. */
  readonly env?: Readonly<Record<string, string>>;
  /** A user by name or number, `:` and a group by name or number after it if its own is not meant. Root when it is not given. */
  readonly user?: string;
  /** An absolute path; the user's home when it is not given. */
  readonly workdir?: string;
  /** The program runs in a terminal of its own: it is on `stdout`, and `stderr` stays empty. */
  readonly terminal?: AgentTerminal;
  /** `empty`: the program reads nothing, and `stdin` has ended already. `open` when it is not given. */
  readonly stdin?: 'open' | 'empty';
}

/** How a process ended. */
export type AgentExit =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signaled'; readonly signal: number };

/** A stream into the guest. */
export interface AgentInput {
  /**
   * Resolves when there is room for more; the client copies `bytes`. What is written after the reader is
   * gone is dropped.
   */
  write(bytes: Uint8Array): Promise<void>;
  /** The end of the input, after all that was written. In a terminal: as if it were hung up is `close`; this types the end of file. */
  end(): void;
  /** Nobody reads it any more. */
  readonly isClosed: boolean;
}

/**
 * A stream out of the guest, to be iterated once. While nobody takes what is there, the program waits, and it alone. Ends when the
 * program and all that hold its end are done, or when the program has exited and nothing more was there.
 */
export interface AgentOutput extends AsyncIterable<Uint8Array> {
  /** Takes whatever comes and drops it. */
  discard(): void;
}

export interface AgentProcess {
  /** Its number in the guest. */
  readonly pid: number;
  readonly stdin: AgentInput;
  readonly stdout: AgentOutput;
  readonly stderr: AgentOutput;
  /** Settles when the program has ended; its output may still be there to take. Rejects when the guest or its agent is lost. */
  readonly exited: Promise<AgentExit>;
  /** Sends a signal to the program's process group; in a terminal to the group in the foreground. */
  signal(signal: number): void;
  /** The terminal has another size. */
  resize(columns: number, rows: number): void;
  /** Nobody is interested any more: ends the program and its session (SIGHUP, two seconds later SIGKILL), if it has not ended. */
  close(): void;
}

export type AgentFileKind = 'folder' | 'file' | 'symlink' | 'fifo' | 'socket' | 'character-device' | 'block-device';

/** What a file is; `stat` gives it and a tree is made of it. */
export interface AgentFileStatus {
  readonly kind: AgentFileKind;
  /** Permission bits with set-user-ID, set-group-ID and sticky: 0 to 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Nanoseconds since 1970. */
  readonly mtimeNs: bigint;
  readonly sizeBytes: number;
  /** Of a device. */
  readonly device: { readonly major: number; readonly minor: number };
  /** Of a symbolic link. */
  readonly target: Uint8Array;
}

/**
 * A step of a copy. A folder comes before what is in it, and all that is in it comes before what is beside it. Data and holes: what
 * no `data` covers is a hole, up to `sizeBytes` of the file's entry.
 */
export type AgentTreeStep =
  /** `path` holds the names from the root of the copy on; the root itself has none. */
  | { readonly kind: 'entry'; readonly path: readonly Uint8Array[]; readonly status: AgentFileStatus }
  /** Another name for a file that came before. */
  | { readonly kind: 'hard-link'; readonly path: readonly Uint8Array[]; readonly to: readonly Uint8Array[] }
  /** Content of the regular file that came last, by ascending offsets. */
  | { readonly kind: 'data'; readonly offsetBytes: number; readonly bytes: Uint8Array };

export interface CopyOutOptions extends AgentPatience {
  /** Whose eyes it is read with, as in AgentCommand. */
  readonly user?: string;
  /** When the path itself is a symbolic link, what it leads to is copied. Default false. */
  readonly follow?: boolean;
}

export interface CopyInOptions extends AgentPatience {
  /** Whose hands it is written with, and whose the files are unless `keepOwners`. */
  readonly user?: string;
  /** Files belong to the numbers that the steps name. Default false. */
  readonly keepOwners?: boolean;
  /** Folders above the path that are missing are made. Default false. */
  readonly makeParents?: boolean;
}

export interface ReadFileOptions extends AgentPatience {
  readonly user?: string;
  /** A longer file is refused. MAXIMUM_READ_BYTES when it is not given. */
  readonly maximumBytes?: number;
}

export interface WriteFileOptions extends AgentPatience {
  readonly user?: string;
  /** Permission bits; 0o644 when it is not given. */
  readonly mode?: number;
  /** Numbers; the user's own when it is not given. */
  readonly owner?: { readonly uid: number; readonly gid: number };
  /** Nanoseconds since 1970; the host's now when it is not given. */
  readonly mtimeNs?: bigint;
  readonly makeParents?: boolean;
}

/** File systems that stand still: nothing is written until `thaw`. */
export interface AgentFreeze {
  /** How many file systems. */
  readonly count: number;
  /** Settles when they are thawed, whoever did it: `asked` by `thaw`, or `timeout` when the guest did not want to wait any longer. */
  readonly thawed: Promise<'asked' | 'timeout'>;
  thaw(): Promise<void>;
}

export interface FreezeOptions extends AgentPatience {
  /** The guest thaws by itself after that. FREEZE_TIMEOUT_MS when it is not given. */
  readonly thawAfterMs?: number;
}

/** What setting the clock has found. */
export interface AgentClockChange {
  /** How far the guest's clock was behind the host's; negative when it was ahead. */
  readonly behindNs: bigint;
  /** Whether the guest's clock was set: not when it was right to within CLOCK_TOLERANCE_NS. */
  readonly wasSet: boolean;
}

/** Who a guest is after its machine was restored or copied: others may run with the same memory. */
export interface AgentIdentity extends AgentPatience {
  /** Its host name until it is restarted, 1 to 64 bytes; as it was when it is not given. */
  readonly hostname?: string;
  /** Chance for the kernel's generator of random numbers, which goes on from it; at most MAXIMUM_SEED_BYTES. */
  readonly seed: Uint8Array;
}

/** The agent of one guest, on one port. */
export interface GuestAgent {
  /** Whether there is an agent to talk to at this moment. */
  readonly isReady: boolean;
  /** Resolves when the agent has answered, at once when it has already; without a timeout it waits for as long as the client is open. */
  ready(options?: AgentPatience): Promise<AgentHello>;
  /** Resolves when the program runs. */
  exec(command: AgentCommand): Promise<AgentProcess>;
  /** What a path is; a symbolic link itself unless `follow`. Rejects with `errno` ENOENT when there is nothing. */
  stat(path: string | Uint8Array, options?: CopyOutOptions): Promise<AgentFileStatus>;
  /** A file or a folder with all that is in it. Stops at other file systems' mount points no more than at folders. */
  copyOut(path: string | Uint8Array, options?: CopyOutOptions): AsyncIterable<AgentTreeStep>;
  /** Makes what the steps say at `path`: a folder that is there already stays and gets more, a file is replaced. */
  copyIn(
    path: string | Uint8Array,
    steps: Iterable<AgentTreeStep> | AsyncIterable<AgentTreeStep>,
    options?: CopyInOptions,
  ): Promise<void>;
  readFile(path: string | Uint8Array, options?: ReadFileOptions): Promise<Uint8Array>;
  writeFile(
    path: string | Uint8Array,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    options?: WriteFileOptions,
  ): Promise<void>;
  /** Sets the guest's clock to the host's. The client does so by itself when the host's clock has jumped. */
  setTime(options?: AgentPatience): Promise<AgentClockChange>;
  /** Makes the guest another one than its memory says. Rejects with `unsupported` when its agent is too old for that. */
  identify(identity: AgentIdentity): Promise<void>;
  /**
   * Gives the network card with the hardware address `from` another one, while it is up: its addresses and routes stay. Rejects with `unsupported` when
   * its agent is too old for that, with ENODEV when there is no such card.
   */
  changeCard(from: Uint8Array, to: Uint8Array, options?: AgentPatience): Promise<void>;
  /** Resolves when the guest has begun to shut down; the machine ends by itself. */
  shutdown(how: 'poweroff' | 'reboot', options?: AgentPatience): Promise<void>;
  /** Resolves when everything is on the disks and all file systems on them stand still. */
  freeze(options?: FreezeOptions): Promise<AgentFreeze>;
  /** Resolves with the time to and fro, in nanoseconds. */
  ping(options?: AgentPatience): Promise<number>;
  /** Ends everything that is under way in the guest and gives the port up. */
  close(): void;
}
