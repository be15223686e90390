/**
 * Node ends a process that waits for nothing but what V8 compiles on threads of its own, with exit code 0 and without a word where no module waits for it
 * (Node 24 and later: the platform waits for tasks of the highest priority alone, and those of WebAssembly.compile are not).
 */

const LONG_MS = 2 ** 30;

/** The process stays until `work` is over. */
export async function holdingProcess<T>(work: Promise<T>): Promise<T> {
  const timer = setInterval(() => {}, LONG_MS);
  try {
    return await work;
  } finally {
    clearInterval(timer);
  }
}
