// darkroom doctor: what works here, what does not, and the one command that mends it.

import { mkdir, mkdtemp, rmdir } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { cpu } from '@darkroom/backend-cpu';
import { DarkroomError, matmul, tensor } from '@darkroom/core';
import type { Device } from '@darkroom/core';
import { cacheFolder } from '@darkroom/core/node';
import { Image, StableDiffusionPipeline } from '@darkroom/diffusers';
import { emoji64 } from '@darkroom/emoji-64';
import { cudaPackage, webgpuPackage } from './device.ts';

/** One thing that was tried. */
export interface Finding {
  readonly name: string;
  readonly works: boolean;
  /** False: pictures are drawn without it. */
  readonly isNeeded: boolean;
  readonly said: string;
  /** The command that mends it, where one does. */
  readonly mend?: string;
}

interface Check {
  readonly name: string;
  readonly isNeeded: boolean;
  /** What works, in a few words. @throws an Error that says why it does not */
  readonly try: () => Promise<string>;
  readonly mend?: string;
}

const reinstall = 'npm install @darkroom/cli';

const checks: readonly Check[] = [
  {
    name: 'node',
    isNeeded: true,
    try: async () => nodeVersion(process.versions.node),
    mend: 'nvm install 22',
  },
  { name: 'cpu', isNeeded: true, try: () => computes(() => cpu()) },
  { name: 'model', isNeeded: true, try: draws, mend: reinstall },
  { name: 'pictures', isNeeded: true, try: codecs, mend: reinstall },
  { name: 'cache', isNeeded: false, try: cacheWrites, mend: `mkdir -p ${cacheFolder('tune')}` },
  {
    name: 'webgpu',
    isNeeded: false,
    try: () => computes(async () => (await webgpuPackage()).webgpu()),
    ...(process.platform === 'linux' && { mend: 'apt install libvulkan1 mesa-vulkan-drivers' }),
  },
  { name: 'cuda', isNeeded: false, try: () => computes(async () => (await cudaPackage()).cuda()) },
];

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('try what works here; exit code 1 where pictures cannot be drawn')
    .option('--json', 'as JSON: a list of findings')
    .action(async ({ json }: { json?: boolean }) => {
      const findings = await examine(checks);
      process.stdout.write(json ? `${JSON.stringify(findings, null, 2)}\n` : printed(findings));
      process.exitCode = findings.every((one) => one.works || !one.isNeeded) ? 0 : 1;
    });
}

/** Tries each check, whatever the others found. */
export async function examine(all: readonly Check[]): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { name, isNeeded, mend, try: attempt } of all) {
    try {
      findings.push({ name, isNeeded, works: true, said: await attempt() });
    } catch (error) {
      const said = (error as Error).message.replace(`${name}: `, '').replace(/ \(tried .*\)$/s, '');
      const command = commandIn(said) ?? mend;
      findings.push({ name, isNeeded, works: false, said, ...(command !== undefined && { mend: command }) });
    }
  }
  return findings;
}

/** The command that a message names. */
function commandIn(message: string): string | undefined {
  return /\b(npm install [\w@/ .-]+|node \S+\.mjs)/.exec(message)?.[1]?.trim();
}

export function printed(findings: readonly Finding[]): string {
  const lines = findings.flatMap(({ name, works, isNeeded, said, mend }) => [
    `${works ? 'works  ' : isNeeded ? 'FAILS  ' : 'missing'}  ${name.padEnd(9)} ${said}`,
    ...(mend === undefined ? [] : [`${' '.repeat(19)}mend: ${mend}`]),
  ]);
  const failed = findings.filter((one) => !one.works && one.isNeeded).map((one) => one.name);
  const end =
    failed.length === 0
      ? 'pictures can be drawn here'
      : `pictures cannot be drawn here: ${failed.join(', ')}`;
  return `${lines.join('\n')}\n${end}\n`;
}

/** @throws DarkroomError for a version before 20.19 */
export function nodeVersion(version: string): string {
  const [major, minor] = version.split('.').map(Number) as [number, number];
  if (major < 20 || (major === 20 && minor < 19))
    throw new DarkroomError(`is ${version}; darkroom needs 20.19 or newer`);
  return `${version}, ${availableParallelism()} cores, ${(totalmem() / 1e9).toFixed(0)} GB of memory`;
}

async function computes(open: () => Promise<Device>): Promise<string> {
  const device = await open();
  try {
    const a = tensor([1, 2, 3, 4], { shape: [2, 2], device });
    const [value] = await matmul(a, a).data();
    if (Number(value) !== 7) throw new DarkroomError(`computes wrongly: 1·1 + 2·3 is ${String(value)}`);
    const isSoftware = device.caps.fingerprint.includes(', software');
    return `${device.caps.fingerprint}${isSoftware ? "; software, so 'auto' takes the CPU instead" : ''}`;
  } finally {
    device[Symbol.dispose]();
  }
}

async function draws(): Promise<string> {
  const device = await cpu({ threads: 1 });
  try {
    const pipe = await StableDiffusionPipeline.fromPretrained(emoji64, { device });
    pipe.setProgressBarConfig({ disable: true });
    const { images } = await pipe('a fox', { numInferenceSteps: 1, seed: 1 });
    pipe.dispose();
    return `emoji-64 draws ${images[0]!.width}x${images[0]!.height}`;
  } finally {
    device[Symbol.dispose]();
  }
}

async function codecs(): Promise<string> {
  const image = new Image(8, 8, new Uint8ClampedArray(192));
  for (const format of ['png', 'jpeg', 'webp'] as const) await Image.decode(await image.encode(format));
  return 'PNG, JPEG and WebP are read and written';
}

async function cacheWrites(): Promise<string> {
  const folder = cacheFolder('tune');
  await mkdir(folder, { recursive: true });
  await rmdir(await mkdtemp(join(folder, 'doctor-')));
  return folder;
}
