/**
 * The keys that are for Ringfence and not for the guest: after Ctrl-A an X ends the machine and a second Ctrl-A is one for the guest.
 * As QEMU's and picocom's users know it.
 */

const CTRL_A = 0x01;
const QUIT_KEYS = new Set([0x78, 0x58, 0x18]); // x, X, Ctrl-X

export class EscapeKeys {
  #escaped = false;

  /** The bytes of `typed` that are for the guest, and whether the user asked for the end; what follows that is dropped. */
  take(typed: Uint8Array): { readonly forGuest: Uint8Array; readonly quit: boolean } {
    const forGuest = new Uint8Array(typed.length + 1);
    let length = 0;
    for (const byte of typed) {
      if (!this.#escaped) {
        if (byte === CTRL_A) this.#escaped = true;
        else forGuest[length++] = byte;
        continue;
      }
      this.#escaped = false;
      if (QUIT_KEYS.has(byte)) return { forGuest: forGuest.slice(0, length), quit: true };
      forGuest[length++] = CTRL_A;
      // Any other key was not meant for us: the guest gets both.
      if (byte !== CTRL_A) forGuest[length++] = byte;
    }
    return { forGuest: forGuest.slice(0, length), quit: false };
  }
}
