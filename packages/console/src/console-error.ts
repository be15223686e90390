/** Expected failures of the page and of the server that brings it. */

export type ConsoleErrorCode =
  /** The address of the page asks for what there is not. */
  | 'bad-address'
  /** The image cannot be fetched from the server. */
  | 'no-image'
  /** The browser does not give the machine its memory. */
  | 'no-memory'
  /** The page was not built. */
  | 'not-built'
  /** The server cannot listen. */
  | 'port';

/** `message` is a sentence for people. */
export class ConsoleError extends Error {
  override readonly name = 'ConsoleError';
  readonly code: ConsoleErrorCode;

  constructor(code: ConsoleErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}
