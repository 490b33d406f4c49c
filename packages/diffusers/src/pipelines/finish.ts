// The end of a call: converts its latents to the outputType: images, pixels or latents.

import { DarkroomError, keep, scope } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { Image } from '../image/image.ts';
import { packPixels, unpackPixels } from '../image/packed.ts';
import type { PictureParameters } from '../parameters/parameters.ts';
import type { CallOptions, StableDiffusionOutput } from './options.ts';
import type { Part, PartTraces } from './part-traces.ts';
import type { NamedTensors } from './recipe.ts';
import type { Run } from './run.ts';

/**
 * The output of a run; `drawnWith` is what its pictures tell. `traces`: decodes by them where it can. Latents may still be
 * under way: decoding is queued behind the last step. @throws DarkroomError that names the denoiser or the decoder if pixels
 * are NaN.
 */
export async function finish(
  run: Run,
  outputType: CallOptions['outputType'],
  drawnWith: readonly PictureParameters[] | undefined,
  traces?: PartTraces,
): Promise<StableDiffusionOutput> {
  const { latents, seeds, call } = run;
  const { codec } = run.recipe;
  if (outputType === 'latent' || outputType === 'tensor') {
    const decoded = outputType === 'tensor' && run.within(() => codec.decode(latents, call));
    const tensor = keep(decoded || latents.alias());
    try {
      await run.device.idle();
    } catch (error) {
      tensor.dispose();
      throw error;
    }
    return { images: [], tensor, seeds };
  }
  // With slicing, each picture is read back and freed before the next is decoded.
  const count = latents.shape[0]!;
  const parts = codec.slicing ? count : 1;
  const images: Image[] = [];
  for (let i = 0; i < parts; i++) {
    using part = latents.slice(0, (i * count) / parts, ((i + 1) * count) / parts);
    const read = await readImages(await decodePacked(run, part, traces));
    if (!read) throw await nanError(run);
    images.push(...read);
  }
  return { images: images.map((image, i) => image.withParameters(drawnWith?.[i])), seeds };
}

/** The packed pixels of latents. The caller owns them. */
async function decodePacked(run: Run, latents: Tensor, traces: PartTraces | undefined): Promise<Tensor> {
  const { device, call } = run;
  const { codec } = run.recipe;
  const { height, width } = call;
  const decode = ({ latents }: NamedTensors): NamedTensors => ({
    words: scope(() => packPixels(codec.decode(latents!, call))),
  });
  const plain = (): NamedTensors => decode({ latents });
  const { dtype, shape } = latents;
  if (!traces || !codec.decoders?.length) return run.within(plain)['words']!;
  const part: Part = {
    name: 'decoder',
    device,
    modules: codec.decoders,
    inputs: { latents: { dtype, shape } },
    key: JSON.stringify([height, width]),
    call: decode,
  };
  await traces.prepare(part);
  return run.within(() => traces.run(part, () => ({ latents }), plain))['words']!;
}

/** The error for NaN pixels: NaN latents blame the denoising loop, else the decoder. */
async function nanError(run: Run): Promise<DarkroomError> {
  const { denoiser, codec } = run.recipe;
  const already = (await run.latents.data()).some(Number.isNaN);
  const who = already ? denoiser : codec;
  return new DarkroomError(
    `the picture has NaN, which ${already ? 'the denoising loop' : 'the decoder'} (${who.name}) made ` +
      `(weights ${who.dtype}, activations ${run.dtype}); debug.checkFinite = true finds the module`,
  );
}

/** The pictures of packed pixels [n, h, w]; undefined if a value is NaN. Frees `words`. */
async function readImages(words: Tensor): Promise<Image[] | undefined> {
  try {
    const [n, h, w] = words.shape as [number, number, number];
    const data = (await words.data()) as Int32Array;
    const images: Image[] = [];
    for (let i = 0; i < n; i++) {
      const bytes = unpackPixels(data.subarray(i * h * w, (i + 1) * h * w));
      if (!bytes) return undefined;
      images.push(new Image(w, h, bytes));
    }
    return images;
  } finally {
    words.dispose();
  }
}
