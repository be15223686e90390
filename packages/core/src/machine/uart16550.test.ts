import { describe, expect, test } from 'vitest';
import { deviceLifecycle } from './device-lifecycle.suite.ts';
import { MEMORY_MAP } from './memory-map.ts';
import { FakeLine } from './testing/doubles.ts';
import { INPUT_QUEUE_BYTES, Uart16550, uartNode } from './uart16550.ts';

const [RBR, THR, IER, IIR, FCR, LCR, MCR, LSR, MSR, SCR] = [0, 0, 1, 2, 2, 3, 4, 5, 6, 7];

interface Setup {
  readonly uart: Uart16550;
  readonly line: FakeLine;
  /** What the guest sent, as text. */
  sent(): string;
  readonly room: number[];
  in(register: number): number;
  out(register: number, value: number): void;
  /** The host types. */
  type(text: string): number;
}

function setUp(): Setup {
  const line = new FakeLine();
  const bytes: number[] = [];
  const room: number[] = [];
  const uart = new Uart16550({
    line,
    output: { write: (some) => void bytes.push(...some) },
    inputRoom: () => void room.push(1),
  });
  return {
    uart,
    line,
    room,
    sent: () => String.fromCharCode(...bytes),
    in: (register) => uart.read(register, 1),
    out: (register, value) => uart.write(register, 1, value),
    type: (text) => uart.receive(new TextEncoder().encode(text)),
  };
}

describe('sending', () => {
  test('a byte written to THR leaves at once, and the transmitter is always empty', () => {
    const u = setUp();
    for (const letter of 'hello') u.out(THR, letter.charCodeAt(0));
    expect(u.sent()).toBe('hello');
    expect(u.in(LSR) & 0x60).toBe(0x60);
  });

  test('with DLAB set the first two registers are the divisor, and nothing is sent', () => {
    const u = setUp();
    u.out(LCR, 0x83);
    u.out(THR, 0x12);
    u.out(IER, 0x34);
    expect([u.in(RBR), u.in(IER)]).toEqual([0x12, 0x34]);
    u.out(LCR, 0x03);
    expect([u.in(RBR), u.in(IER), u.in(LCR)]).toEqual([0, 0, 3]);
    expect(u.sent()).toBe('');
  });

  test('a wider access to a register acts on its low byte', () => {
    const u = setUp();
    u.uart.write(THR, 4, 0x1234_5641);
    expect(u.sent()).toBe('A');
  });
});

describe('the THR-empty interrupt', () => {
  test('enabling it brings one, which reading IIR takes away', () => {
    const u = setUp();
    u.out(IER, 2);
    expect(u.line.level).toBe(true);
    expect(u.in(IIR)).toBe(0x02);
    expect(u.line.level).toBe(false);
    expect(u.in(IIR)).toBe(0x01);
  });

  test('it comes again when it is disabled and enabled once more (Linux tests for UARTs that do not)', () => {
    const u = setUp();
    u.out(IER, 2);
    const first = u.in(IIR);
    u.out(IER, 0);
    expect(u.line.level).toBe(false);
    u.out(IER, 2);
    expect([first, u.in(IIR)]).toEqual([2, 2]);
  });

  test('writing the same enables again does not bring one', () => {
    const u = setUp();
    u.out(IER, 2);
    u.in(IIR);
    u.out(IER, 3);
    expect(u.line.level).toBe(false);
  });

  test('every byte sent brings one', () => {
    const u = setUp();
    u.out(IER, 2);
    u.in(IIR);
    u.out(THR, 65);
    expect(u.line.level).toBe(true);
    expect(u.in(IIR)).toBe(2);
  });

  test('reading LSR lowers the line but leaves IIR alone, so that a driver that polls only LSR is not interrupted for ever', () => {
    const u = setUp();
    u.out(IER, 2);
    u.in(LSR);
    expect(u.line.level).toBe(false);
    expect(u.in(IIR)).toBe(2);
    u.out(THR, 65);
    expect(u.line.level).toBe(true);
  });

  test('a modem interrupt behind it keeps the line up', () => {
    const u = setUp();
    u.out(IER, 0x0a);
    u.out(MCR, 0x10);
    u.in(LSR);
    expect(u.line.level).toBe(true);
  });
});

