// Noise for latents, drawn on the host from torch's CPU stream: a seed gives the same picture on every backend.

import { ArgumentError, describe, formatShape, map, tensor } from '@darkroom/core';
import type { Device, DType, FloatDType, Tensor } from '@darkroom/core';
import type { Generator } from '../random/generator.ts';
import { TorchCpuGenerator } from '../random/torch-cpu-generator.ts';
import type { Schedule } from '../schedulers/scheduler.ts';

interface Seeding {
  readonly seed?: number | bigint | readonly (number | bigint)[];
  readonly generator?: Generator | readonly Generator[];
}

/** The generators of a call (one for the batch, or one for each image), and their seeds. @throws ArgumentError */
export function generatorsFor(
  options: Seeding,
  images: number,
): { generators: readonly Generator[]; seeds: readonly (number | bigint)[] } {
  const { generator, seed } = options;
  if (generator !== undefined && seed !== undefined)
    throw new ArgumentError('generate: give seed or generator, not both');
  const check = (count: number, what: string): void => {
    if (count !== images)
      throw new ArgumentError(
        `generate: ${count} ${what} for ${images} images; give one, or one for each image`,
      );
  };
  if (generator !== undefined) {
    const list: readonly Generator[] = isList(generator) ? generator : [generator];
    const bad: unknown = list.find((g) => typeof (g as Partial<Generator> | null)?.randn !== 'function');
    if (bad !== undefined)
      throw new ArgumentError(`generator: must be a Generator or a list of them, got ${describe(bad)}`);
    if (isList(generator)) check(list.length, 'generators');
    return { generators: list, seeds: [] };
  }
  if (isList(seed)) {
    check(seed.length, 'seeds');
    return { generators: seed.map((s) => new TorchCpuGenerator(s)), seeds: seed };
  }
  const one = seed ?? Math.floor(Math.random() * 2 ** 32);
  return { generators: [new TorchCpuGenerator(one)], seeds: [one] };
}

function isList<T>(value: T | readonly T[] | undefined): value is readonly T[] {
  return Array.isArray(value);
}

/** Standard normal values of `shape`, drawn from one generator, or row by row from one generator for each row. */
export function drawNoise(
  generators: readonly Generator[],
  shape: readonly number[],
  dtype: DType,
  device: Device,
): Tensor {
  const count = shape.reduce((a, b) => a * b, 1);
  if (generators.length === 1)
    return tensor(generators[0]!.randn(count, dtype as FloatDType), { shape, dtype, device });
  if (generators.length !== shape[0]) {
    throw new ArgumentError(
      `noise: ${generators.length} generators for a batch of ${shape[0]} (${formatShape(shape)})`,
    );
  }
  const values = new Float32Array(count);
  const size = count / generators.length;
  for (const [i, g] of generators.entries()) values.set(g.randn(size, dtype as FloatDType), i * size);
  return tensor(values, { shape, dtype, device });
}

/** `noise` scaled to the schedule's initial sigma. */
export function scaledNoise(noise: Tensor, schedule: Schedule): Tensor {
  return map(['mul', ['in', 0], ['scalar', 0]], [noise], { scalars: [schedule.initNoiseSigma] });
}
