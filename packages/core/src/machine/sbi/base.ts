/** The base extension: who we are and what we can do (SBI 2.0, chapter 4). */

import { success } from './extension.ts';
import type { SbiExtension } from './extension.ts';

/** Major and minor version of the specification. */
const SPECIFICATION_VERSION = (2n << 24n) | 0n;
/** "Rngf". The specification's list of implementations (4.9) has nobody there. */
export const IMPLEMENTATION_ID = 0x526e_6766n;
/** Our own version, major.minor.patch in a byte each. */
export const IMPLEMENTATION_VERSION = 0x00_01_00n;

/** The machine's registers of these names: nobody's. */
export const OWN_IDENTITY = { mvendorid: 0n, marchid: 0n, mimpid: 0n } as const;

export const BASE: SbiExtension = {
  id: 0x10n,
  name: 'BASE',
  functions: [
    function sbi_get_spec_version() {
      return success(SPECIFICATION_VERSION);
    },
    function sbi_get_impl_id() {
      return success(IMPLEMENTATION_ID);
    },
    function sbi_get_impl_version() {
      return success(IMPLEMENTATION_VERSION);
    },
    function sbi_probe_extension({ a }, _platform, probe) {
      return success(probe(a[0]) ? 1n : 0n);
    },
    function sbi_get_mvendorid(_call, { machine }) {
      return success(machine.mvendorid);
    },
    function sbi_get_marchid(_call, { machine }) {
      return success(machine.marchid);
    },
    function sbi_get_mimpid(_call, { machine }) {
      return success(machine.mimpid);
    },
  ],
};
