// darkroom devices: what this machine can compute on, what is missing, and how to get it.

import { Command } from 'commander';
import { cpu } from '@darkroom/backend-cpu';

export function devicesCommand(): Command {
  return new Command('devices').description('list devices, and what is missing for more').action(async () => {
    const device = await cpu();
    const lines = [
      `cpu     ${device.caps.fingerprint}`,
      '        float32, float16, bfloat16 storage; float32 arithmetic; no picture needs more than this',
      'webgpu  not part of this version: it comes as @darkroom/backend-webgpu',
      'cuda    not part of this version: it comes as @darkroom/backend-cuda',
    ];
    process.stdout.write(`${lines.join('\n')}\n`);
    device[Symbol.dispose]();
  });
}
