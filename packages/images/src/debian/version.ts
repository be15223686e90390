/** Debian versions and their order (deb-version(7)): [epoch:]upstream[-revision], `~` before everything, letters before other signs. */

/** Below zero when `a` is older than `b`. */
export function compareVersions(a: string, b: string): number {
  const [epochA, upstreamA, revisionA] = split(a);
  const [epochB, upstreamB, revisionB] = split(b);
  return epochA - epochB || comparePart(upstreamA, upstreamB) || comparePart(revisionA, revisionB);
}

function split(version: string): [epoch: number, upstream: string, revision: string] {
  const colon = version.indexOf(':');
  const rest = version.slice(colon + 1);
  const dash = rest.lastIndexOf('-');
  return [
    colon < 0 ? 0 : Number(version.slice(0, colon)),
    dash < 0 ? rest : rest.slice(0, dash),
    dash < 0 ? '' : rest.slice(dash + 1),
  ];
}

/** Runs without digits and runs of digits take turns, starting with one without. */
function comparePart(a: string, b: string): number {
  const runsA = runs(a);
  const runsB = runs(b);
  for (let at = 0; at < Math.max(runsA.length, runsB.length); at++) {
    const [runA, runB] = [runsA[at] ?? '', runsB[at] ?? ''];
    const order = at % 2 === 0 ? compareSigns(runA, runB) : compareNumbers(runA, runB);
    if (order !== 0) return order;
  }
  return 0;
}

function runs(text: string): string[] {
  return Array.from(text.matchAll(/(\D*)(\d*)/g), ([, signs = '', digits = '']) => [signs, digits]).flat();
}

function compareNumbers(a: string, b: string): number {
  const [x, y] = [a.replace(/^0+/, ''), b.replace(/^0+/, '')];
  return x.length - y.length || (x < y ? -1 : Number(x > y));
}

function compareSigns(a: string, b: string): number {
  for (let at = 0; at < Math.max(a.length, b.length); at++) {
    const order = weight(a[at]) - weight(b[at]);
    if (order !== 0) return order;
  }
  return 0;
}

function weight(sign: string | undefined): number {
  if (sign === '~') return -1;
  if (sign === undefined) return 0;
  const code = sign.codePointAt(0) ?? 0;
  return /[A-Za-z]/.test(sign) ? code : code + 0x110000;
}
