// Text encoders and the decoder as traces: the pictures of eager calls, and nothing kept where a switch forbids it.

import { cpu } from '@darkroom/backend-cpu';
import { log } from '@darkroom/core';
import type { Device } from '@darkroom/core';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { fusedAttention, plainAttention } from '../models/attention-strategies.ts';
import type { AutoencoderKL } from '../models/autoencoder-kl.ts';
import type { CLIPTextModel } from '../models/clip-text.ts';
import { emoji, tinyXL } from '../node/testing.ts';
import { StableDiffusionPipeline } from './stable-diffusion.ts';
import type { StableDiffusionOptions } from './stable-diffusion.ts';

let device: Device;
let pipe: StableDiffusionPipeline;
let vae: AutoencoderKL;
let encoder: CLIPTextModel;
const eager = { decode: 0, encode: 0 };
beforeAll(async () => {
  device = await cpu({ threads: 1 });
  pipe = await StableDiffusionPipeline.fromPretrained(emoji, { device });
  pipe.setProgressBarConfig({ disable: true });
  vae = pipe.vae as AutoencoderKL;
  encoder = pipe.textEncoder as CLIPTextModel;
  // A replay calls no module.
  const { forward: decode } = vae;
  vi.spyOn(vae, 'forward').mockImplementation((z) => (eager.decode++, decode.call(vae, z)));
  const { encode } = encoder;
  vi.spyOn(encoder, 'encode').mockImplementation((...args) => (eager.encode++, encode.apply(encoder, args)));
});
afterEach(() => {
  pipe.disableTracing();
  pipe.disableVaeSlicing();
  pipe.disableVaeTiling();
});
afterAll(() => {
  vi.restoreAllMocks();
  pipe.dispose();
  expect(device.memory().live).toBe(0);
  device[Symbol.dispose]();
});

interface Drawn {
  readonly pixels: readonly (readonly number[])[];
  /** Calls of the modules while it was drawn, recordings included. */
  readonly decode: number;
  readonly encode: number;
}
async function draw(options: StableDiffusionOptions = {}, prompt: string | string[] = 'a fox'): Promise<Drawn> {
  const before = { ...eager };
  const { images } = await pipe(prompt, { numInferenceSteps: 2, guidanceScale: 4, seed: 7, ...options });
  return {
    pixels: images.map(({ data }) => [...data]),
    decode: eager.decode - before.decode,
    encode: eager.encode - before.encode,
  };
} // prettier-ignore

const replayed = { decode: 0, encode: 0 };

describe('a call of a kind that was seen before', () => {
  test.each<[string, StableDiffusionOptions]>([
    ['with guidance', {}],
    ['without guidance', { guidanceScale: 1 }],
    ['with a hidden state before the last', { clipSkip: 1 }],
    ['of two pictures', { numImagesPerPrompt: 2 }],
  ])('%s replays: the bytes of the eager call', async (_, options) => {
    const { pixels } = await draw(options);
    const { live } = device.memory();
    pipe.enableTracing();
    expect((await draw(options)).pixels).toEqual(pixels);
    expect((await draw(options)).pixels).toEqual(pixels); // recorded now
    expect(await draw(options)).toEqual({ pixels, ...replayed });
    pipe.disableTracing();
    expect(device.memory().live).toBe(live);
  });

  test('prompts, batches and sizes in turn', async () => {
    const kinds = [
      [{}, 'a fox'],
      [{ negativePrompt: 'blue' }, 'a pizza'],
      [{}, ['a fox', 'a pizza']],
      [{ width: 96 }, 'a fox'],
    ] as const;
    const want = [];
    for (const [options, prompt] of kinds) want.push(await draw(options, prompt as string | string[]));
    pipe.enableTracing();
    for (let turn = 0; turn < 3; turn++) {
      for (const [i, [options, prompt]] of kinds.entries()) {
        const got = await draw(options, prompt as string | string[]);
        expect(got.pixels, `turn ${turn}, kind ${i}`).toEqual(want[i]!.pixels);
        if (turn === 2) expect(got).toMatchObject(replayed);
      }
    }
  });

  test('SDXL, with two encoders', async () => {
    const xl = await tinyXL(device);
    xl.setProgressBarConfig({ disable: true });
    const drawXL = async (): Promise<number[]> => {
      const call = { numInferenceSteps: 2, seed: 7, width: 32, height: 48 };
      return [...(await xl('a fox', call)).images[0]!.data];
    };
    const pixels = await drawXL();
    xl.enableTracing();
    for (let i = 0; i < 3; i++) expect(await drawXL()).toEqual(pixels);
    xl.dispose();
  });
});

