import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AssertionFailure } from '../../base/assert.ts';
import { deviceLifecycle } from '../device-lifecycle.suite.ts';
import { CONSOLE_EVENT } from './console-control.ts';
import { PORT_CHUNK_BYTES, PORT_QUEUE_BYTES } from './console-port.ts';
import type { ConsolePort } from './console-port.ts';
import { VIRTIO_CONSOLE_F, VirtioConsole } from './console.ts';
import { ConsoleGuest } from './testing/console-guest.ts';
import { Rig, TRANSPORTS } from './testing/rig.ts';
import type { StartOptions } from './testing/rig.ts';

const PORTS = [{ name: 'console', console: true }, { name: 'ringfence.stdin' }, { name: 'ringfence.stdout' }];
const STDIN = 1;
const STDOUT = 2;
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytes = (word: string): Uint8Array => new TextEncoder().encode(word);

/** Records what a port tells the host, in order. */
function listen(port: ConsolePort): string[] {
  const events: string[] = [];
  port.onData = (data) => events.push(`data ${text(data)}`);
  port.onOpen = () => events.push('open');
  port.onClose = () => events.push('close');
  return events;
}

describe.each(TRANSPORTS)('the console device over %s', (transport) => {
  const make = (): Rig<VirtioConsole> => new Rig(transport, new VirtioConsole(PORTS), 1024);
  const start = (options: StartOptions = {}): { readonly rig: Rig<VirtioConsole>; readonly guest: ConsoleGuest } => {
    const rig = make().start(options);
    return { rig, guest: new ConsoleGuest(rig) };
  };
  const up = (): { readonly rig: Rig<VirtioConsole>; readonly guest: ConsoleGuest } => {
    const { rig, guest } = start();
    return { rig, guest: guest.begin() };
  };
  const port = (rig: Rig<VirtioConsole>, index: number): ConsolePort => rig.virtio.ports[index] as ConsolePort;

  describe('setting up', () => {
    test('ports are announced once, then described with their name last', () => {
      const { guest } = up();
      const seen = guest.messages.map(({ port: id, event, value, payload }) => [id, event, value, text(payload)]);
      expect(seen).toEqual([
        [0, CONSOLE_EVENT.DEVICE_ADD, 0, ''],
        [1, CONSOLE_EVENT.DEVICE_ADD, 0, ''],
        [2, CONSOLE_EVENT.DEVICE_ADD, 0, ''],
        [0, CONSOLE_EVENT.CONSOLE_PORT, 1, ''],
        [0, CONSOLE_EVENT.PORT_OPEN, 1, ''],
        [0, CONSOLE_EVENT.PORT_NAME, 1, 'console'],
        [1, CONSOLE_EVENT.PORT_OPEN, 1, ''],
        [1, CONSOLE_EVENT.PORT_NAME, 1, 'ringfence.stdin'],
        [2, CONSOLE_EVENT.PORT_OPEN, 1, ''],
        [2, CONSOLE_EVENT.PORT_NAME, 1, 'ringfence.stdout'],
      ]);
      guest.sendControl(0, CONSOLE_EVENT.DEVICE_READY, 1);
      guest.poll();
      expect(guest.messages).toHaveLength(seen.length);
    });

    test('messages wait for buffers, and a newer one takes the place of an older one', () => {
      const { rig, guest } = start();
      guest.sendControl(0, CONSOLE_EVENT.DEVICE_READY, 1);
      for (const id of [0, 1, 2]) guest.sendControl(id, CONSOLE_EVENT.PORT_READY, 1);
      port(rig, STDIN).close();
      for (let count = 0; count < 1000; count++) guest.sendControl(2, CONSOLE_EVENT.PORT_READY, 1);
      guest.post(2, 32);
      const opens = guest.take(2, false).filter((message) => message[4] === CONSOLE_EVENT.PORT_OPEN);
      expect(opens.map((message) => [message[0], message[6]])).toEqual([
        [0, 1],
        [1, 0],
        [2, 1],
      ]);
    });

    test('a buffer that is too small for a message goes back empty and the message takes the next', () => {
      const { rig, guest } = start();
      guest.post(2, 1, 8);
      guest.post(2, 1, 7);
      guest.post(2, 4);
      guest.sendControl(0, CONSOLE_EVENT.DEVICE_READY, 1);
      expect(guest.take(2, false).map(({ length }) => length)).toEqual([8, 0, 8, 8]);
      expect(rig.needsReset).toBe(false);
    });

    test('tells the number of ports and the size of the first terminal in its configuration', () => {
      const { rig } = start();
      port(rig, 0).resize(132, 43);
      expect([
        rig.guest.readConfiguration(0, 2),
        rig.guest.readConfiguration(2, 2),
        rig.guest.readConfiguration(4, 4),
      ]).toEqual([132, 43, 3]);
      expect(rig.guest.readConfiguration(8, 4)).toBe(0);
    });

    test('nonsense on the control queue is counted and answered', () => {
      const { rig, guest } = start();
      guest.sendControl(0, CONSOLE_EVENT.DEVICE_READY, 0);
      guest.sendControl(3, CONSOLE_EVENT.PORT_OPEN, 1);
      guest.sendControl(0xffff_ffff, CONSOLE_EVENT.PORT_READY, 1);
      guest.sendControl(1, CONSOLE_EVENT.PORT_READY, 0);
      guest.sendControl(1, 99, 1);
      rig.queue(3).submit([new Uint8Array(7)], []);
      rig.queue(3).submit([], [8]);
      rig.guest.notify(3);
      expect(rig.queue(3).takeUsed()).toHaveLength(2);
      expect(rig.faults.reports).toHaveLength(7);
      expect(rig.needsReset).toBe(false);
    });
  });

  describe('bytes for the guest', () => {
    test('wait until the guest opens the port, then fill its buffers', () => {
      const { rig, guest } = up();
      expect(port(rig, STDIN).write(bytes('typed early, '))).toBe(13);
      expect(guest.read(STDIN)).toBe('');
      guest.open(STDIN);
      port(rig, STDIN).write(bytes('typed late'));
      expect(guest.read(STDIN)).toBe('typed early, typed late');
    });

    test('survive that the driver comes only after a reset', () => {
      const { rig } = start();
      port(rig, STDIN).write(bytes('early'));
      rig.start();
      const guest = new ConsoleGuest(rig).begin();
      guest.open(STDIN);
      expect(guest.read(STDIN)).toBe('early');
    });

    test('are queued up to a bound, and the writer learns when there is room again', async () => {
      const { rig, guest } = up();
      const much = new Uint8Array(PORT_QUEUE_BYTES + 100).fill(65);
      expect(port(rig, STDIN).write(much)).toBe(PORT_QUEUE_BYTES);
      expect(port(rig, STDIN).write(much)).toBe(0);
      let room = false;
      const writable = port(rig, STDIN)
        .writable()
        .then(() => (room = true));
      await Promise.resolve();
      expect(room).toBe(false);
      guest.open(STDIN);
      let length = 0;
      while (length < PORT_QUEUE_BYTES) length += guest.read(STDIN).length;
      await writable;
      expect([room, length]).toEqual([true, PORT_QUEUE_BYTES]);
      await port(rig, STDIN).writable();
    });

    test('that wait can be dropped, which makes room at once and lets a closing through', async () => {
      const { rig, guest } = up();
      const stdin = port(rig, STDIN);
      stdin.write(new Uint8Array(PORT_QUEUE_BYTES));
      const writable = stdin.writable();
      stdin.close();
      expect(stdin.hostOpen).toBe(true);
      stdin.discard();
      await writable;
      expect(stdin.hostOpen).toBe(false);
      stdin.open();
      stdin.write(bytes('new'));
      guest.open(STDIN);
      expect(guest.read(STDIN)).toBe('new');
    });

    test('may meet buffers of no length', () => {
      const { rig, guest } = start();
      guest.begin();
      guest.open(STDIN);
      guest.take(guest.queueOf(STDIN, 'receive'));
      port(rig, STDIN).write(bytes('x'));
      expect(guest.read(STDIN)).toBe('x');
      rig.queue(4).submit([], [0]);
      rig.queue(4).submit([bytes('a readable one')], []);
      for (let count = 0; count < 20; count++) port(rig, STDIN).write(bytes('y'));
      rig.guest.notify(4);
      expect(rig.needsReset).toBe(false);
    });

    test('end with end-of-file after the last of them', () => {
      const { rig, guest } = up();
      port(rig, STDIN).write(bytes('last words'));
      port(rig, STDIN).close();
      guest.messages.length = 0;
      guest.poll();
      expect(guest.messages).toEqual([]);
      guest.open(STDIN);
      // Data first: it is in the used ring when the message comes.
      expect(guest.read(STDIN)).toBe('last words');
      guest.poll();
      expect(guest.messages).toMatchObject([{ port: STDIN, event: CONSOLE_EVENT.PORT_OPEN, value: 0 }]);
      expect(() => port(rig, STDIN).write(bytes('more'))).toThrow(AssertionFailure);
      port(rig, STDIN).close();
      port(rig, STDIN).open();
      guest.poll();
      expect(guest.messages).toMatchObject([{ value: 0 }, { port: STDIN, event: CONSOLE_EVENT.PORT_OPEN, value: 1 }]);
    });

    test('a port closed before the guest came is announced as closed', () => {
      const { rig, guest } = start();
      port(rig, STDIN).close();
      guest.begin();
      expect(guest.messages.filter(({ port: id }) => id === STDIN).map(({ event }) => event)).toEqual([
        CONSOLE_EVENT.DEVICE_ADD,
        CONSOLE_EVENT.PORT_NAME,
      ]);
    });
  });

  describe('bytes of the guest', () => {
    test('come in order, and the buffers go back', () => {
      const { rig, guest } = up();
      const events = listen(port(rig, STDOUT));
      guest.open(STDOUT);
      guest.write(STDOUT, 'one');
      guest.write(STDOUT, '');
      rig.queue(guest.queueOf(STDOUT, 'transmit')).submit([bytes('t'), bytes('w'), bytes('o')], []);
      guest.write(STDOUT, 'three');
      expect(events).toEqual(['open', 'data one', 'data two', 'data three']);
      expect(
        rig
          .queue(guest.queueOf(STDOUT, 'transmit'))
          .takeUsed()
          .map(({ written }) => written),
      ).toEqual([0, 0, 0, 0]);
    });

    test('all come before the close, even when the device hears of the close first', () => {
      const { rig, guest } = up();
      const events = listen(port(rig, STDOUT));
      guest.open(STDOUT);
      guest.write(STDOUT, 'unannounced 1 ', false);
      guest.write(STDOUT, 'unannounced 2', false);
      guest.close(STDOUT);
      expect(events).toEqual(['open', 'data unannounced 1 ', 'data unannounced 2', 'close']);
    });

    test('all come before the close when the host had paused, and a later opening comes after', () => {
      const { rig, guest } = up();
      const events = listen(port(rig, STDOUT));
      guest.open(STDOUT);
      port(rig, STDOUT).pause();
      guest.write(STDOUT, 'first session');
      guest.close(STDOUT);
      guest.open(STDOUT);
      guest.write(STDOUT, 'second session');
      guest.close(STDOUT);
      expect(events).toEqual(['open']);
      expect(port(rig, STDOUT).guestOpen).toBe(false);
      port(rig, STDOUT).resume();
      expect(events).toEqual(['open', 'data first session', 'close', 'open', 'data second session', 'close']);
    });

    test('a close with nothing before it is told even to a host that paused', () => {
      const { rig, guest } = up();
      const events = listen(port(rig, STDOUT));
      port(rig, STDOUT).pause();
      guest.open(STDOUT);
      guest.close(STDOUT);
      expect(events).toEqual(['open', 'close']);
    });

    test('a guest that opens and closes without end while the host pauses is remembered in bounded space', () => {
      const { rig, guest } = up();
      const events = listen(port(rig, STDOUT));
      guest.open(STDOUT);
      guest.write(STDOUT, 'x', false);
      port(rig, STDOUT).pause();
      for (let count = 0; count < 5000; count++) {
        guest.close(STDOUT);
        guest.open(STDOUT);
      }
      guest.close(STDOUT);
      const saved = port(rig, STDOUT).save() as { readonly toggles: readonly unknown[] };
      expect(saved.toggles).toHaveLength(1);
      port(rig, STDOUT).resume();
      expect(events).toEqual(['open', 'data x', 'close']);
    });

    test('stay in the guest while the host pauses, also in the middle of a buffer', () => {
      const { rig, guest } = up();
      const taken: number[] = [];
      const out = port(rig, STDOUT);
      out.onData = (data) => {
        taken.push(data.length);
        out.pause();
      };
      guest.open(STDOUT);
      const whole = 2 * PORT_CHUNK_BYTES + 5;
      guest.write(STDOUT, new Uint8Array(whole));
      guest.write(STDOUT, 'next');
      expect(taken).toEqual([PORT_CHUNK_BYTES]);
      const used = (): number => rig.queue(guest.queueOf(STDOUT, 'transmit')).takeUsed().length;
      expect(used()).toBe(0);
      for (let time = 0; time < 2; time++) out.resume();
      expect(taken).toEqual([PORT_CHUNK_BYTES, PORT_CHUNK_BYTES, 5]);
      expect(used()).toBe(1);
      out.resume();
      expect(taken.at(-1)).toBe(4);
      expect(used()).toBe(1);
    });

    test('may be answered from within the callback', () => {
      const { rig, guest } = up();
      guest.open(STDOUT);
      const out = port(rig, STDOUT);
      const heard: string[] = [];
      out.onData = (data) => {
        heard.push(text(data));
        out.pause();
        out.write(bytes(`echo ${text(data)};`));
        out.resume();
      };
      guest.write(STDOUT, 'a', false);
      guest.write(STDOUT, 'b');
      expect(heard).toEqual(['a', 'b']);
      expect(guest.read(STDOUT)).toBe('echo a;echo b;');
    });

    test('a guest that resets the device from under the callback does no harm', () => {
      const { rig, guest } = up();
      const out = port(rig, STDOUT);
      guest.open(STDOUT);
      const events: string[] = [];
      out.onClose = () => events.push('close');
      out.onData = () => {
        events.push('data');
        rig.guest.setStatus(0);
      };
      guest.write(STDOUT, new Uint8Array(2 * PORT_CHUNK_BYTES));
      expect(events).toEqual(['data', 'close']);
      rig.start();
      const again = new ConsoleGuest(rig).begin();
      again.open(STDOUT);
      again.write(STDOUT, 'x');
      expect(events).toEqual(['data', 'close', 'data', 'close']);
    });

    test('nobody who takes them is no obstacle', () => {
      const { rig, guest } = up();
      guest.write(STDOUT, 'lost');
      expect(rig.queue(guest.queueOf(STDOUT, 'transmit')).takeUsed()).toHaveLength(1);
    });

    test('a reset of the device closes what was open', () => {
      const { rig, guest } = up();
      const events = listen(port(rig, STDOUT));
      guest.open(STDOUT);
      rig.guest.setStatus(0);
      expect(events).toEqual(['open', 'close']);
      expect(port(rig, STDOUT).guestOpen).toBe(false);
    });

    test('a reset of the transmit queue drops them, and what waited behind them happens', () => {
      const { rig, guest } = up();
      const events = listen(port(rig, STDOUT));
      guest.open(STDOUT);
      port(rig, STDOUT).pause();
      guest.write(STDOUT, 'gone');
      guest.close(STDOUT);
      rig.guest.resetQueue(guest.queueOf(STDOUT, 'transmit'));
      expect(events).toEqual(['open', 'close']);
    });

    test('an emergency character reaches the console at any time', () => {
      const rig = make();
      const events = listen(port(rig, 0));
      rig.guest.writeConfiguration(8, 4, 0x1234_5641);
      rig.guest.writeConfiguration(0, 2, 80);
      expect(events).toEqual(['data A']);
      expect(rig.faults.reports).toHaveLength(1);
    });
  });

  describe('the size of a terminal', () => {
    test('is told to the driver when it is known and when it changes', () => {
      const { rig, guest } = start();
      port(rig, 0).resize(80, 25);
      guest.begin();
      port(rig, 0).resize(80, 25);
      port(rig, 0).resize(300, 100);
      port(rig, STDIN).resize(1, 1);
      guest.poll();
      const sizes = guest.messages.filter(({ event }) => event === CONSOLE_EVENT.RESIZE);
      expect(sizes.map(({ port: id, payload }) => [id, ...payload])).toEqual([
        [0, 80, 0, 25, 0],
        [0, 44, 1, 100, 0],
      ]);
      expect(rig.guest.takeInterrupt() & 2).toBe(2);
    });

    test('that cannot be is a mistake of the host', () => {
      const { rig } = start();
      for (const [columns, rows] of [
        [-1, 1],
        [1, 65536],
        [1.5, 1],
      ] as const)
        expect(() => port(rig, 0).resize(columns, rows)).toThrow(AssertionFailure);
    });
  });

  describe('a driver that knows only one port', () => {
    test('has port 0 open from the start, and no control queue', () => {
      const rig = make();
      const events = listen(port(rig, 0));
      rig.start({ without: [VIRTIO_CONSOLE_F.MULTIPORT] });
      const guest = new ConsoleGuest(rig);
      guest.post(0);
      port(rig, 0).write(bytes('hello'));
      expect(guest.read(0)).toBe('hello');
      guest.write(0, 'hi');
      expect(events).toEqual(['open', 'data hi']);
      // Control messages mean nothing.
      rig.queue(3).submit([new Uint8Array(8)], []);
      rig.guest.notify(3);
      expect(rig.queue(3).takeUsed()).toEqual([]);
      port(rig, 0).resize(80, 25);
      expect(rig.guest.takeInterrupt() & 2).toBe(2);
    });
  });

  test('buffers that waited before the driver was ready are found', () => {
    const rig = make();
    const events = listen(port(rig, 0));
    rig.start({ stopBeforeDriverOk: true, without: [VIRTIO_CONSOLE_F.MULTIPORT] });
    rig.queue(1).submit([bytes('early')], []);
    rig.driverOk();
    expect(events).toEqual(['open', 'data early']);
  });

  test('while the machine is quiet the host queues and the guest sees nothing; then both go on, on another device too', async () => {
    const { rig, guest } = up();
    guest.open(STDIN);
    guest.open(STDOUT);
    port(rig, STDOUT).pause();
    guest.write(STDOUT, 'not taken yet');
    guest.close(STDOUT);
    await rig.machineDevice.quiesce?.();
    const before = rig.memory.snapshot();
    port(rig, STDIN).write(bytes('typed while quiet'));
    port(rig, STDIN).close();
    port(rig, 0).resize(100, 50);
    port(rig, STDOUT).resume();
    expect(rig.memory.snapshot()).toEqual(before);
    const saved = structuredClone(rig.machineDevice.save());

    // Somebody else's state is brought in, and then ours again.
    rig.machineDevice.restore(make().start({ without: [] }).machineDevice.save());
    rig.machineDevice.restore(saved);
    const events = listen(port(rig, STDOUT));
    rig.machineDevice.resume?.();
    expect(guest.read(STDIN)).toBe('typed while quiet');
    expect(events).toEqual(['data not taken yet', 'close']);
    guest.messages.length = 0;
    guest.poll();
    expect(guest.messages.map(({ port: id, event, value }) => [id, event, value])).toEqual([
      [0, CONSOLE_EVENT.RESIZE, 0],
      [STDIN, CONSOLE_EVENT.PORT_OPEN, 0],
    ]);
  });

  test('whatever guest and host do, every byte comes once, in order, and on the right side of openings and closings', () => {
    const step = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constant('write' as const),
          notify: fc.boolean(),
          length: fc.constantFrom(0, 1, 5, PORT_CHUNK_BYTES + 1),
        }),
      },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('toggle' as const) }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('pause' as const) }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('resume' as const) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 14 }), (steps) => {
        const { rig, guest } = up();
        const out = port(rig, STDOUT);
        /** Sessions as the host saw them: bytes between opening and closing, and outside of them. */
        let open = false;
        const heard: string[] = [''];
        const said: string[] = [''];
        out.onOpen = () => heard.push('open:');
        out.onClose = () => heard.push('closed:');
        out.onData = (data) => (heard[heard.length - 1] += text(data));
        let letter = 0;
        for (const action of steps) {
          if (action.kind === 'write') {
            const word = String.fromCharCode(97 + (letter++ % 26)).repeat(action.length);
            guest.write(STDOUT, word, action.notify);
            said[said.length - 1] += word;
          } else if (action.kind === 'toggle') {
            open = !open;
            if (open) guest.open(STDOUT);
            else guest.close(STDOUT);
            said.push(open ? 'open:' : 'closed:');
          } else if (action.kind === 'pause') out.pause();
          else out.resume();
        }
        out.resume();
        // Changes of mind with nothing in between may be left out, two at a time.
        expect(shorten(heard)).toEqual(shorten(said));
        expect(out.guestOpen).toBe(open);
      }),
      { numRuns: 60 },
    );
  });

  deviceLifecycle(`the console device over ${transport}`, {
    make: () => {
      const { machineDevice } = make();
      machineDevice.reset();
      return machineDevice;
    },
    disturb: (device) => {
      const rig = Rig.of(device) as Rig<VirtioConsole>;
      rig.findDevice();
      rig.start();
      const guest = new ConsoleGuest(rig);
      guest.sendControl(0, CONSOLE_EVENT.DEVICE_READY, 1);
      for (const id of [0, 1, 2]) guest.sendControl(id, CONSOLE_EVENT.PORT_READY, 1);
      guest.open(STDOUT);
      const out = port(rig, STDOUT);
      out.onData = () => out.pause();
      guest.write(STDOUT, new Uint8Array(PORT_CHUNK_BYTES + 1));
      guest.close(STDOUT);
      out.onData = undefined;
    },
    contradictions: {
      'a message is there twice': (saved) => change(saved, ({ mailbox }) => mailbox.push(mailbox[0])),
      'a message has an event of the driver': (saved) =>
        change(saved, ({ mailbox }) => mailbox.push({ port: 0, event: 3, value: 0 })),
      'a port does not exist': (saved) => change(saved, ({ mailbox }) => mailbox.push({ port: 3, event: 1, value: 0 })),
      'a closed port is being closed': (saved) =>
        change(saved, ({ ports }) => Object.assign(ports[0] as object, { ending: true, hostOpen: false })),
      'too many bytes are queued': (saved) =>
        change(saved, ({ ports }) =>
          Object.assign(ports[0] as object, { queue: new Uint8Array(PORT_QUEUE_BYTES + 1) }),
        ),
      'too many openings': (saved) =>
        change(saved, ({ ports }) =>
          Object.assign(ports[0] as object, { toggles: Array.from({ length: 200 }, () => ({ at: 0, open: true })) }),
        ),
    },
  });
});