describe('receiving', () => {
  test('without FIFOs one byte at a time, each with an interrupt', () => {
    const u = setUp();
    u.out(IER, 1);
    u.type('ab');
    expect(u.line.level).toBe(true);
    expect([u.in(IIR), u.in(LSR) & 1, u.in(RBR)]).toEqual([0x04, 1, 97]);
    expect([u.in(IIR), u.in(RBR)]).toEqual([0x04, 98]);
    expect([u.line.level, u.in(IIR), u.in(LSR) & 1, u.in(RBR)]).toEqual([false, 0x01, 0, 0]);
  });

  test('with FIFOs, received data at the trigger level and a character timeout below it', () => {
    const u = setUp();
    u.out(FCR, 0x81);
    u.out(IER, 1);
    u.type('1234567');
    expect(u.in(IIR)).toBe(0xcc);
    u.type('8');
    expect(u.in(IIR)).toBe(0xc4);
    u.in(RBR);
    expect(u.in(IIR)).toBe(0xcc);
    for (let left = 7; left > 0; left--) u.in(RBR);
    expect(u.in(IIR)).toBe(0xc1);
    expect(u.line.level).toBe(false);
  });

  test.each([
    [0x01, 1],
    [0x41, 4],
    [0x81, 8],
    [0xc1, 14],
  ])('FCR %i triggers at %i bytes', (fcr, level) => {
    const u = setUp();
    u.out(FCR, fcr);
    u.out(IER, 1);
    u.type('x'.repeat(level - 1));
    expect(u.in(IIR)).toBe(level === 1 ? 0xc1 : 0xcc);
    u.type('x');
    expect(u.in(IIR)).toBe(0xc4);
  });

  test('input waits in the queue until the guest takes it: nothing is lost, nothing overruns', () => {
    const u = setUp();
    u.out(FCR, 1);
    const text = 'The quick brown fox jumps over the lazy dog.';
    expect(u.type(text)).toBe(text.length);
    let got = '';
    while ((u.in(LSR) & 1) !== 0) got += String.fromCharCode(u.in(RBR));
    expect(got).toBe(text);
    expect(u.in(LSR) & 2).toBe(0);
  });

  test('clearing the receiver FIFO drops what is in it, not what waits behind it', () => {
    const u = setUp();
    u.out(FCR, 1);
    u.type('0123456789abcdefXY');
    u.out(FCR, 3);
    expect([u.in(RBR), u.in(RBR)]).toEqual([88, 89]);
  });

  test('turning the FIFOs on or off empties the receiver, writing FCR without bit 0 changes nothing else', () => {
    const u = setUp();
    u.type('a');
    u.out(FCR, 1);
    expect(u.in(LSR) & 1).toBe(0);
    u.type('bcd');
    u.out(FCR, 0xc2);
    expect([u.in(LSR) & 1, u.in(IIR)]).toEqual([0, 0x01]);
  });

  test('a full queue takes no more, and says when there is room again', () => {
    const u = setUp();
    u.out(FCR, 1);
    const half = new Uint8Array(INPUT_QUEUE_BYTES / 2).fill(120);
    expect([u.uart.receive(half), u.uart.receive(half)]).toEqual([half.length, half.length]);
    expect(u.room).toEqual([]);
    expect(u.uart.receive(half)).toBe(16);
    for (let taken = 0; taken < half.length - 1; taken++) u.in(RBR);
    expect(u.room).toEqual([]);
    u.in(RBR);
    expect(u.room).toEqual([1]);
    u.in(RBR);
    expect(u.room).toEqual([1]);
  });
});