describe('switches', () => {
  test('slicing decodes picture by picture with one trace', async () => {
    const options = { numImagesPerPrompt: 2 };
    const { pixels } = await draw(options);
    pipe.enableTracing();
    pipe.enableVaeSlicing();
    for (let i = 0; i < 2; i++) expect((await draw(options)).pixels).toEqual(pixels);
    expect(await draw(options)).toEqual({ pixels, ...replayed });
  });

  test('tiling decodes op by op', async () => {
    pipe.enableVaeTiling({ tileSize: 32 });
    const { pixels } = await draw();
    pipe.enableTracing();
    for (let i = 0; i < 3; i++) expect(await draw()).toMatchObject({ pixels, decode: 1 });
  });

  test('another attention, other weights and a hook are seen', async () => {
    pipe.enableTracing();
    for (let i = 0; i < 3; i++) await draw();
    vae.setBaseAttention(plainAttention);
    expect((await draw()).decode).toBe(1);
    vae.setBaseAttention(fusedAttention);
    expect((await draw()).decode).toBe(1); // the trace went with the other attention
    for (let i = 0; i < 2; i++) await draw();
    expect(await draw()).toMatchObject(replayed);
    const seen: string[] = [];
    vae.decoder.addHook({ name: 'watch', preForward: () => void seen.push('decoder') });
    expect((await draw()).decode).toBe(1);
    vae.decoder.removeHook('watch');
    expect(seen).toEqual(['decoder']);
    expect(await draw()).toMatchObject(replayed);
  });

  test('what cannot be recorded runs op by op, and a warning says why', async () => {
    const { pixels } = await draw();
    const warn = vi.spyOn(log, 'warn').mockImplementation(() => {});
    const { forward } = vae.decoder;
    vi.spyOn(vae.decoder, 'forward').mockImplementation((x) => {
      if (x.deviceOrNone && !x.isDisposed) x.storage('own decoder'); // reads its input
      return forward.call(vae.decoder, x);
    });
    pipe.enableTracing();
    for (let i = 0; i < 3; i++) expect((await draw()).pixels).toEqual(pixels);
    expect(warn.mock.calls.flat().join()).toContain('enableTracing: the decoder runs op by op');
    vi.mocked(vae.decoder.forward).mockRestore();
    warn.mockRestore();
  });

  test('model offload: nothing of these parts is kept', async () => {
    await pipe.toHost();
    pipe.enableModelCpuOffload();
    const { pixels } = await draw();
    pipe.enableTracing();
    for (let i = 0; i < 3; i++) {
      expect(await draw()).toMatchObject({ pixels, decode: 1, encode: 1 });
      expect(device.memory().live).toBe(0);
    }
    pipe.disableModelCpuOffload();
    await pipe.to({ device });
  });

  test('weights that leave the device take the memory of the traces along', async () => {
    const { pixels } = await draw();
    pipe.enableTracing();
    for (let i = 0; i < 3; i++) await draw();
    await pipe.toHost();
    expect(device.memory().live).toBe(0);
    await pipe.to({ device });
    expect(await draw()).toEqual({ pixels, ...replayed });
  });

  test('calls at the same time', async () => {
    const { pixels } = await draw();
    pipe.enableTracing();
    for (let i = 0; i < 2; i++)
      for (const drawn of await Promise.all([draw(), draw(), draw()])) expect(drawn.pixels).toEqual(pixels);
  });
});
