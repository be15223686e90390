/**
 * The worker thread behind system-calls.ts. A call through `node:ffi` holds up the thread that makes it, which must not be the one of
 * the machine: a slow disk never stops a hart. Descriptors are the process's, so they mean the same here.
 */

import process from 'node:process';
import { parentPort } from 'node:worker_threads';
import { SIGNATURES, type SystemCallAnswer, type SystemCallName, type SystemCallRequest } from './system-call.ts';

type NativeCall = (...words: readonly unknown[]) => number | bigint;
/** As much of `node:ffi` as is used. It is experimental, so nothing is taken for granted but what was tried out. */
interface Ffi {
  dlopen(path: null, definitions: object): { readonly functions: Readonly<Record<string, NativeCall>> };
  getInt32(pointer: number | bigint, offset: number): number;
}

interface Library {
  readonly call: (name: SystemCallName, words: SystemCallRequest['words']) => { value: number; errno: number };
}

async function openLibrary(): Promise<Library | undefined> {
  // That the module is experimental is known, and no news for who shares a folder.
  process.removeAllListeners('warning');
  try {
    const name = 'node:ffi';
    const ffi = (await import(name)) as Ffi;
    // Versions differ in what they call the two parts of a signature.
    const definition = ([result, ...parameters]: readonly string[]): object => ({
      result,
      return: result,
      parameters,
      arguments: parameters,
    });
    const definitions = Object.entries(SIGNATURES).map(([key, types]) => [key, definition(types)] as const);
    const { functions } = ffi.dlopen(null, {
      ...Object.fromEntries(definitions),
      getpid: definition(['int32']),
      __errno_location: definition(['pointer']),
    });
    const { getpid, __errno_location: errnoLocation } = functions;
    if (getpid === undefined || errnoLocation === undefined || Number(getpid()) !== process.pid) return undefined;
    return {
      call(key, words) {
        const value = Number(functions[key]?.(...words));
        return { value, errno: value < 0 ? ffi.getInt32(errnoLocation(), 0) : 0 };
      },
    };
  } catch {
    return undefined;
  }
}

const library = await openLibrary();
// A call that must fail in one way: if it does not, something is different here.
const probe = library?.call('syncfs', [-1]);
const EBADF = 9;
const ready = probe?.value === -1 && probe.errno === EBADF;
parentPort?.postMessage({ ready });
if (library !== undefined && ready)
  parentPort?.on('message', ({ id, name, words, filled }: SystemCallRequest) => {
    const { value, errno } = library.call(name, words);
    const given = filled === undefined ? undefined : words[filled];
    const answer: SystemCallAnswer = { id, value, errno, filled: given instanceof Uint8Array ? given : undefined };
    parentPort?.postMessage(answer);
  });
