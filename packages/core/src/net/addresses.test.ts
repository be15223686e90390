import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { autoconfigured } from './addressing.ts';
import { IpAddress, MacAddress } from './addresses.ts';

describe('IP addresses', () => {
  test('are read as Node reads them, and written so that they are read back', () => {
    const address = fc.oneof(fc.ipV4(), fc.ipV6(), fc.string(), fc.stringMatching(/^[0-9a-f:.]{0,24}$/));
    fc.assert(
      fc.property(address, (text) => {
        const parsed = IpAddress.parse(text);
        expect(parsed?.family ?? 0).toBe(isIP(text));
        if (parsed !== undefined) expect(IpAddress.parse(parsed.toString())?.key).toBe(parsed.key);
      }),
    );
  });

  test.each([
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:0db8::0001', '2001:db8::1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['::', '::'],
    ['::FFFF:10.0.2.15', '::ffff:a00:20f'],
  ])('%s is written as RFC 5952 has it: %s', (text, written) => {
    expect(IpAddress.parse(text)?.toString()).toBe(written);
  });

  test('of packets are what the packets say, whatever packets came before', () => {
    const address = fc.tuple(
      fc.constantFrom(4 as const, 6 as const),
      fc.uint8Array({ minLength: 16, maxLength: 16, max: 2 }),
    );
    fc.assert(
      fc.property(fc.array(address, { minLength: 1, maxLength: 300 }), (addresses) => {
        for (const [family, octets] of addresses) {
          const packet = Uint8Array.of(9, ...octets);
          const found = IpAddress.at(packet, 1, family);
          packet.fill(7);
          expect([found.family, ...found.bytes]).toEqual([family, ...octets.subarray(0, family === 4 ? 4 : 16)]);
        }
      }),
    );
  });

  test('know what they are', () => {
    const is = (text: string): string =>
      (['isGroup', 'isLoopback', 'isLinkLocal', 'isMapped', 'isUnspecified'] as const)
        .filter((what) => IpAddress.parse(text)?.[what] === true)
        .join();
    expect(['224.0.0.1', '127.9.9.9', '169.254.1.1', '0.0.0.0', '10.0.0.1'].map(is)).toEqual([
      'isGroup',
      'isLoopback',
      'isLinkLocal',
      'isUnspecified',
      '',
    ]);
    expect(['ff02::1', '::1', 'fe80::1', '::', '::ffff:1.2.3.4', 'fd00::1'].map(is)).toEqual([
      'isGroup',
      'isLoopback',
      'isLinkLocal',
      'isUnspecified',
      'isMapped',
      '',
    ]);
  });

  test('share a prefix up to any bit', () => {
    const [a, b] = ['10.0.2.128', '10.0.2.160'].map((text) => IpAddress.parse(text) as IpAddress) as [
      IpAddress,
      IpAddress,
    ];
    expect([24, 26, 27, 32].map((bits) => a.sharesPrefix(b, bits))).toEqual([true, true, false, false]);
  });
});

test('a card gives itself the address that RFC 4291 makes of its own', () => {
  const mac = MacAddress.parse('52:54:00:12:34:56') as MacAddress;
  expect(autoconfigured(IpAddress.parse('fd00::') as IpAddress, mac).toString()).toBe('fd00::5054:ff:fe12:3456');
});

test('addresses of cards are read and written', () => {
  expect(MacAddress.parse('52:54:00:12:34:aB')?.toString()).toBe('52:54:00:12:34:ab');
  expect(
    ['', '52:54:00:12:34', '52-54-00-12-34-56', '52:54:00:12:34:5g'].map((text) => MacAddress.parse(text)),
  ).toEqual([undefined, undefined, undefined, undefined]);
});
