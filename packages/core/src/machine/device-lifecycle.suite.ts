/**
 * The one suite that every device of the machine passes: power-on, save, restore, reset, and saved state that must be refused.
 *
 *     deviceLifecycle('goldfish RTC', { make: () => new GoldfishRtc(...), disturb: (rtc) => rtc.write(...) });
 *
 * INVARIANT under test: a device is exactly what `save` gives. Restoring it anywhere gives a device that saves the same and behaves
 * the same; whatever else is handed to `restore` throws SavedStateError and changes nothing.
 */

import { describe, expect, test } from 'vitest';
import type { Saved } from '../base/saved.ts';
import { SavedStateError } from '../base/saved.ts';
import type { Device } from './device.ts';
import { damagedStates, isPlainData } from './testing/saved-damage.ts';

export interface LifecycleSubject<D extends Device> {
  /** A device as after power-on, with ports of its own; two of them must start alike. */
  make(): D;
  /** Brings a fresh device into a state that differs from power-on in as many saved fields as it can. */
  disturb(device: D): void;
  /** What a guest would see, without side effects (registers read, lines driven). Compared after a restore. */
  observe?(device: D): unknown;
  /** Paths such as `.ports[].queue` of numbers that may be any safe integer, or bigints that may have any sign. */
  readonly unboundedPaths?: readonly string[];
  /** Saved states that are well formed field by field and still contradict themselves. */
  readonly contradictions?: Readonly<Record<string, (saved: Saved) => Saved>>;
}

/** Declares the lifecycle tests of one device. Call it at the top level of the device's own test file. */
export function deviceLifecycle<D extends Device>(kind: string, subject: LifecycleSubject<D>): void {
  const disturbed = (): D => {
    const device = subject.make();
    subject.disturb(device);
    return device;
  };
  const observe = (device: D): unknown => subject.observe?.(device);

  describe(`the lifecycle of ${kind}`, () => {
    test('its name is kind@address as in the device tree', () => {
      expect(subject.make().name).toMatch(/^[a-z][a-z0-9,._+-]*@[0-9a-f]+(,[0-9a-f]+)?$/);
    });

    test('it saves plain data, and saving changes nothing', () => {
      for (const device of [subject.make(), disturbed()]) {
        const first = device.save();
        expect(isPlainData(first)).toBe(true);
        expect(device.save()).toEqual(first);
      }
    });

    test('disturbing it shows in what it saves, so that the other tests mean something', () => {
      expect(disturbed().save()).not.toEqual(subject.make().save());
    });

    test('what it saved is a copy: it does not change with the device', () => {
      const device = subject.make();
      const saved = device.save();
      const copy = structuredClone(saved);
      subject.disturb(device);
      expect(saved).toEqual(copy);
    });

    test('reset is power-on, from any state and any number of times', () => {
      const powerOn = subject.make();
      const device = disturbed();
      for (let time = 0; time < 2; time++) {
        device.reset();
        expect(device.save()).toEqual(powerOn.save());
        expect(observe(device)).toEqual(observe(powerOn));
      }
    });

    test('a fresh device takes over the saved state of another', () => {
      const original = disturbed();
      const saved = original.save();
      const device = subject.make();
      for (let time = 0; time < 2; time++) {
        device.restore(structuredClone(saved));
        expect(device.save()).toEqual(saved);
        expect(observe(device)).toEqual(observe(original));
      }
    });

    test('restoring replaces all that was there before', () => {
      const powerOn = subject.make();
      const device = disturbed();
      device.restore(powerOn.save());
      expect(device.save()).toEqual(powerOn.save());
      expect(observe(device)).toEqual(observe(powerOn));
    });

    test("what it was restored from stays the caller's: the device does not write into it", () => {
      const saved = subject.make().save();
      const copy = structuredClone(saved);
      const device = subject.make();
      device.restore(saved);
      subject.disturb(device);
      expect(saved).toEqual(copy);
    });

    test('a restored device can be reset', () => {
      const device = subject.make();
      device.restore(disturbed().save());
      device.reset();
      expect(device.save()).toEqual(subject.make().save());
    });

    test('a damaged saved state is refused and leaves the device as it was', () => {
      const saved = disturbed().save();
      const device = subject.make();
      const before = { saved: device.save(), seen: observe(device) };
      const damaged = [
        ...damagedStates(saved, subject.unboundedPaths ?? []),
        ...Object.entries(subject.contradictions ?? {}).map(([what, change]) => ({
          what,
          state: change(structuredClone(saved)),
        })),
      ];
      expect(damaged.length).toBeGreaterThan(0);
      for (const { what, state } of damaged) {
        expect(() => device.restore(state), what).toThrow(SavedStateError);
        expect({ saved: device.save(), seen: observe(device) }, `${what}, and the device afterwards`).toEqual(before);
      }
    });
  });
}
