/** How a download is getting on, on stderr: a bar that redraws itself on a terminal, a line now and then where there is none. */

import { formatSize } from '@ringfence/core/sizes';

/** What can happen while an image is pulled; @ringfence/images says it so. */
export type Step =
  | { readonly kind: 'waiting' }
  | {
      readonly kind: 'download' | 'unpack';
      readonly item: string;
      readonly bytesDone: number;
      readonly bytesTotal?: number | undefined;
    }
  | { readonly kind: 'install'; readonly item: string; readonly stepsDone: number; readonly stepsTotal: number };

/** Where it is drawn. */
export interface Screen {
  readonly isTerminal: boolean;
  readonly columns: number;
  write(text: string): void;
}

const BAR_CELLS = 24;
/** Between two drawings, in milliseconds. */
const REDRAW_MS = 100;
const FALLBACK_COLUMNS = 80;
const ERASE_LINE = '\r\u001b[K';

export class ProgressDisplay {
  readonly #screen: Screen;
  readonly #nowMs: () => number;
  #drawnAtMs = -Infinity;
  #isDrawn = false;
  /** What was said of which item already, where nothing can be redrawn. */
  readonly #said = new Set<string>();

  constructor(screen: Screen, nowMs: () => number) {
    this.#screen = screen;
    this.#nowMs = nowMs;
  }

  show(step: Step): void {
    if (this.#screen.isTerminal) this.#draw(step);
    else this.#say(step);
  }

  /** Leaves a clean line. */
  end(): void {
    if (this.#isDrawn) this.#screen.write(ERASE_LINE);
    this.#isDrawn = false;
  }

  #draw(step: Step): void {
    const isLast =
      step.kind !== 'waiting' &&
      (step.kind === 'install' ? step.stepsDone === step.stepsTotal : step.bytesDone === step.bytesTotal);
    if (!isLast && this.#nowMs() - this.#drawnAtMs < REDRAW_MS) return;
    this.#drawnAtMs = this.#nowMs();
    this.#isDrawn = true;
    const line = progressLine(step, (this.#screen.columns || FALLBACK_COLUMNS) - 1);
    this.#screen.write(`${ERASE_LINE}${line}`);
  }

  #say(step: Step): void {
    const text =
      step.kind === 'waiting' || step.kind === 'install' ? words(step) : `${words(step)}${total(step.bytesTotal)}`;
    // Packages that are installed are many and small; a line for each quarter of them is enough.
    const quarter = step.kind === 'install' ? Math.floor((4 * step.stepsDone) / step.stepsTotal) : 0;
    const key =
      step.kind === 'waiting'
        ? 'waiting'
        : step.kind === 'install'
          ? `install ${quarter}`
          : `${step.kind} ${step.item}`;
    if (this.#said.has(key)) return;
    this.#said.add(key);
    this.#screen.write(`${text}\n`);
  }
}

/** One line of at most `columns` characters. */
export function progressLine(step: Step, columns: number): string {
  if (step.kind === 'waiting') return words(step).slice(0, columns);
  const isInstall = step.kind === 'install';
  const bytesDone = isInstall ? step.stepsDone : step.bytesDone;
  const bytesTotal = isInstall ? step.stepsTotal : step.bytesTotal;
  const amount = isInstall
    ? `${step.stepsDone} of ${step.stepsTotal} steps`
    : bytesTotal === undefined
      ? formatSize(bytesDone)
      : `${formatSize(bytesDone)} of ${formatSize(bytesTotal)}`;
  const share = bytesTotal === undefined || bytesTotal === 0 ? undefined : Math.min(1, bytesDone / bytesTotal);
  const full = Math.round((share ?? 0) * BAR_CELLS);
  const bar = share === undefined ? '' : `[${'#'.repeat(full)}${'.'.repeat(BAR_CELLS - full)}] `;
  return `${bar}${words(step)}, ${amount}`.slice(0, columns);
}

function words(step: Step): string {
  if (step.kind === 'waiting') return 'Another ringfence is pulling this image; waiting for it';
  switch (step.kind) {
    case 'download':
      return `Fetching ${step.item}`;
    case 'unpack':
      return `Unpacking ${step.item}`;
    case 'install':
      return `Installing ${step.item}`;
  }
}

function total(bytes: number | undefined): string {
  return bytes === undefined ? '' : ` (${formatSize(bytes)})`;
}