test('a console device cannot have more ports than Linux can count, nor none', () => {
  expect(() => new VirtioConsole([])).toThrow(AssertionFailure);
  expect(() => new VirtioConsole(Array.from({ length: 32 }, () => ({ name: 'x' })))).toThrow(AssertionFailure);
});

interface SavedConsole {
  readonly mailbox: unknown[];
  readonly ports: unknown[];
}

/** Changes the console's part of a saved transport, MMIO's or the PCI bridge's. */
function change<T>(saved: T, how: (device: SavedConsole) => unknown): T {
  const outer = saved as { device?: SavedConsole; functions?: { state: { virtio: { device: SavedConsole } } }[] };
  const device = outer.device ?? outer.functions?.[0]?.state.virtio.device;
  if (device === undefined) throw new Error('the saved state has another shape than the test knows');
  how(device);
  return saved;
}

/** Leaves out openings and closings that cancel each other with no byte between them. */
function shorten(sessions: readonly string[]): string[] {
  const short: string[] = [];
  for (const session of sessions) {
    const [previous] = short.slice(-1);
    const empty = previous === 'open:' || previous === 'closed:';
    short.push(session);
    const [before, middle, last] = short.slice(-3);
    if (empty && short.length >= 3 && middle !== undefined && before !== undefined && last !== undefined) {
      // a, "x:" empty, then the state of a again: only the bytes of the last one remain to a.
      if (kind(before) === kind(last)) short.splice(-3, 3, before + last.slice(kind(last).length));
    }
  }
  return short;
}

function kind(session: string): string {
  return session.startsWith('open:') ? 'open:' : session.startsWith('closed:') ? 'closed:' : '';
}
