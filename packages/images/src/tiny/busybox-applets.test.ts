import { expect, test } from 'vitest';
import { testBusybox } from '../testing/kernel-parts.ts';
import { busyboxApplets } from './busybox-applets.ts';

const NAMES = [
  '[',
  '[[',
  'cat',
  'cp',
  'kbd_mode',
  'modprobe',
  'mount',
  'poweroff',
  'run-parts',
  'setsid',
  'sh',
  'sleep',
  'sync',
  'umount',
];

test('the applets are found among the other strings of the binary', () => {
  expect(busyboxApplets(testBusybox(NAMES), 'busybox')).toEqual(NAMES);
});

test('a binary that lacks what /init needs is refused with the names', () => {
  expect(() =>
    busyboxApplets(testBusybox(NAMES.filter((name) => name !== 'mount' && name !== 'sh')), 'busybox'),
  ).toThrow('busybox lacks the commands that the image needs: mount, sh.');
  expect(() => busyboxApplets(Buffer.alloc(100), 'busybox')).toThrow('busybox lacks the commands');
});
