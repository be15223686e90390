/**
 * A machine that does nothing, made and gone on with while a start snapshot is built (tools/build/start-snapshot.ts): what it calls is compiled then, and need
 * not be while somebody waits. There is no WebAssembly in a Node that builds a snapshot, so that what stands for it here executes nothing. Nothing of it may
 * stay: everything is closed, and who notices that something is missing fails here and not later.
 */

import {
  AGENT_PORT_NAME,
  AgentClient,
  type AgentPort,
  Machine,
  type MachineOptions,
  MachineRunner,
  restoreInto,
  type SnapshotManifest,
  takeSnapshot,
} from '@ringfence/core';
import { nodeClock, nodeEntropy, nodeTurns } from '../machine/ports.ts';
import { openNetwork } from '../network/machine-network.ts';
import { imageNamed } from './images.ts';
import { keptBootKey, whyItBoots } from './kept-boot.ts';
import { randomName } from './names.ts';
import { vmSettings } from './options.ts';
import { SerialConsole } from './serial-console.ts';

const MEMORY_BYTES = 16 * 1024 ** 2;
const ROUNDS = 3;

export async function rehearse(): Promise<void> {
  if ('WebAssembly' in globalThis) throw new Error('a rehearsal is for where there is no WebAssembly');
  const stands = [
    standsIn(globalThis, 'WebAssembly', nothingExecutes()),
    standsIn(globalThis, 'SharedArrayBuffer', ArrayBuffer),
    standsIn(Uint8Array, 'fromBase64', (text: string) => new Uint8Array(Buffer.from(text, 'base64'))),
    standsIn(Uint8Array.prototype, 'toBase64', function toBase64(this: Uint8Array) {
      return Buffer.from(this).toString('base64');
    }),
  ];
  const forgetTimers = notedTimers();
  try {
    const settings = vmSettings({ image: 'tiny', keptBoot: true });
    whyItBoots({ keptBoot: true }, settings);
    keptBootKey({ fingerprint: '', suite: '', hasDisk: false }, {}, settings);
    imageNamed('tiny');
    const kept = await keep();
    for (let round = 0; round < ROUNDS; round++) await goOn(kept);
    await talk();
  } finally {
    for (const end of stands) end();
    await forgetTimers();
  }
}

/**
 * Notes the timers that are set until its answer is called, which clears them: one that was left would be in every process that begins with the start
 * snapshot, and Node keeps with it when the next one is due. A later one than that is never looked after then, and holds no process.
 */
function notedTimers(): () => Promise<void> {
  const { setTimeout, setInterval } = globalThis;
  const noted: NodeJS.Timeout[] = [];
  const noting = (set: (...words: never[]) => NodeJS.Timeout) =>
    Object.assign((...words: never[]) => {
      const timer = set(...words);
      noted.push(timer);
      return timer;
    }, set);
  Object.assign(globalThis, { setTimeout: noting(setTimeout), setInterval: noting(setInterval) });
  return async () => {
    Object.assign(globalThis, { setTimeout, setInterval });
    for (const timer of noted) clearTimeout(timer);
    // When the next one is due is found out anew behind one that has ended.
    await new Promise((resolve) => setTimeout(resolve, 1));
  };
}

/** Something stands in for what is missing, until the end. */
function standsIn(where: object, name: string, what: unknown): () => void {
  if (name in where) return () => {};
  Object.defineProperty(where, name, { value: what, configurable: true });
  return () => void Reflect.deleteProperty(where, name);
}

