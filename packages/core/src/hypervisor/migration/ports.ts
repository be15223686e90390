/** What a migration asks of the host: a link that keeps messages whole and in order, a checksum, and, for links that are slow, compression. */

/** One end of a link. What is sent arrives once and in order, or the link is lost. */
export interface MigrationLink {
  /**
   * Sends a message; resolves when there is room for more. What is sent on a lost link is dropped. `sent` is called when its bytes are not looked at any more:
   * until then nobody may change them.
   */
  send(message: Uint8Array, sent?: () => void): Promise<void>;
  /** Who hears what comes, and that nothing comes any more. Called once; messages that came before are not lost. A message is there while it is heard. */
  listen(onMessage: (message: Uint8Array) => void, onLost: () => void): void;
  /** Neither side hears anything any more. */
  close(): void;
}

/** The same link of a machine that runs already while pages are missing, and waits for one of them where it stands. */
export interface WaitingLink {
  send(message: Uint8Array): void;
  /** The next message, which is there until the next one is asked for; waits for it when `wait` says so, and gives undefined when there is none otherwise. Throws when the link is lost. */
  receive(wait: boolean): Uint8Array | undefined;
  /**
   * Of one that may be followed by another, when this one is lost: whether that is there, and its messages are the next ones; waits for it when `wait` says
   * so. Throws when none comes any more.
   */
  rejoin?(wait: boolean): boolean;
}

export interface MigrationCodec {
  /** CRC-32 (ISO 3309). */
  checksum(bytes: Uint8Array): number;
  /** Pages in fewer bytes; undefined when the link is faster than that. */
  compress(pages: Uint8Array): Promise<Uint8Array | undefined>;
  /** What `compress` was given, `bytes` long; throws when it was not. */
  decompress(packed: Uint8Array, bytes: number): Uint8Array;
  /** Lets others have the thread. */
  turn(): Promise<void>;
}

export interface MigrationTimers {
  monotonicNs(): number;
  sleep(ms: number): Promise<void>;
}
