/** The guest's terminal: xterm.js in the page's middle, as large as there is room. */

import { FitAddon } from '@xterm/addon-fit';
import { Terminal } from '@xterm/xterm';
import type { OutputStream, TerminalSize } from '../protocol.ts';

/** Lines that can be scrolled back to. */
const SCROLLBACK_LINES = 10_000;
/** SGR 2 and 0 (ECMA-48, 8.3.117): the kernel's messages are fainter than what people and programs write. */
const FAINT = '\u001b[2m';
const PLAIN = '\u001b[0m';

export interface TerminalEvents {
  readonly keys: (bytes: Uint8Array) => void;
  readonly resized: (size: TerminalSize) => void;
}

export class GuestTerminal {
  readonly #terminal = new Terminal({
    fontFamily: 'ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace',
    fontSize: 14,
    // Below 1.15 some fonts lose their underscores to the next row.
    lineHeight: 1.15,
    scrollback: SCROLLBACK_LINES,
    cursorBlink: true,
    theme: {
      background: '#0d1117',
      foreground: '#e6edf3',
      cursor: '#4cc38a',
      selectionBackground: '#2f4f6f',
      black: '#484f58',
      red: '#ff7b72',
      green: '#4cc38a',
      yellow: '#e2b340',
      blue: '#79b8ff',
      magenta: '#d2a8ff',
      cyan: '#56d4dd',
      white: '#c9d1d9',
    },
  });
  #stream: OutputStream = 'terminal';

  constructor(parent: HTMLElement, { keys, resized }: TerminalEvents) {
    const encoder = new TextEncoder();
    this.#terminal.onData((text) => keys(encoder.encode(text)));
    // Mouse reports of old kinds: bytes, and not text.
    this.#terminal.onBinary((text) => keys(Uint8Array.from(text, (byte) => byte.charCodeAt(0))));
    this.#terminal.onResize(({ cols, rows }) => resized({ columns: cols, rows }));
    const fit = new FitAddon();
    this.#terminal.loadAddon(fit);
    this.#terminal.open(parent);
    fit.fit();
    new ResizeObserver(() => fit.fit()).observe(parent);
  }

  get size(): TerminalSize {
    return { columns: this.#terminal.cols, rows: this.#terminal.rows };
  }

  /** Shows what came, and calls back when it has. */
  write(stream: OutputStream, bytes: Uint8Array, shown: () => void): void {
    if (stream !== this.#stream) this.#terminal.write(stream === 'serial' ? FAINT : PLAIN);
    this.#stream = stream;
    this.#terminal.write(bytes, shown);
  }

  /** A line of Ringfence's own below what the guest wrote. */
  say(text: string): void {
    this.#terminal.write(`${PLAIN}\r\n${FAINT}${text.replaceAll('\n', '\r\n')}${PLAIN}\r\n`);
  }

  /** As new, for the next machine. */
  reset(): void {
    this.#terminal.reset();
    this.#stream = 'terminal';
  }

  focus(): void {
    this.#terminal.focus();
  }
}
