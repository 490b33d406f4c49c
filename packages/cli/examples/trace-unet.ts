// Traces a UNet, times it traced and not, saves it, loads it into another pipeline and draws with it: the script of
// diffusers' guide to memory and speed, in this library. Run it after `npm run build`, with Node 24 or newer:
//   node packages/cli/examples/trace-unet.ts [model folder or id] [cpu | cuda | webgpu | auto]

import { loadTraced, randomNormal, Scope, scope, trace } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { StableDiffusionPipeline, unetInputs } from '@darkroom/diffusers';
import type { Conditioning, Image } from '@darkroom/diffusers';
import { openDevice } from '@darkroom/cli/device';

export interface Settings {
  readonly model: string;
  readonly device: string;
  /** Path of the saved trace. */
  readonly file: string;
  readonly prompt?: string;
  readonly experiments?: number;
  readonly runsPerExperiment?: number;
  readonly steps?: number;
  readonly say?: (line: string) => void;
}

/** Seconds of each experiment; the last picture drawn by the loaded trace. */
export interface Outcome {
  readonly traced: readonly number[];
  readonly eager: readonly number[];
  readonly image: Image;
}

export async function main(settings: Settings): Promise<Outcome> {
  const { model, file, experiments = 2, runsPerExperiment = 50, steps = 50, say = console.log } = settings;
  const device = await openDevice(settings.device);
  try {
    const pipe = await StableDiffusionPipeline.fromPretrained(model, { device });
    const { unet } = pipe;
    const [sampleShape, , { encoderHiddenStates: textShape }] = unetInputs(pipe);

    // Load inputs.
    let seed = 0;
    const generateInputs = (): [Tensor, number, Conditioning] => {
      const [a, b] = [sampleShape, textShape].map(({ shape, dtype }) =>
        randomNormal(shape, { device, dtype, seed: seed++ }),
      );
      return [a!, 999 * ((seed * 0.618) % 1), { encoderHiddenStates: b! }];
    };

    // Warm up.
    for (let i = 0; i < 3; i++) scope(() => void unet.call(...generateInputs()));

    say('tracing..');
    using memory = new Scope();
    const inputs = memory.run(generateInputs);
    const traced = await trace(unet, inputs);
    say(`done tracing: ${traced.summary()}`);
    for (let i = 0; i < 5; i++) scope(() => void traced.call(...generateInputs()));

    // Benchmark.
    const time = async (name: string, call: () => unknown): Promise<number[]> => {
      const seconds: number[] = [];
      for (let e = 0; e < experiments; e++) {
        await device.idle();
        const start = performance.now();
        for (let i = 0; i < runsPerExperiment; i++) scope(() => void call());
        await device.idle();
        seconds.push((performance.now() - start) / 1000);
        say(`${name} inference took ${seconds.at(-1)!.toFixed(2)} seconds`);
      }
      return seconds;
    };
    const tracedSeconds = await time('unet traced', () => traced.call(...inputs));
    const eagerSeconds = await time('unet', () => unet.call(...inputs));

    // Save the trace; the weights stay in the model's own files.
    await traced.save(file);
    traced.dispose();

    // Use it in place of the UNet of another pipeline, with that one's weights.
    const other = await StableDiffusionPipeline.fromPretrained(model, { device });
    other.unet = await loadTraced(file, { device, params: other.unet.stateDict!() });
    const { images } = await other(settings.prompt ?? 'a fox on a blue background', {
      numInferenceSteps: steps,
      seed: 1,
    });
    other.dispose();
    pipe.dispose();
    return { traced: tracedSeconds, eager: eagerSeconds, image: images[0]! };
  } finally {
    device[Symbol.dispose]();
  }
}

if (import.meta.url === `file://${process.argv[1]}`) {
  const [model = 'models/emoji-64', device = 'auto'] = process.argv.slice(2);
  const { image } = await main({ model, device, file: 'unet.graph.json' });
  await image.save('traced.png');
  console.log('wrote unet.graph.json and traced.png');
}
