/** What a machine was asked for over time, as it was recorded. Units: cores, bytes, operations and bytes a second. */

/** One interval of a record. What was not recorded is undefined. */
export interface LoadSample {
  /** The interval's end, in seconds since midnight of the machine's own day; days follow each other: the second one begins at 86400. */
  readonly atSeconds: number;
  /** Cores that were busy. */
  readonly cpuCores?: number;
  /** Memory that was not available to anybody else. */
  readonly memoryBytes?: number;
  readonly diskOperations?: number;
  readonly diskBytes?: number;
  readonly networkBytes?: number;
}

export const QUANTITIES = ['cpuCores', 'memoryBytes', 'diskOperations', 'diskBytes', 'networkBytes'] as const;
export type Quantity = (typeof QUANTITIES)[number];

export interface RecordedLoad {
  readonly name: string;
  /** Its processors, where the record says so. */
  readonly cpus: number | undefined;
  /** In order of time. */
  readonly samples: readonly LoadSample[];
}

/** The values of one quantity that were recorded, in order of time. */
export function valuesOf(load: RecordedLoad, quantity: Quantity): number[] {
  return load.samples.flatMap(({ [quantity]: value }) => (value === undefined ? [] : [value]));
}

/** The value that `share` (0 to 1) of the values do not exceed (nearest rank); undefined of none. */
export function percentile(values: readonly number[], share: number): number | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}
