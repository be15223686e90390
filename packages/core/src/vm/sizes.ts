/** Sizes as people write them: 512M, 2G. Units are binary, as for QEMU and the kernel. */

const UNITS: Readonly<Record<string, number>> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** Guest memory comes in pages. */
const PAGE_BYTES = 4096;

/** The bytes that `text` stands for ("512M", "1.5GiB", "1048576"), or undefined when it is no size. */
export function parseSize(text: string): number | undefined {
  const [, digits, unit = ''] = /^(\d+(?:\.\d+)?)(?:([KMGT])(?:i?B)?|B)?$/i.exec(text.trim()) ?? [];
  if (digits === undefined) return undefined;
  const bytes = Number(digits) * (UNITS[unit.toUpperCase()] ?? 1);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** The size of a machine's memory between two limits, in whole pages; or why not, as the end of a sentence. */
export function memorySize(text: string, minimumBytes: number, maximumBytes: number): number | string {
  const bytes = parseSize(text);
  if (bytes === undefined) return 'is no size; write it like 512M or 2G';
  const whole = Math.floor(bytes / PAGE_BYTES) * PAGE_BYTES;
  if (whole < minimumBytes) return `is too little; the smallest machine has ${formatSize(minimumBytes)}`;
  if (whole > maximumBytes) return `is too much; the largest machine has ${formatSize(maximumBytes)}`;
  return whole;
}

/** For people: 36.5 MiB. */
export function formatSize(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 || Number.isInteger(value) ? 0 : 1;
  return `${value.toFixed(digits)} ${units[unit]}`;
}
