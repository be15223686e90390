import { expect, test } from 'vitest';
import { unmetRequirement, type Browser } from './requirements.ts';

/** As this Node is, were it a browser. */
const able: Browser = {
  isSecureContext: true,
  crossOriginIsolated: true,
  hasSharedArrayBuffer: true,
  knowsEs2024: true,
  validate: (bytes) => WebAssembly.validate(bytes),
};
/** Whether the function of a module begins with this instruction: 18 bytes before the code section, five in it. */
const uses = (bytes: Uint8Array, opcode: number): boolean => bytes[23] === opcode;
const TAIL_CALL = 0x12;
const ATOMIC = 0xfe;

test('a browser that has everything lacks nothing', () => expect(unmetRequirement(able)).toBeUndefined());

test.each<[string, Partial<Browser>]>([
  ['has no WebAssembly', { validate: undefined }],
  ['that "npm run demo" prints', { isSecureContext: false, crossOriginIsolated: false, hasSharedArrayBuffer: false }],
  ['Cross-Origin-Embedder-Policy: require-corp', { crossOriginIsolated: false, hasSharedArrayBuffer: false }],
  ['has no SharedArrayBuffer', { hasSharedArrayBuffer: false }],
  ['is too old', { knowsEs2024: false }],
  ['lacks tail calls.', { validate: (bytes) => !uses(bytes, TAIL_CALL) }],
  ['lacks threads.', { validate: (bytes) => !uses(bytes, ATOMIC) }],
  ['lacks threads and tail calls.', { validate: () => false }],
])('what is missing has its sentence: %s', (words, lacking) => {
  expect(unmetRequirement({ ...able, ...lacking })).toContain(words);
});
