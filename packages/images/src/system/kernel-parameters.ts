/** Words for the kernel's command line that the image `debian` wants. */

import { KERNEL_PARAMETERS } from '../tiny/kernel-parameters.ts';

export const DEBIAN_KERNEL_PARAMETERS: readonly string[] = [
  ...KERNEL_PARAMETERS,
  'root=/dev/vda',
  // The first card is eth0, which the initrd may have set up already.
  'net.ifnames=0',
  // Without the security modules that have no policy here. With BPF's systemd would have the kernel verify programs of its own at each start.
  'lsm=landlock,yama',
  // Page tables of four levels (Sv48) where the machine could have five: OpenJDK 21 does not begin with those ("Unsupported satp mode: SV57").
  'no5lvl',
];
