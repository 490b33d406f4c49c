// Refuses a call whose largest single tensor exceeds the device's largest buffer; its shape is known before the call
// runs. A call that passes may still run out of memory.

import { dtypes, formatShape, OutOfMemoryError } from '@darkroom/core';
import type { Device, DType } from '@darkroom/core';
import type { Recipe } from './recipe.ts';

interface Wide {
  readonly of: string;
  readonly shape: readonly number[];
}

/** @throws OutOfMemoryError that says how much a single tensor of this call takes and how much the device has. */
export function requireMemory(
  recipe: Recipe,
  on: { readonly device: Device; readonly dtype: DType; readonly decodes: boolean },
): void {
  const { device, dtype } = on;
  const { call } = recipe;
  const most = device.caps.maxBufferBytes;
  for (const { of, shape } of widest(recipe, on.decodes)) {
    const bytes = shape.reduce((a, b) => a * b, dtypes[dtype].bytes);
    if (bytes <= most) continue;
    const images = `${call.images} image${call.images === 1 ? '' : 's'} of ${call.width}x${call.height}`;
    throw new OutOfMemoryError(
      `generate: ${images} (width x height) asked for, the ${of} then needs ${gib(bytes)} for one tensor ` +
        `${formatShape(shape)} of ${dtype}, and ${device.name} holds ${gib(most)}; ask for fewer or smaller images`,
    );
  }
}

/** The largest tensors that the denoiser and the codec allocate in this call. */
function* widest({ call, denoiser, codec }: Recipe, decodes: boolean): Generator<Wide> {
  const [images, ...latent] = call.latentShape;
  const batch = [call.guided ? 2 * images : images, ...latent];
  yield { of: denoiser.name, shape: batch };
  for (const shape of denoiser.widest?.(batch) ?? []) yield { of: denoiser.name, shape };
  if (!decodes) return;
  for (const shape of codec.widest(images, call)) yield { of: codec.name, shape };
}

const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
