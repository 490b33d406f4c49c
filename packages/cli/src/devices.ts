// darkroom devices: lists the devices of this machine, and how to install the missing ones.

import { Command } from 'commander';
import { cpu } from '@darkroom/backend-cpu';
import { DeviceError } from '@darkroom/core';
import type { Device } from '@darkroom/core';
import { cudaPackage, webgpuPackage } from './device.ts';

/** Lines for a device: its name and `more` if it opens, else the reason. */
async function describe(
  name: string,
  open: () => Promise<Device>,
  more: (device: Device) => string,
): Promise<string[]> {
  let device: Device;
  try {
    device = await open();
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error;
    return [
      `${name.padEnd(7)} missing: ${error.message.replace(`${name}: `, '').replace(/ \(tried .*\)$/s, '')}`,
    ];
  }
  const lines = [`${name.padEnd(7)} ${device.caps.fingerprint}`, `        ${more(device)}`];
  device[Symbol.dispose]();
  return lines;
}

const mib = (bytes: number): string => `${Math.floor(bytes / 2 ** 20)} MiB`;

/** The path of each of CUDA's libraries, or the paths searched. */
async function libraryLines(): Promise<string[]> {
  const opened = await cudaPackage().catch(() => undefined);
  if (!opened) return [];
  const { addon, libraries } = opened.diagnose();
  if ('missing' in addon) return [];
  return Object.entries(libraries).map(([name, report]) =>
    report.found
      ? `        ${name}: ${report.path} (${report.from})`
      : `        ${name}: not found; looked at ${report.looked.map((place) => place.split(/ \(|: /)[0]).join(', ')}`,
  );
}

export function devicesCommand(): Command {
  return new Command('devices').description('list devices, and what is missing for more').action(async () => {
    const lines = [
      ...(await describe(
        'cpu',
        () => cpu(),
        () =>
          'stores float32, float16 and bfloat16; computes in float32; works everywhere, nothing to install',
      )),
      ...(await describe(
        'webgpu',
        async () => (await webgpuPackage()).webgpu(),
        ({ caps }) => {
          const software = caps.fingerprint.includes(', software');
          return (
            `${caps.fingerprint.includes('shader-f16') ? 'float16 native' : 'float16 packed'}, ` +
            `a tensor holds at most ${mib(caps.maxBufferBytes)}` +
            (software ? "; software, so 'auto' takes the CPU instead" : '')
          );
        },
      )),
      ...(await describe(
        'cuda',
        async () => (await cudaPackage()).cuda(),
        ({ caps }) => `float16 and bfloat16 native, ${mib(caps.maxBufferBytes)}`,
      )),
      ...(await libraryLines()),
    ];
    process.stdout.write(`${lines.join('\n')}\n`);
  });
}
