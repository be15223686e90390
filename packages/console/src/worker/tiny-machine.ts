/**
 * One machine with the image `tiny` and a shell on its terminal, as `ringfence run` makes it on Node.
 *
 *     keys  --> console             console      --> page, "terminal"
 *                                   serial line  --> page, "serial", until the shell is there; its end is kept for a panic
 */

import { Machine, MachineRunner, type RunEnd } from '@ringfence/core';
import { commandArchive, GUEST_PORTS, GuestSession, SerialTail, TypeAhead } from '@ringfence/images/guest';
import { ConsoleError } from '../console-error.ts';
import { engineOptions } from '../engines.ts';
import type { MachineEnd, OutputStream, Statistics, TerminalSize } from '../protocol.ts';
import type { ServedImage } from '../served-image.ts';
import type { Settings } from '../settings.ts';
import { fetchFile } from './fetch-image.ts';
import { PageOutput, type Post } from './page-output.ts';
import { workerClock, workerEntropy, workerTurns } from './ports.ts';
import { WorkerCompiler } from './region-compiler.ts';

/** What the page's terminal, xterm.js, understands. */
const TERM = 'xterm-256color';

export class TinyMachine {
  readonly #machine: Machine;
  readonly #outputs: Readonly<Record<OutputStream, PageOutput>>;
  readonly #tail: SerialTail;
  readonly #typeAhead: TypeAhead;
  readonly #session: GuestSession;
  #exitCode: (code: number) => void = () => undefined;

  /** Fetches the image and makes the machine; it does not run yet. `onReady` is called when the guest has got to its shell. */
  static async create(image: ServedImage, settings: Settings, post: Post, onReady: () => void): Promise<TinyMachine> {
    const outputs = { serial: new PageOutput('serial', post), terminal: new PageOutput('terminal', post) };
    const tail = new SerialTail();
    let isBooting = true;
    const ready = (): void => {
      isBooting = false;
      onReady();
    };
    const { kernel, initrd } = await fetchPayloads(image, post);
    post({ kind: 'booting' });
    const machine = await withMemory(settings.memoryBytes, () =>
      Machine.create({
        ...engineOptions(settings.engine),
        compiler: new WorkerCompiler(),
        memoryBytes: settings.memoryBytes,
        clock: workerClock,
        entropy: workerEntropy,
        serialOutput: {
          write(bytes) {
            tail.write(bytes);
            if (isBooting) outputs.serial.write(bytes);
          },
        },
        consolePorts: GUEST_PORTS,
        firmware: 'own',
        kernel: { kind: 'kernel', name: image.kernel.file, bytes: kernel },
        initrd: { kind: 'initrd', name: image.initrd.file, bytes: initrd },
        // earlycon: messages come from the first one on, and not only when the driver of the serial line is there.
        bootArguments: ['earlycon', 'console=ttyS0', 'panic=-1', ...image.kernelParameters].join(' '),
        // A machine in a page is started anew in a new worker, never reset.
        discardPayloads: true,
      }),
    );
    return new TinyMachine(machine, outputs, tail, ready);
  }

  private constructor(
    machine: Machine,
    outputs: Readonly<Record<OutputStream, PageOutput>>,
    tail: SerialTail,
    ready: () => void,
  ) {
    this.#machine = machine;
    this.#outputs = outputs;
    this.#tail = tail;
    const { terminal } = outputs;
    this.#session = new GuestSession(
      machine.console?.ports ?? [],
      { terminal, stdout: terminal, stderr: terminal },
      { ready, exit: (code) => this.#exitCode(code) },
    );
    this.#typeAhead = new TypeAhead(this.#session.terminal);
  }

  /** Runs it to its end. Rejects when Ringfence itself failed. */
  async run(): Promise<MachineEnd> {
    const exited = new Promise<MachineEnd>((resolve) => {
      this.#exitCode = (code) => resolve({ kind: 'exit', code });
    });
    const runner = new MachineRunner(this.#machine, workerTurns(this.#outputs.serial));
    runner.start();
    try {
      return await Promise.race([exited, runner.ended.then((end) => this.#endOf(end))]);
    } finally {
      await runner.stop();
      this.#session.takeRest();
      for (const output of Object.values(this.#outputs)) output.flush();
    }
  }

  type(bytes: Uint8Array): void {
    this.#typeAhead.push(bytes);
  }

  resize({ columns, rows }: TerminalSize): void {
    this.#machine.console?.ports[0]?.resize(columns, rows);
  }

  shown(stream: OutputStream, bytes: number): void {
    this.#outputs[stream].shown(bytes);
  }

  get statistics(): Statistics {
    return { instructions: this.#machine.statistics()['instructions'] ?? 0, atMs: performance.now() };
  }

  #endOf(end: RunEnd): MachineEnd {
    const { panic } = this.#tail;
    if (panic !== undefined && end.kind === 'reboot') return { kind: 'panic', text: panic };
    // Nobody but `run` stops the runner.
    return end.kind === 'stopped' ? { kind: 'poweroff' } : end;
  }
}

async function fetchPayloads(
  image: ServedImage,
  post: Post,
): Promise<{ kernel: Uint8Array<ArrayBuffer>; initrd: Uint8Array<ArrayBuffer> }> {
  const bytesTotal = image.kernel.sizeBytes + image.initrd.sizeBytes;
  let bytesDone = 0;
  const onBytes = (count: number): void => {
    bytesDone += count;
    post({ kind: 'fetching', bytesDone, bytesTotal });
  };
  const command = commandArchive({ argv: [], interactive: true, env: { TERM } });
  const [kernel, initrd] = await Promise.all([
    fetchFile(image.kernel, 0, onBytes),
    fetchFile(image.initrd, command.length, onBytes),
  ]);
  initrd.set(command, image.initrd.sizeBytes);
  return { kernel, initrd };
}

/** A browser that has no room for the machine says so with a RangeError (WebAssembly JavaScript Interface, 5.3). */
async function withMemory(memoryBytes: number, create: () => Promise<Machine>): Promise<Machine> {
  try {
    return await create();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const megabytes = Math.round(memoryBytes / 2 ** 20);
    throw new ConsoleError(
      'no-memory',
      `The browser has no room for a machine of ${megabytes} MiB. Ask for less in the address, like ?memory=128M, or close other tabs.`,
      error,
    );
  }
}
