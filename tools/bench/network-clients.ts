/** What wrk (its report) and iperf3 (-J) say, as figures. Both throw when the text is not theirs. */

export interface WrkReport {
  readonly perSecond: number;
  /** Requests that got no answer, or not one of 2xx or 3xx. */
  readonly failed: number;
  readonly megabytesPerSecond: number;
  /** The lines for people, in one. */
  readonly says: string;
}

/** Bytes of a unit as wrk writes it: powers of 1024. */
const WRK_UNITS: Readonly<Record<string, number>> = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 };

export function parseWrk(text: string): WrkReport {
  const perSecond = /Requests\/sec:\s+([\d.]+)/.exec(text)?.[1];
  const [, transferred, unit = ''] = /Transfer\/sec:\s+([\d.]+)(B|KB|MB|GB)/.exec(text) ?? [];
  const [, requests, seconds] = /(\d+) requests in ([\d.]+\w+)/.exec(text) ?? [];
  if (perSecond === undefined || transferred === undefined || requests === undefined)
    throw new Error(`this is no report of wrk:\n${text}`);
  const [, ...errors] = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text) ?? [];
  const refused = /Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1] ?? '0';
  const failed = [...errors, refused].reduce((sum, count) => sum + Number(count), 0);
  const late = /99%\s+([\d.]+\w+)/.exec(text)?.[1];
  return {
    perSecond: Number(perSecond),
    failed,
    megabytesPerSecond: (Number(transferred) * (WRK_UNITS[unit] ?? NaN)) / 1e6,
    says: `${failed} failed of ${requests} in ${seconds ?? ''}${late === undefined ? '' : `, 99 % within ${late}`}`,
  };
}

/** Bits a second that arrived. */
export function parseIperf(text: string): number {
  const report = JSON.parse(text) as {
    readonly error?: string;
    readonly end?: { readonly sum_received?: { readonly bits_per_second?: number } };
  };
  const bits = report.end?.sum_received?.bits_per_second;
  if (report.error !== undefined || bits === undefined)
    throw new Error(`iperf3 says: ${report.error ?? 'nothing of what arrived'}`);
  return bits;
}
