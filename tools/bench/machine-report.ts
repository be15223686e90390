/** What Ringfence's process tells the benchmark when the machine is off: one line on stderr, between whatever else comes there. */

/** Instructions that had retired when a line of the suite came out. */
export interface Mark {
  readonly line: string;
  readonly instructions: number;
  /** Milliseconds since the process began. */
  readonly atMs: number;
}

export interface MachineReport {
  readonly ending: string;
  readonly statistics: Readonly<Record<string, number>>;
  readonly marks: readonly Mark[];
}

const BEGINNING = 'MACHINE-REPORT ';

export function reportLine(report: MachineReport): string {
  return `${BEGINNING}${JSON.stringify(report)}\n`;
}

/** Undefined for a line that is something else. */
export function reportOf(line: string): MachineReport | undefined {
  return line.startsWith(BEGINNING) ? (JSON.parse(line.slice(BEGINNING.length)) as MachineReport) : undefined;
}
