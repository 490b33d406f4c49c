// The rows of the guide's first table, and what a device makes of each. The settings are those that `bench verify` times.

import type { Device } from '@darkroom/core';
import { features } from '../verify/image.ts';
import type { ImageSetting } from '../verify/image.ts';

/** In the guide's order, each with all that the rows before it switched on. Its table has no row for tf32. */
export const tableSettings: readonly ImageSetting[] = features.filter(
  ({ mode }) => mode.precision === 'float32',
);

/** Why a row may change nothing on this device; undefined where it is expected to act. `tuned`: keys measured. */
export function noteOf(setting: ImageSetting, device: Device, tuned: number): string | undefined {
  const { name } = setting;
  if (name.includes('autotuner'))
    return tuned > 0 ? `${tuned} kernels measured` : 'no kernel left to measure: known or without a choice';
  if (name.includes('float16') && device.backend.name === 'cpu')
    return 'no effect on arithmetic: the CPU stores float16 and computes in float32';
  if (name.includes('channels-last') && device.caps.convFormat === 'contiguous')
    return "no gain expected: this device's convolutions read contiguous tensors";
  return undefined;
}
