/** A script in a machine with the image `debian`. */

import { VM, type VMOptions } from '@ringfence/host';

const READY_TIMEOUT_MS = 300_000;

/** Starts a machine with the image `debian`. */
export async function start(options: VMOptions): Promise<VM> {
  return VM.start({ image: 'debian', reachable: false, readyTimeoutMs: READY_TIMEOUT_MS, ...options });
}

/** Runs a script in the guest and gives its output; throws with the end of what it said when it fails. */
export async function script(vm: VM, text: string, user?: string): Promise<string> {
  const { code, stdout, stderr } = await vm.exec(['bash', '-ec', text], user === undefined ? {} : { user });
  if (code === 0) return stdout.trim();
  throw new Error(`code ${String(code)}\n${indented(stdout)}\n${indented(stderr)}`);
}

/** The end of what a program said, as part of a message. */
export function indented(text: string): string {
  return text
    .trimEnd()
    .split('\n')
    .slice(-25)
    .map((line) => `    ${line}`)
    .join('\n');
}

/** In a machine of its own. */
export function inGuest(text: string, options: VMOptions = {}): (image: VMOptions) => Promise<string> {
  return async (image) => {
    await using vm = await start({ ...image, ...options });
    const said = await script(vm, text);
    return said.split('\n').at(-1) ?? '';
  };
}
