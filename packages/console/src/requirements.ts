/**
 * What a browser must offer before a machine can run in it, and the sentence for a person whose browser, or whose way to the page, does
 * not offer it.
 */

/** What a page sees of its browser. */
export interface Browser {
  /** https, or an address of the machine itself. */
  readonly isSecureContext: boolean;
  /** The page was served with the headers that SharedArrayBuffer asks for (HTML, "cross-origin isolation"). */
  readonly crossOriginIsolated: boolean;
  readonly hasSharedArrayBuffer: boolean;
  /** ECMAScript 2024: Promise.withResolvers and ArrayBuffer.prototype.transfer. */
  readonly knowsEs2024: boolean;
  /** WebAssembly.validate; undefined where there is no WebAssembly. */
  readonly validate: ((bytes: Uint8Array<ArrayBuffer>) => boolean) | undefined;
}

/** A module with one function, `() -> ()`, of these instructions (WebAssembly Core Specification, 5.5). */
function moduleOf(...instructions: readonly number[]): Uint8Array<ArrayBuffer> {
  const body = [0, ...instructions, 0x0b]; // no locals; end
  const sections = [
    [0x01, 0x04, 0x01, 0x60, 0x00, 0x00], // types
    [0x03, 0x02, 0x01, 0x00], // functions
    [0x0a, body.length + 2, 0x01, body.length, ...body], // code
  ];
  return Uint8Array.from([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, ...sections.flat()]);
}

/** Extensions of WebAssembly that the engine's code is made of. */
const EXTENSIONS: readonly (readonly [name: string, module: Uint8Array<ArrayBuffer>])[] = [
  ['threads', moduleOf(0xfe, 0x03, 0x00)], // atomic.fence
  ['tail calls', moduleOf(0x12, 0x00)], // return_call 0
];

const RECENT_ENOUGH = 'Chromium 119, Firefox 122, Safari 18.2 and what is newer will do.';

/** Why no machine can run here, as a sentence; undefined when one can. */
export function unmetRequirement(browser: Browser): string | undefined {
  const { validate } = browser;
  if (validate === undefined)
    return 'This browser has no WebAssembly, or it is switched off. A machine runs on nothing else.';
  if (!browser.isSecureContext) {
    return (
      'Browsers give shared memory only to pages from https or from this computer itself. ' +
      'Open this page by the address that "npm run demo" prints.'
    );
  }
  if (!browser.crossOriginIsolated) {
    return (
      'This page is not cross-origin isolated, so the browser gives it no shared memory. It must be served with the headers ' +
      'Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp, as "npm run demo" does, ' +
      'and not lie in a frame of another page.'
    );
  }
  if (!browser.hasSharedArrayBuffer)
    return 'This browser has no SharedArrayBuffer, which is the memory of a machine. A newer one has it.';
  if (!browser.knowsEs2024) return `This browser is too old. ${RECENT_ENOUGH}`;
  const missing = EXTENSIONS.filter(([, module]) => !validate(module)).map(([name]) => name);
  if (missing.length === 0) return undefined;
  return `The WebAssembly of this browser lacks ${missing.join(' and ')}. ${RECENT_ENOUGH}`;
}
