import { expect, test } from 'vitest';
import type { IpAddress } from '../addresses.ts';
import type { EchoOutcome } from '../host.ts';
import { GATEWAY, GATEWAY6, GUEST, GUEST6, ip, NetworkRig } from '../testing/network-rig.ts';
import { MAXIMUM_ECHOES } from './echo-nat.ts';

const OUTSIDE = ip('192.0.2.7');
const OUTSIDE6 = ip('2001:db8::7');
/** Type, code, checksum, identifier 0x0102, sequence 0x0304, five octets of data. */
const request = (type: number): number[] => [type, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/** A network whose host answers echoes when the test says so. */
function rigWithEchoes(): {
  readonly rig: NetworkRig;
  readonly asked: {
    readonly to: string;
    readonly dataBytes: number;
    readonly answer: (outcome: EchoOutcome) => Promise<void>;
  }[];
} {
  const rig = new NetworkRig().introduce();
  const asked: { to: string; dataBytes: number; answer: (outcome: EchoOutcome) => Promise<void> }[] = [];
  rig.host.echo = (to: IpAddress, dataBytes: number) => {
    const { promise, resolve } = Promise.withResolvers<EchoOutcome>();
    const answer = async (outcome: EchoOutcome): Promise<void> => {
      resolve(outcome);
      await promise;
      await Promise.resolve();
    };
    asked.push({ to: to.toString(), dataBytes, answer });
    return promise;
  };
  return { rig, asked };
}

test.each([
  ['IPv4', GUEST, OUTSIDE, 8, 0],
  ['IPv6', GUEST6, OUTSIDE6, 128, 129],
])(
  'an echo over %s that the host got an answer for is answered with what was sent',
  async (_, from, to, type, reply) => {
    const { rig, asked } = rigWithEchoes();
    rig.card.sendIcmp(from, to, request(type));
    expect(asked.map(({ to: address, dataBytes }) => [address, dataBytes])).toEqual([[to.toString(), 5]]);
    expect(rig.card.takePackets()).toEqual([]);
    await asked[0]?.answer('answered');
    const [packet, ...more] = rig.card.takePackets();
    expect(more).toEqual([]);
    expect([packet?.source, packet?.destination]).toEqual([to, from]);
    expect([...(packet?.payload ?? [])].toSpliced(2, 2)).toEqual([reply, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  },
);

test.each([
  ['unreachable', GUEST, OUTSIDE, 8, GATEWAY, 3, 1],
  ['prohibited', GUEST, OUTSIDE, 8, GATEWAY, 3, 13],
  ['unreachable', GUEST6, OUTSIDE6, 128, GATEWAY6, 1, 3],
  ['prohibited', GUEST6, OUTSIDE6, 128, GATEWAY6, 1, 1],
] as const)('what is %s is told so by the gateway (%s to %s)', async (outcome, from, to, echo, by, type, code) => {
  const { rig, asked } = rigWithEchoes();
  rig.card.sendIcmp(from, to, request(echo));
  await asked[0]?.answer(outcome);
  const said = rig.card.takePackets().map(({ source, payload }) => [source, payload[0], payload[1]]);
  expect(said).toEqual([[by, type, code]]);
});

test('where nobody answers the guest hears nothing', async () => {
  const { rig, asked } = rigWithEchoes();
  rig.card.sendIcmp(GUEST, OUTSIDE, request(8));
  await asked[0]?.answer('silent');
  expect(rig.card.takePackets()).toEqual([]);
});

test('no more echoes than the limit wait at once, and answered ones make room', async () => {
  const { rig, asked } = rigWithEchoes();
  for (let count = 0; count < MAXIMUM_ECHOES + 5; count++) rig.card.sendIcmp(GUEST, OUTSIDE, request(8));
  expect(asked.length).toBe(MAXIMUM_ECHOES);
  await asked[0]?.answer('answered');
  rig.card.sendIcmp(GUEST, OUTSIDE, request(8));
  expect(asked.length).toBe(MAXIMUM_ECHOES + 1);
});

test('an answer that comes after the network was closed reaches nobody', async () => {
  const { rig, asked } = rigWithEchoes();
  rig.card.sendIcmp(GUEST, OUTSIDE, request(8));
  rig.network.close();
  await asked[0]?.answer('answered');
  expect(rig.card.takePackets()).toEqual([]);
});
