// Whether a device could hold a call at all: the widest tensors of UNet and VAE are known before anything is drawn.
// A call that passes may still run out of memory; one that does not pass never had room.

import { dtypes, formatShape, Module, OutOfMemoryError } from '@darkroom/core';
import { AutoencoderKL } from '../models/autoencoder-kl.ts';
import type { CheckedCall } from './check-call.ts';
import type { Pipeline } from './pipeline.ts';

interface Wide {
  readonly of: 'unet' | 'vae';
  readonly shape: readonly number[];
}

/** @throws OutOfMemoryError that says how much a single tensor of this call takes and how much the device has. */
export function requireMemory(
  pipe: Pipeline,
  call: CheckedCall,
  options: { readonly outputType?: string },
): void {
  const { device, computeDtype } = pipe;
  const most = device.caps.maxBufferBytes;
  for (const { of, shape } of widest(pipe, call, options.outputType !== 'latent')) {
    const bytes = shape.reduce((a, b) => a * b, dtypes[computeDtype].bytes);
    if (bytes <= most) continue;
    const [, , h, w] = call.latentShape;
    const size = `${w * pipe.vaeScale}x${h * pipe.vaeScale}`;
    const images = `${call.images} image${call.images === 1 ? '' : 's'} of ${size}`;
    throw new OutOfMemoryError(
      `generate: ${images} (width x height) asked for, the ${of} then needs ${gib(bytes)} for one tensor ` +
        `${formatShape(shape)} of ${computeDtype}, and ${device.name} holds ${gib(most)}; ask for fewer or smaller images`,
    );
  }
}

/** Tensors that the call cannot do without. */
function* widest(pipe: Pipeline, call: CheckedCall, decodes: boolean): Generator<Wide> {
  const [images, , h, w] = call.latentShape;
  const batch = call.guided ? 2 * images : images;
  yield { of: 'unet', shape: [batch, ...call.latentShape.slice(1)] };
  const channels = pipe.unet.config['block_out_channels'];
  const first: unknown = Array.isArray(channels) ? channels[0] : undefined;
  if (pipe.unet instanceof Module && typeof first === 'number')
    yield { of: 'unet', shape: [batch, first, h, w] };
  if (!decodes) return;
  const { vae, vaeScale } = pipe;
  const pixels = [vae.slicing ? 1 : images, h * vaeScale, w * vaeScale] as const;
  yield { of: 'vae', shape: [pixels[0], 3, pixels[1], pixels[2]] };
  if (vae instanceof AutoencoderKL && !vae.tiles)
    yield { of: 'vae', shape: [pixels[0], vae.blockOutChannels[0]!, pixels[1], pixels[2]] };
}

const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
