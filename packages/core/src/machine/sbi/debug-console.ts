/**
 * The debug console (SBI 2.0, chapter 12). Its buffers are guest-physical memory named by the guest: the whole buffer is checked before
 * anything is moved. A call moves at most CONSOLE_CHUNK_BYTES; the caller sees how many and calls again.
 */

import { SBI_ERR_FAILED, SBI_ERR_INVALID_PARAM, failure, success } from './extension.ts';
import type { SbiCall, SbiExtension, SbiPlatform } from './extension.ts';

/** Bytes that one call moves at most. */
export const CONSOLE_CHUNK_BYTES = 4096;

export const DBCN: SbiExtension = {
  id: 0x4442_434en,
  name: 'DBCN',
  functions: [
    function sbi_debug_console_write(call, platform) {
      const buffer = bufferOf(call, platform);
      if (buffer === undefined) return failure(SBI_ERR_INVALID_PARAM);
      const bytes = new Uint8Array(Math.min(buffer.size, CONSOLE_CHUNK_BYTES));
      if (!platform.memory.read(buffer.address, bytes)) return failure(SBI_ERR_FAILED);
      if (bytes.length > 0) platform.console.write(bytes);
      return success(BigInt(bytes.length));
    },
    function sbi_debug_console_read(call, platform) {
      const buffer = bufferOf(call, platform);
      if (buffer === undefined) return failure(SBI_ERR_INVALID_PARAM);
      const bytes = [];
      while (bytes.length < Math.min(buffer.size, CONSOLE_CHUNK_BYTES)) {
        const byte = platform.console.read();
        if (byte === undefined) break;
        bytes.push(byte);
      }
      if (!platform.memory.write(buffer.address, Uint8Array.from(bytes))) return failure(SBI_ERR_FAILED);
      return success(BigInt(bytes.length));
    },
    function sbi_debug_console_write_byte({ a }, { console }) {
      console.write(Uint8Array.of(Number(a[0] & 0xffn)));
      return success();
    },
  ],
};

/** a0 bytes at a1, of which a2 is the part above 64 bits; undefined unless all of it is RAM. */
function bufferOf(
  { a: [count, low, high] }: SbiCall,
  { memory }: SbiPlatform,
): { address: number; size: number } | undefined {
  const limit = BigInt(Number.MAX_SAFE_INTEGER);
  if (high !== 0n || low > limit || count > limit) return undefined;
  const [address, size] = [Number(low), Number(count)];
  return memory.contains(address, size) ? { address, size } : undefined;
}
