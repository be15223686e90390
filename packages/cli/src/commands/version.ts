/** `ringfence version`: what this is and what it runs on. */

import { readFileSync } from 'node:fs';
import process from 'node:process';

export function ringfenceVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

export function version({ json }: { readonly json?: boolean | undefined }): number {
  const { versions, platform, arch } = process;
  const facts = { ringfence: ringfenceVersion(), node: versions.node, v8: versions.v8, platform, arch };
  process.stdout.write(
    json === true
      ? `${JSON.stringify(facts, null, 2)}\n`
      : `ringfence ${facts.ringfence} (Node ${facts.node}, ${platform} ${arch})\n`,
  );
  return 0;
}
