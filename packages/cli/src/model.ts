// The model and the device of a command line: shared options, and functions that open them.

import { Option } from 'commander';
import type { Command } from 'commander';
import type { Device, DType } from '@darkroom/core';
import { DiffusionPipeline } from '@darkroom/diffusers';
import type { AnyPipeline, LoadOptions } from '@darkroom/diffusers';
import { emoji64 } from '@darkroom/emoji-64';
import { deviceNames, openDevice } from './device.ts';
import { count } from './options.ts';

/** The device of a command line. */
export interface DeviceChoice {
  readonly device: string;
  readonly threads?: number;
}

export interface ModelChoice extends DeviceChoice {
  readonly model?: string;
  readonly dtype?: DType;
  readonly variant?: string;
  readonly revision?: string;
  readonly localFilesOnly?: boolean;
}

/** Adds --device and --threads, which openChosen reads. */
export function withDeviceOptions(command: Command): Command {
  return command
    .addOption(new Option('-d, --device <name>', 'what computes').choices(deviceNames).default('auto'))
    .option('--threads <n>', 'CPU threads, from 1 to 32 (default: its cores)', count);
}

export function withModelOptions(command: Command): Command {
  return withDeviceOptions(command)
    .option('-m, --model <dir-or-id>', 'model folder or hub id (default: the embedded emoji-64)')
    .addOption(
      new Option('--dtype <dtype>', '(default: weights as stored, float32 activations)').choices([
        'float32',
        'float16',
        'bfloat16',
      ]),
    )
    .option('--variant <name>', "weight files to prefer, as 'fp16'")
    .option('--revision <name>', 'branch, tag or commit on the hub')
    .option('--local-files-only', 'never touch the network');
}

/**
 * Opens the device of a command line.
 * @throws ArgumentError for an unknown name, DeviceError where the device is missing.
 */
export async function openChosen({ device: name, threads }: DeviceChoice): Promise<Device> {
  const device = await openDevice(name, threads === undefined ? {} : { threads });
  if (threads !== undefined && device.name !== 'cpu')
    process.stderr.write(
      `--threads: says how many of the CPU's to use, and ${device.name} was opened: no effect\n`,
    );
  return device;
}

/**
 * The pipeline of the model's own class. `weights`: 'host' leaves them off the device, for offload; `progress` is told
 * how far downloads and loading are.
 */
export function loadChosen(
  { model, dtype, variant, revision, localFilesOnly }: ModelChoice,
  device: Device,
  weights?: 'host',
  progress: Pick<LoadOptions, 'onDownload' | 'onLoad'> = {},
): Promise<AnyPipeline> {
  return DiffusionPipeline.fromPretrained(model ?? emoji64, {
    device,
    ...progress,
    ...(dtype && { dtype }),
    ...(variant && { variant }),
    ...(revision && { revision }),
    ...(localFilesOnly && { localFilesOnly }),
    ...(weights && { weights }),
  });
}
