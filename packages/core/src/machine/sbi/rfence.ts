/**
 * Fences on other harts (SBI 2.0, chapter 8). They are done when the call returns. The functions for guests of guests need the
 * hypervisor extension, which the harts do not have.
 */

import type { HartPort } from '../hart-port.ts';
import { SBI_ERR_INVALID_PARAM, SBI_ERR_NOT_SUPPORTED, failure, success } from './extension.ts';
import type { SbiCall, SbiExtension, SbiPlatform, SbiResult } from './extension.ts';
import { selectHarts } from './hart-mask.ts';

const EVERY_ADDRESS = 0xffff_ffff_ffff_ffffn;
/** An ASID has 16 bits (Privileged ISA, satp). */
const ASID_MASK = 0xffffn;

export const RFENCE: SbiExtension = {
  id: 0x5246_4e43n,
  name: 'RFENCE',
  functions: [
    function sbi_remote_fence_i(call, platform) {
      return onEach(call, platform, (hart) => hart.fenceInstruction());
    },
    function sbi_remote_sfence_vma(call, platform) {
      return fenceVma(call, platform, undefined);
    },
    function sbi_remote_sfence_vma_asid(call, platform) {
      return fenceVma(call, platform, Number(call.a[4] & ASID_MASK));
    },
    function sbi_remote_hfence_gvma_vmid() {
      return failure(SBI_ERR_NOT_SUPPORTED);
    },
    function sbi_remote_hfence_gvma() {
      return failure(SBI_ERR_NOT_SUPPORTED);
    },
    function sbi_remote_hfence_vvma_asid() {
      return failure(SBI_ERR_NOT_SUPPORTED);
    },
    function sbi_remote_hfence_vvma() {
      return failure(SBI_ERR_NOT_SUPPORTED);
    },
  ],
};

/** 8: a start and size of 0, like a size of all ones, mean the whole address space. */
function fenceVma(call: SbiCall, platform: SbiPlatform, asid: number | undefined): SbiResult {
  const [, , start, size] = call.a;
  const everything = (start === 0n && size === 0n) || size === EVERY_ADDRESS;
  return onEach(call, platform, (hart) =>
    hart.fenceVma(everything ? 0n : start, everything ? EVERY_ADDRESS : size, asid),
  );
}

function onEach({ a }: SbiCall, { harts }: SbiPlatform, fence: (hart: HartPort) => void): SbiResult {
  const targets = selectHarts(a[0], a[1], harts);
  if (targets === undefined) return failure(SBI_ERR_INVALID_PARAM);
  for (const hart of targets) fence(hart);
  return success();
}
