// Registers roll: replaces the lines of a built-in op in the tables of core, the CPU and the GPU kernels.

import { registerCpuKernels } from '@darkroom/backend-cpu';
import { registerGpuKernels } from '@darkroom/gpu-kernels';
import { rollFactory } from './fast.ts';
import { rollKernel } from './gpu.ts';
import { rollReference } from './reference.ts';
import { registerRoll } from './roll.ts';
import type { RollOp } from './roll.ts';

export function addRoll(): void {
  registerRoll();
  registerCpuKernels<RollOp>('roll', { reference: rollReference, fast: rollFactory });
  registerGpuKernels<RollOp>('roll', rollKernel);
}
