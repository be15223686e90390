/** The page around the terminal: what the machine is doing, how fast, what it is; and the notice when it cannot be. */

import { formatSize } from '@ringfence/core/sizes';
import { phaseText, speedText, type Phase } from '../phase.ts';
import type { Statistics } from '../protocol.ts';
import type { ServedImage } from '../served-image.ts';
import type { Settings } from '../settings.ts';
import { element } from './elements.ts';

export class Status {
  readonly #state = element('state', HTMLElement);
  readonly #speed = element('speed', HTMLElement);
  readonly #machine = element('machine', HTMLElement);
  readonly #image = element('image', HTMLElement);
  readonly #notice = element('notice', HTMLElement);
  readonly #progress = element('progress', HTMLProgressElement);
  #statistics: Statistics | undefined;

  show(phase: Phase): void {
    this.#state.textContent = phaseText(phase);
    this.#state.dataset['phase'] = phase.kind;
    this.#notice.hidden = phase.kind !== 'failed';
    this.#notice.textContent = phase.kind === 'failed' ? phase.message : '';
    this.#showProgress(phase);
    if (phase.kind === 'running') return;
    this.#speed.textContent = '';
    this.#statistics = undefined;
  }

  showSettings({ engine, memoryBytes }: Settings): void {
    this.#machine.textContent = `${engine}, ${formatSize(memoryBytes)}`;
  }

  showImage({ distribution, kernelVersion }: ServedImage): void {
    this.#image.textContent = `${distribution}, Linux ${kernelVersion}`;
  }

  showStatistics(now: Statistics): void {
    if (this.#statistics !== undefined)
      this.#speed.textContent = speedText(this.#statistics, now) ?? this.#speed.textContent;
    this.#statistics = now;
  }

  #showProgress(phase: Phase): void {
    if (phase.kind === 'fetching') this.#progress.value = phase.bytesDone / phase.bytesTotal;
    else if (phase.kind === 'loading' || phase.kind === 'booting') this.#progress.removeAttribute('value');
    else this.#progress.value = 0;
  }
}
