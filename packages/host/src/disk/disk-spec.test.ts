import { describe, expect, test } from 'vitest';
import { parseDiskSpec } from './disk-spec.ts';

const PLAIN = { format: undefined, readOnly: false, snapshot: false, cache: 'writeback', bus: 'pci' };

test('a file alone is written to, cached, and sits on PCI', () => {
  expect(parseDiskSpec('disks/data.img')).toEqual({ path: 'disks/data.img', ...PLAIN });
});

test('settings follow after commas, in any order', () => {
  expect(parseDiskSpec('a.img,bus=mmio,readonly,format=raw,cache=unsafe,snapshot')).toEqual({
    path: 'a.img',
    format: 'raw',
    readOnly: true,
    snapshot: true,
    cache: 'unsafe',
    bus: 'mmio',
  });
  expect(parseDiskSpec('a.img,readonly=off,snapshot=on')).toMatchObject({ readOnly: false, snapshot: true });
});

test("a comma in the file's name is written twice", () => {
  expect(parseDiskSpec('a,,b=c.img,format=qcow2')).toMatchObject({ path: 'a,b=c.img', format: 'qcow2' });
  expect(parseDiskSpec('a,,,readonly')).toMatchObject({ path: 'a,', readOnly: true });
});

describe('what cannot be is said:', () => {
  test.each([
    ['a.img,format=vmdk', 'format is one of raw, qcow2, not "vmdk"'],
    ['a.img,cache=fast', 'cache is one of writeback, writethrough, none, unsafe, not "fast"'],
    ['a.img,readonly=maybe', 'readonly is one of on, off, not "maybe"'],
    ['a.img,bus=usb', 'bus is one of pci, mmio, not "usb"'],
    ['a.img,snapshot,snapshot', '"snapshot" is there twice'],
    [
      'a,b.img',
      'there is no "b.img", only format, readonly, snapshot, cache and bus; a comma in a file\'s name is written twice',
    ],
    [',readonly', 'there is no file'],
    ['', 'there is no file'],
  ])('%s', (text, problem) => {
    expect(() => parseDiskSpec(text)).toThrow(`Disk "${text}": ${problem}`);
  });
});