describe('modem and loopback', () => {
  test('the other end is there: CTS, DSR and DCD', () => {
    const u = setUp();
    expect(u.in(MSR)).toBe(0xb0);
  });

  test('in loopback the outputs of MCR are the inputs of MSR (Linux asks for RTS and OUT2)', () => {
    const u = setUp();
    u.out(MCR, 0x1a);
    expect(u.in(MSR) & 0xf0).toBe(0x90);
    u.out(MCR, 0x15);
    expect(u.in(MSR) & 0xf0).toBe(0x60);
  });

  test('changes show once in the delta bits; RI only when it falls', () => {
    const u = setUp();
    u.out(MCR, 0x10);
    expect(u.in(MSR)).toBe(0x0b);
    expect(u.in(MSR)).toBe(0x00);
    u.out(MCR, 0x14);
    expect(u.in(MSR)).toBe(0x40);
    u.out(MCR, 0x10);
    expect(u.in(MSR)).toBe(0x04);
  });

  test('a change interrupts when that is enabled, until MSR is read', () => {
    const u = setUp();
    u.out(IER, 8);
    u.out(MCR, 0x10);
    expect([u.line.level, u.in(IIR)]).toEqual([true, 0x00]);
    u.in(MSR);
    expect([u.line.level, u.in(IIR)]).toEqual([false, 0x01]);
  });

  test('in loopback what is sent is received, nothing leaves, and the host waits', () => {
    const u = setUp();
    u.out(MCR, 0x10);
    u.type('x');
    u.out(THR, 65);
    expect([u.in(LSR) & 1, u.in(RBR), u.sent()]).toEqual([1, 65, '']);
    expect(u.in(LSR) & 1).toBe(0);
    u.out(MCR, 0);
    expect(u.in(RBR)).toBe(120);
  });

  test('an overrun in loopback shows once in LSR, with the interrupt of the highest priority', () => {
    const u = setUp();
    u.out(MCR, 0x10);
    u.out(IER, 0x0f);
    u.out(THR, 65);
    u.out(THR, 66);
    expect(u.in(IIR)).toBe(0x06);
    expect(u.in(LSR) & 2).toBe(2);
    expect(u.in(LSR) & 2).toBe(0);
    expect(u.in(IIR)).toBe(0x04);
  });
});

describe('registers', () => {
  test('SCR keeps what is written; IER and MCR keep the bits that exist', () => {
    const u = setUp();
    u.out(SCR, 0xa5);
    u.out(IER, 0xff);
    u.out(MCR, 0xff);
    expect([u.in(SCR), u.in(IER), u.in(MCR)]).toEqual([0xa5, 0x0f, 0x1f]);
  });

  test('LSR and MSR cannot be written, and beyond SCR is nothing', () => {
    const u = setUp();
    u.out(LSR, 0xff);
    u.out(MSR, 0xff);
    u.out(9, 0xff);
    expect([u.in(LSR), u.in(MSR), u.in(9)]).toEqual([0x60, 0xb0, 0]);
  });
});

test('our firmware reads and writes the same line', () => {
  const u = setUp();
  u.out(IER, 1);
  u.type('k');
  u.uart.firmwareWrite(new TextEncoder().encode('ok\n'));
  expect([u.sent(), u.uart.firmwareRead(), u.uart.firmwareRead(), u.line.level]).toEqual([
    'ok\n',
    107,
    undefined,
    false,
  ]);
});

test('its node is as QEMU has it', () => {
  expect(uartNode(MEMORY_MAP.uart, 10)).toEqual({
    name: 'serial@10000000',
    properties: {
      compatible: 'ns16550a',
      reg: [0, 0x10000000, 0, 0x100],
      'clock-frequency': 0x384000,
      interrupts: 10,
      'interrupt-parent': { phandleOf: 'plic' },
    },
  });
});

const lines = new WeakMap<Uart16550, FakeLine>();
deviceLifecycle('the UART', {
  make() {
    const { uart, line } = setUp();
    lines.set(uart, line);
    return uart;
  },
  disturb(uart) {
    const out = (register: number, value: number): void => uart.write(register, 1, value);
    out(LCR, 0x80);
    out(0, 1);
    out(LCR, 0x03);
    out(FCR, 0x81);
    out(MCR, 0x10);
    for (let n = 0; n < 17; n++) out(THR, n);
    out(IER, 0x07);
    out(SCR, 9);
    uart.receive(Uint8Array.of(1, 2, 3));
  },
  observe: (uart) => [lines.get(uart)?.level, [IER, LCR, MCR, SCR].map((register) => uart.read(register, 1))],
  contradictions: {
    'more received than the FIFO holds': (saved) => ({ ...(saved as object), received: new Uint8Array(17) }),
    'two received without FIFOs': (saved) => ({
      ...(saved as object),
      fifosEnabled: false,
      received: new Uint8Array(2),
    }),
    'a queue beyond its bound': (saved) => ({ ...(saved as object), queue: new Uint8Array(INPUT_QUEUE_BYTES + 1) }),
  },
});
