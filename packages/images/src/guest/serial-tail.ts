/** The end of what a machine wrote to its serial line, for the moment when somebody must be told why it died. */

/** More than the kernel says at a panic. */
export const SERIAL_TAIL_BYTES = 64 * 1024;

const PANIC = 'Kernel panic';
/** Said before the panic, and part of the story. */
const BEFORE_PANIC = ['Unable to handle kernel', 'Oops', 'BUG:'];

export class SerialTail {
  readonly #ring = new Uint8Array(SERIAL_TAIL_BYTES);
  #written = 0;

  write(bytes: Uint8Array): void {
    for (const byte of bytes) this.#ring[this.#written++ % SERIAL_TAIL_BYTES] = byte;
  }

  get text(): string {
    const start = this.#written > SERIAL_TAIL_BYTES ? this.#written % SERIAL_TAIL_BYTES : 0;
    const bytes = new Uint8Array(Math.min(this.#written, SERIAL_TAIL_BYTES));
    bytes.set(this.#ring.subarray(start, bytes.length));
    bytes.set(this.#ring.subarray(0, start), bytes.length - start);
    return new TextDecoder().decode(bytes);
  }

  /** The kernel's last words, from the line that names the panic on, harmless to a terminal; undefined when there was no panic. */
  get panic(): string | undefined {
    const lines = printable(this.text).split('\n');
    const panic = lines.findIndex((line) => line.includes(PANIC));
    if (panic < 0) return undefined;
    const cause = lines.findIndex((line) => BEFORE_PANIC.some((words) => line.includes(words)));
    return lines
      .slice(cause >= 0 && cause < panic ? cause : panic)
      .join('\n')
      .trimEnd();
  }
}

/** What a guest says must not steer the user's terminal. */
function printable(text: string): string {
  return text.replaceAll(/\r+\n/g, '\n').replaceAll(/[^\P{Cc}\n\t]/gu, '?');
}
