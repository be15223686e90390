/** Arithmetic of TCP's sequence numbers, which go around at 2^32 (RFC 9293, 3.4). */

/** How far `a` lies behind `b` in the circle. */
export function distance(a: number, b: number): number {
  return (a - b) | 0;
}
