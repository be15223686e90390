/** What Ringfence's process says of itself while its machine runs, where it was asked to: lines on stderr like that of machine-report.ts. */

export interface MachineSample {
  readonly statistics: Readonly<Record<string, number>>;
  /** JavaScript's heap in use, and what lies outside it: buffers, the guest's memory among them. */
  readonly heapUsedBytes: number;
  readonly externalBytes: number;
}

const BEGINNING = 'MACHINE-SAMPLE ';

export function sampleLine(sample: MachineSample): string {
  return `${BEGINNING}${JSON.stringify(sample)}\n`;
}

/** Undefined for a line that is something else. */
export function sampleOf(line: string): MachineSample | undefined {
  return line.startsWith(BEGINNING) ? (JSON.parse(line.slice(BEGINNING.length)) as MachineSample) : undefined;
}
