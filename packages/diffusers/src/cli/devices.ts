// darkroom devices: what this machine can compute on, what is missing, and how to get it.

import { Command } from 'commander';
import { cpu } from '@darkroom/backend-cpu';

export function devicesCommand(): Command {
  return new Command('devices').description('list devices, and what is missing for more').action(async () => {
    const device = await cpu();
    const lines = [
      `cpu     ${device.caps.fingerprint}`,
      '        stores float32, float16 and bfloat16; computes in float32; works everywhere, nothing to install',
      'webgpu  missing: this version has no WebGPU backend',
      'cuda    missing: this version has no CUDA backend',
    ];
    process.stdout.write(`${lines.join('\n')}\n`);
    device[Symbol.dispose]();
  });
}
