/**
 * Our own SBI: what a kernel in S-mode finds below it when the machine boots without firmware (RISC-V Supervisor Binary Interface
 * Specification 2.0). It lives outside the guest and takes none of its memory.
 *
 *     ecall in S-mode --> engine moves pc behind it --> handle(hart) --> a7 names the extension, a6 the function
 *                                                                    --> a0 = error, a1 = value
 *
 * INVARIANT: it keeps no state; what must survive a snapshot is in the harts. A call does nothing, or all it says.
 */

import type { HartPort } from '../hart-port.ts';
import { BASE } from './base.ts';
import { DBCN } from './debug-console.ts';
import { SBI_ERR_NOT_SUPPORTED, failure } from './extension.ts';
import type { SbiCall, SbiExtension, SbiPlatform, SbiResult } from './extension.ts';
import { HSM } from './hsm.ts';
import { IPI } from './ipi.ts';
import { LEGACY } from './legacy.ts';
import { RFENCE } from './rfence.ts';
import { SUSP } from './system-suspend.ts';
import { SRST } from './system-reset.ts';
import { STA } from './steal-time.ts';
import { TIME } from './time.ts';

/** Everything there is but the legacy functions. PMU is not, and probing it says so. */
export const EXTENSIONS: readonly SbiExtension[] = [BASE, TIME, IPI, RFENCE, HSM, SRST, DBCN, SUSP, STA];

const A0 = 10;
const A1 = 11;
const A6 = 16;
const A7 = 17;

export class Sbi {
  readonly #platform: SbiPlatform;
  readonly #extensions: ReadonlyMap<bigint, SbiExtension>;

  constructor(platform: SbiPlatform) {
    this.#platform = platform;
    this.#extensions = new Map(EXTENSIONS.map((extension) => [extension.id, extension]));
  }

  /** Answers the call that `hart` has just made; its pc is already behind the `ecall`. */
  handle(hart: HartPort): void {
    const extension = hart.x(A7);
    const call: SbiCall = {
      hart,
      a: [hart.x(A0), hart.x(A1), hart.x(A0 + 2), hart.x(A0 + 3), hart.x(A0 + 4), hart.x(A0 + 5)],
    };
    const legacy = LEGACY.get(extension);
    if (legacy !== undefined) {
      const value = legacy(call, this.#platform);
      if (value !== undefined) hart.setX(A0, BigInt.asUintN(64, value));
      return;
    }
    const result = this.#call(extension, hart.x(A6), call);
    if (result === undefined) return;
    hart.setX(A0, BigInt.asUintN(64, result.error));
    hart.setX(A1, BigInt.asUintN(64, result.value));
  }

  #call(extension: bigint, number: bigint, call: SbiCall): SbiResult {
    const functions = this.#extensions.get(extension)?.functions ?? [];
    const called = number < BigInt(functions.length) ? functions[Number(number)] : undefined;
    if (called === undefined) return failure(SBI_ERR_NOT_SUPPORTED);
    return called(call, this.#platform, (probed) => this.#extensions.has(probed) || LEGACY.has(probed));
  }
}