async function machineOf(use: (machine: Machine) => Promise<void>): Promise<void> {
  const network = await openNetwork({ net: 'user', ports: [], capture: undefined, mac: undefined }, randomName());
  const serial = new SerialConsole(undefined);
  const options: MachineOptions = {
    memoryBytes: MEMORY_BYTES,
    clock: nodeClock,
    entropy: nodeEntropy,
    serialOutput: serial.output,
    serialInputRoom: () => serial.roomAgain(),
    disks: [],
    shares: [],
    networkCards: network.cards,
    consolePorts: [{ name: 'console', console: true }, { name: AGENT_PORT_NAME }],
    firmware: 'own',
    blank: true,
    discardPayloads: true,
  };
  try {
    const machine = await Machine.create(options);
    serial.connect(machine.serial);
    await use(machine);
    machine.close();
  } finally {
    serial.close();
    await network.close();
  }
}

/** What a snapshot of such a machine says of it. */
async function keep(): Promise<SnapshotManifest> {
  const kept: SnapshotManifest[] = [];
  await machineOf(async (machine) => {
    const { manifest } = await takeSnapshot({
      machine,
      runner: { isPaused: true, pause: () => Promise.resolve(true), resume: () => {} },
      clock: nodeClock,
      codec: {
        digest: () => '',
        digestBytes: () => '',
        checksum: () => 0,
        hash: () => ({ update: () => {}, digest: () => '' }),
        pack: (bytes) => Promise.resolve({ bytes, checksum: 0 }),
        decompress: (bytes) => bytes,
        turn: () => Promise.resolve(),
      },
      sink: { append: () => Promise.resolve() },
      id: '',
      createdBy: '',
      createdAt: '',
    });
    kept.push(manifest);
  });
  const [manifest] = kept;
  if (manifest === undefined) throw new Error('nothing was kept');
  return JSON.parse(JSON.stringify(manifest)) as SnapshotManifest;
}

function goOn(manifest: SnapshotManifest): Promise<void> {
  return machineOf(async (machine) => {
    const source = { load: (_page: number, into: Uint8Array) => void into.fill(0) };
    restoreInto(machine, { manifest, source, runs: () => [[1, 2]] }, () =>
      machine.pages.place(Uint32Array.of(1, 2))?.fill(0),
    );
    const port = machine.console?.ports.find(({ name }) => name === AGENT_PORT_NAME);
    if (port === undefined) throw new Error('the machine has no port for its agent');
    const turns = nodeTurns([]);
    const runner = new MachineRunner(machine, turns);
    const agent = new AgentClient(port, { clock: nodeClock, timers: turns, isPaused: () => runner.isPaused }, 'nobody');
    runner.start();
    await new Promise((resolve) => setImmediate(resolve));
    machine.statistics();
    agent.close();
    await runner.stop();
  });
}

/** What is said to an agent that is known, and what it answers. */
async function talk(): Promise<void> {
  const said: Uint8Array[] = [];
  const port: AgentPort = {
    onData: undefined,
    onOpen: undefined,
    onClose: undefined,
    hostOpen: true,
    guestOpen: true,
    write: (bytes) => said.push(bytes) && bytes.length,
    writable: () => Promise.resolve(),
    close: () => {},
    open: () => {},
    discard: () => {},
  };
  const agent = new AgentClient(port, { clock: nodeClock, timers: nodeTurns([]) }, 'nobody');
  const asked = [
    agent.identify({ hostname: randomName(), seed: new Uint8Array(8) }),
    agent.exec({ argv: ['true'], env: { NAME: 'value' } }),
  ];
  agent.close();
  await Promise.allSettled(asked);
}

/** As much of WebAssembly as a machine asks for. */
function nothingExecutes(): unknown {
  const exports = new Proxy(
    {},
    { get: (_target, name) => (name === 'csrPeek' || name === 'checksum' ? () => 0n : () => 1) },
  );
  return {
    Memory: class {
      readonly buffer: ArrayBuffer;
      constructor({ initial }: { readonly initial: number }) {
        this.buffer = new ArrayBuffer(initial * 0x1_0000);
      }
    },
    Table: class {
      readonly length = 0;
    },
    validate: () => false,
    compile: () => Promise.resolve({}),
    instantiate: () => Promise.resolve({ exports }),
  };
}
