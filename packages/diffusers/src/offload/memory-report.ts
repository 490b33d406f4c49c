// The memory of a pipeline's components and of its device.

import type { Device, DType, MemoryStats } from '@darkroom/core';
import { isOnHost } from '@darkroom/core';
import { modulesOf } from './policy.ts';
import type { Components } from './policy.ts';

/** The memory of one component's weights. */
export interface ComponentMemory {
  /** Bytes on the device. */
  readonly device: number;
  /** Bytes in host memory, for offload. */
  readonly host: number;
  /** dtype of the weights. */
  readonly dtype: DType;
}
/** The memory of a pipeline's components, by name, and of its device. */
export interface MemoryReport {
  readonly components: Readonly<Record<string, ComponentMemory>>;
  /** The result of device.memory(), in bytes. */
  readonly device: MemoryStats;
  /** The same as lines of text. */
  toString(): string;
}

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** Counts the weights of each component, on the device and in host memory. */
export function memoryReport(components: Components, device: Device): MemoryReport {
  const each: Record<string, ComponentMemory> = {};
  for (const [name, module] of modulesOf(components)) {
    const bytes = { device: 0, host: 0 };
    for (const [, p] of module.namedParameters()) bytes[isOnHost(p) ? 'host' : 'device'] += p.bytes;
    each[name] = { ...bytes, dtype: module.dtype };
  }
  const stats = device.memory();
  return {
    components: each,
    device: stats,
    toString: () =>
      [
        ...Object.entries(each).map(
          ([name, c]) =>
            `${name.padEnd(14)} ${c.dtype}, ${mib(c.device)} on ${device.name}, ${mib(c.host)} in host memory`,
        ),
        `${device.name.padEnd(14)} ${mib(stats.live)} live, ${mib(stats.cached)} cached, ${mib(stats.peak)} at most`,
      ].join('\n'),
  };
}
