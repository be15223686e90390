/** The common configuration structure of virtio over PCI (virtio 1.3, 4.1.4.3) as data; 64-bit fields are two of 32 bits, low first. */

import type { AccessSize } from '../device.ts';
import type { CommonConfiguration } from './common-configuration.ts';
import { VIRTIO_F } from './features.ts';
import { QUEUE_AREA } from './queue.ts';
import type { QueueAreaWord } from './queue.ts';

/** A field. Without `read` it reads as zero, without `write` it ignores writes. */
export interface CommonRegister {
  readonly size: AccessSize;
  read?(common: CommonConfiguration): number;
  write?(common: CommonConfiguration, value: number): void;
}

/** What the vector fields show while there is no MSI-X (VIRTIO_MSI_NO_VECTOR). */
const NO_VECTOR = 0xffff;

function queueArea(word: QueueAreaWord): CommonRegister {
  return {
    size: 4,
    read: (common) => common.queueArea(word),
    write: (common, value) => common.setQueueArea(word, value),
  };
}

/** The fields by offset. */
export const COMMON_REGISTERS: ReadonlyMap<number, CommonRegister> = new Map<number, CommonRegister>([
  // device_feature_select, device_feature, driver_feature_select, driver_feature
  [
    0x00,
    {
      size: 4,
      read: (common) => common.deviceFeatureSelect,
      write: (common, value) => (common.deviceFeatureSelect = value),
    },
  ],
  [0x04, { size: 4, read: (common) => common.deviceFeatures }],
  [
    0x08,
    {
      size: 4,
      read: (common) => common.driverFeatureSelect,
      write: (common, value) => (common.driverFeatureSelect = value),
    },
  ],
  [
    0x0c,
    { size: 4, read: (common) => common.driverFeatures, write: (common, value) => (common.driverFeatures = value) },
  ],
  // config_msix_vector, num_queues, device_status, config_generation
  [0x10, { size: 2, read: () => NO_VECTOR }],
  [0x12, { size: 2, read: (common) => common.queues.length }],
  [0x14, { size: 1, read: (common) => common.status, write: (common, value) => common.writeStatus(value) }],
  [0x15, { size: 1, read: (common) => common.generation }],
  // queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off
  [0x16, { size: 2, read: (common) => common.queueSelect, write: (common, value) => (common.queueSelect = value) }],
  [0x18, { size: 2, read: (common) => common.queueSize, write: (common, value) => (common.queueSize = value) }],
  [0x1a, { size: 2, read: () => NO_VECTOR }],
  [
    0x1c,
    {
      size: 2,
      read: (common) => Number(common.queueEnabled),
      write: (common, value) => {
        // The driver must not write 0 (4.1.4.3.2); it has queue_reset for that.
        if (value === 1) common.enableQueue();
        else common.complain('the driver wrote something else than 1 to queue_enable');
      },
    },
  ],
  [0x1e, { size: 2, read: (common) => common.queueSelect }],
  // queue_desc, queue_driver, queue_device
  [0x20, queueArea(QUEUE_AREA.descLow)],
  [0x24, queueArea(QUEUE_AREA.descHigh)],
  [0x28, queueArea(QUEUE_AREA.driverLow)],
  [0x2c, queueArea(QUEUE_AREA.driverHigh)],
  [0x30, queueArea(QUEUE_AREA.deviceLow)],
  [0x34, queueArea(QUEUE_AREA.deviceHigh)],
  // queue_notif_config_data (not offered), queue_reset, admin_queue_index, admin_queue_num (no such queues)
  [0x38, { size: 2 }],
  [
    0x3a,
    {
      size: 2,
      read: (common) => Number(common.queueResetting),
      write: (common, value) => {
        if (value === 1 && common.accepted(VIRTIO_F.RING_RESET)) common.resetQueue();
      },
    },
  ],
  [0x3c, { size: 2 }],
  [0x3e, { size: 2 }],
]);
