/** The virtual machines of this user that run in other processes; loads nothing of what runs one. */

export { copyBetweenGuests, copyFromGuest, copyIntoGuest, type CopyOptions } from '../copy/copy.ts';
export { HostError } from '../failure.ts';
export { RemoteVM } from './client.ts';
export { OPERATIONS, type VMStatus } from './operations.ts';
