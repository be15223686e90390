/**
 * A virtual machine that goes on from a kept boot, up to its first step, made before anybody asks for it: then it is told whose it is, and runs.
 *
 *     make      kept boot --> its machine: memory, devices, decoded code; no time passes in it, and it is on no network
 *     become    name, network card, ports, serial line, commands' variables ... of a machine of the same make --> VM
 */

import { HostError } from '../failure.ts';
import { LateNetwork } from '../network/late-network.ts';
import { openNetwork } from '../network/machine-network.ts';
import { assemble, type VMParts } from './assemble.ts';
import { type VMOptions, vmSettings } from './options.ts';
import { servedBy } from './served.ts';
import type { WarmProcess } from './warm-process.ts';

export class ParkedVM {
  readonly #parts: VMParts;
  readonly #network: LateNetwork;
  readonly #serial: { write?: VMOptions['onSerial'] };

  private constructor(parts: VMParts, network: LateNetwork, serial: { write?: VMOptions['onSerial'] }) {
    this.#parts = parts;
    this.#network = network;
    this.#serial = serial;
  }

  /** Of the options that shape it, with the kept boot that it goes on from. Rejects with a HostError when that cannot be used. */
  static async make(wanted: VMOptions, warm?: WarmProcess): Promise<ParkedVM> {
    const settings = vmSettings(wanted);
    const network = new LateNetwork(settings.network.net !== 'none');
    const serial: { write?: VMOptions['onSerial'] } = {};
    const options: VMOptions = { ...wanted, reachable: false, onSerial: (bytes) => serial.write?.(bytes) };
    const nobody = servedBy(() => Promise.reject(new HostError('ended', 'it is nobody’s machine yet')));
    const parts = await assemble(options, settings, nobody, undefined, warm, network);
    const parked = new ParkedVM(parts, network, serial);
    parts.clock.stop();
    if (parts.start.kind === 'resume' && parts.start.kept.openRest()) return parked;
    await parked.close();
    throw new HostError('unavailable', 'there is no kept boot to go on from');
  }

  /** Closes it; nobody wants it. */
  close(): Promise<void> {
    return this.#parts.close();
  }

  /** What it is as the machine of these options, which are of the same make. Once. Rejects with a HostError, and nothing is left of it. */
  async become(options: VMOptions): Promise<VMParts> {
    try {
      const settings = vmSettings(options);
      const name = options.name ?? this.#parts.name;
      const opened = await openNetwork(settings.network, name);
      const notes = [...this.#parts.notes];
      const close = async (): Promise<void> => {
        const note = await opened.close();
        if (note !== undefined) notes.push(note);
        await this.#parts.close();
      };
      this.#serial.write = options.onSerial;
      this.#parts.clock.go();
      return {
        ...this.#parts,
        name,
        options,
        settings,
        suite: options.booted?.suite ?? '',
        consoleProgram: options.booted?.consoleProgram,
        notes,
        network: this.#network.join(opened),
        close,
      };
    } catch (error) {
      await this.#parts.close();
      throw error;
    }
  }
}
