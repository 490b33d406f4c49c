// Calls at once on one pipeline, and pipelines on the same modules: each call gives what it gives alone.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { cast, mul } from '@darkroom/core';
import type { Device, Tensor } from '@darkroom/core';
import { emoji } from '../node/testing.ts';
import { StableDiffusionImg2ImgPipeline } from './stable-diffusion-img2img.ts';
import { StableDiffusionPipeline } from './stable-diffusion.ts';
import type { StableDiffusionOptions } from './stable-diffusion.ts';

const quick = { numInferenceSteps: 6, guidanceScale: 4, seed: 3, width: 32, height: 32 } as const;
let device: Device;
beforeAll(async () => {
  device = await cpu({ threads: 2 });
});
afterAll(() => {
  expect(device.memory().live).toBe(0);
  device[Symbol.dispose]();
});

async function load(weights: 'device' | 'host' = 'device'): Promise<StableDiffusionPipeline> {
  const pipe = await StableDiffusionPipeline.fromPretrained(emoji, { device, weights });
  pipe.setProgressBarConfig({ disable: true });
  return pipe;
}

/** Bytes of the pictures, or the message of the error. */
async function draw(
  pipe: StableDiffusionPipeline,
  prompt: string | readonly string[],
  options: StableDiffusionOptions,
): Promise<number[][] | string> {
  try {
    return (await pipe(prompt, { ...quick, ...options })).images.map((image) => [...image.data]);
  } catch (error) {
    return String(error);
  }
}

/** Callbacks have state, so each call gets its options made anew. */
const calls: Readonly<Record<string, () => readonly [string | readonly string[], StableDiffusionOptions]>> = {
  plain: () => ['a fox', {}],
  'another seed': () => ['a fox', { seed: 4 }],
  'another size': () => ['a pizza', { width: 96, height: 32 }],
  'two prompts': () => [['a fox', 'a clover'], { seed: [5, 6] }],
  'no guidance': () => ['a fox', { guidanceScale: 1 }],
  'more steps': () => ['a fox', { numInferenceSteps: 9 }],
  'halved latents': () => [
    'a fox',
    { callbackOnStepEnd: (_, step, __, { latents }) => (step === 2 ? { latents: mul(latents, 0.5) } : {}) },
  ],
  'interrupted by its argument, after an await': () => [
    'a fox',
    {
      callbackOnStepEnd: async (p, step) => {
        await new Promise((done) => setTimeout(done, 1));
        if (step === 1) p.interrupt = true;
      },
    },
  ],
  aborted: () => {
    const aborter = new AbortController();
    const stop = (step: number): void => {
      if (step === 2) aborter.abort(new Error('enough'));
    };
    return ['a fox', { signal: aborter.signal, callbackOnStepEnd: (_, step) => stop(step) }];
  },
  throwing: () => [
    'a fox',
    {
      callbackOnStepEnd: (_, step) => {
        if (step === 3) throw new Error('stop');
      },
    },
  ],
};

const modes: Readonly<Record<string, (pipe: StableDiffusionPipeline) => void>> = {
  eager: () => {},
  traced: (pipe) => pipe.enableTracing(),
  'under model offload': (pipe) => pipe.enableModelCpuOffload(),
  'under sequential offload': (pipe) => pipe.enableSequentialCpuOffload({ groupSize: 5 }),
  'traced under model offload': (pipe) => {
    pipe.enableModelCpuOffload();
    pipe.enableTracing();
  },
};

describe('ten calls at once give the bytes of one after the other', () => {
  const alone = new Map<string, unknown>();
  beforeAll(async () => {
    const pipe = await load();
    for (const [name, make] of Object.entries(calls)) alone.set(name, await draw(pipe, ...make()));
    pipe.dispose();
    expect(alone.get('aborted')).toBe('Error: enough');
    expect(alone.get('throwing')).toBe('Error: stop');
    expect(alone.get('interrupted by its argument, after an await')).not.toEqual(alone.get('plain'));
  });

  test.each(Object.keys(modes))('%s', async (mode) => {
    const pipe = await load(mode.includes('offload') ? 'host' : 'device');
    modes[mode]!(pipe);
    const before = device.memory().live;
    for (const round of mode.includes('traced') ? [1, 2] : [1]) {
      const entries = Object.entries(calls).map(
        async ([name, make]) => [name, await draw(pipe, ...make())] as const,
      );
      for (const [name, bytes] of await Promise.all(entries))
        expect(bytes, `${name}, round ${round}`).toEqual(alone.get(name));
    }
    if (mode.includes('offload')) expect(device.memory().live).toBe(before);
    pipe.dispose();
    expect(device.memory().live).toBe(0);
  });
});

describe('interrupt', () => {
  let pipe: StableDiffusionPipeline;
  beforeAll(async () => {
    pipe = await load();
    pipe.useScheduler('DDIMScheduler'); // one step for each that is asked for
  });
  afterAll(() => pipe.dispose());

  /** Steps that calls at once run when each is given its callback. */
  async function stepsOf(
    ...callbacks: ((p: { interrupt: boolean }, step: number) => void)[]
  ): Promise<number[]> {
    const steps = callbacks.map(() => 0);
    await Promise.all(
      callbacks.map((callback, i) =>
        draw(pipe, 'a fox', {
          callbackOnStepEnd: (p, step) => {
            steps[i]!++;
            callback(p, step);
          },
        }),
      ),
    );
    return steps;
  }

  test('of one call leaves the others alone, by the argument and by the pipeline itself', async () => {
    const never = (): void => {};
    const byArgument = (p: { interrupt: boolean }, step: number): void => void (p.interrupt = step === 1);
    const byPipeline = (_: object, step: number): void => void (pipe.interrupt = step === 2);
    expect(await stepsOf(byArgument, never)).toEqual([2, 6]);
    expect(await stepsOf(never, byPipeline, byArgument)).toEqual([6, 3, 2]);
  });

  test('from outside ends the calls under way; a call that starts clears nothing', async () => {
    const later: Promise<unknown>[] = [];
    const [steps] = await stepsOf((_, step) => {
      if (step > 0) return;
      setTimeout(() => {
        pipe.interrupt = true;
        later.push(draw(pipe, 'a fox', {}));
      });
    });
    expect(steps).toBeLessThan(6);
    expect(await later[0]).toEqual(await draw(pipe, 'a fox', {}));
    pipe.interrupt = true; // no call is under way
    expect(await stepsOf(() => {})).toEqual([6]);
  });

  test('the pipeline that a callback sees is the pipeline', async () => {
    await stepsOf((p) => {
      expect(p).toBeInstanceOf(StableDiffusionPipeline);
      const seen = p as StableDiffusionPipeline;
      expect(seen.unet).toBe(pipe.unet);
      expect(seen.device).toBe(device);
      expect(seen.memoryReport().components['unet']!.host).toBe(0);
    });
  });

  test('what a call needs is not taken from it', async () => {
    const told: unknown[] = [];
    const messages: string[] = [];
    await stepsOf((_, step) => {
      if (step > 0) return;
      told.push(pipe.to('float16').catch((error: unknown) => messages.push(String(error))));
      expect(() => pipe.enableTracing()).toThrow('enableTracing: 1 call is under way; await it first');
      expect(() => pipe.enableModelCpuOffload()).toThrow('1 call is under way');
    });
    await Promise.all(told);
    expect(messages).toEqual(['ArgumentError: to: 1 call is under way; await it first']);
  });
});

describe('pipelines on the same modules', () => {
  const text = (pipe: StableDiffusionPipeline): Promise<unknown> => draw(pipe, 'a fox', {});
  const kinds = {
    model: ['enableModelCpuOffload', 'disableModelCpuOffload'],
    sequential: ['enableSequentialCpuOffload', 'disableSequentialCpuOffload'],
  } as const;

  test.each(['model', 'sequential'] as const)('share %s offload', async (kind) => {
    const [enable, disable] = kinds[kind];
    const first = await load('host');
    const second = new StableDiffusionPipeline(first.components);
    second.setProgressBarConfig({ disable: true });
    const plain = await load();
    const wanted = await text(plain);
    plain.dispose();
    expect(device.memory().live).toBe(0);

    first[enable]();
    expect(await text(second)).toEqual(wanted); // did not enable it, and is under it all the same
    expect(device.memory().live).toBe(0);
    await expect(second.to(device)).rejects.toThrow(
      `call ${disable}() on the pipeline that enabled it first`,
    );
    second[enable]();
    expect(await Promise.all([text(first), text(second), text(first)])).toEqual([wanted, wanted, wanted]);
    expect(device.memory().live).toBe(0);
    first[disable]();
    expect(await Promise.all([text(first), text(second)])).toEqual([wanted, wanted]);
    second[disable]();
    expect(device.memory().live).toBe(0);
    await second.to(device);
    expect(await text(first)).toEqual(wanted);
    first.dispose();
    second.dispose();
  });

  test('another kind or other groups of offload are refused, naming what to call', async () => {
    const first = await load('host');
    const image = new StableDiffusionImg2ImgPipeline(first.components);
    first.enableModelCpuOffload();
    expect(() => image.enableSequentialCpuOffload()).toThrow(
      'enableSequentialCpuOffload: modules of this pipeline are under the offload of another pipeline; call disableModelCpuOffload() there first',
    );
    first.disableModelCpuOffload();
    first.enableSequentialCpuOffload({ groupSize: 2 });
    expect(() => image.enableSequentialCpuOffload({ groupSize: 3 })).toThrow(
      'with { groupSize: 2, prefetch: true }, not { groupSize: 3, prefetch: true }; call disableSequentialCpuOffload() there first',
    );
    image.enableSequentialCpuOffload({ groupSize: 2, prefetch: true });
    first.dispose();
    image.dispose();
  });

  test('modules of two pipelines under two offloads serve a third', async () => {
    const [first, second] = [await load('host'), await load('host')];
    first.enableModelCpuOffload();
    second.enableModelCpuOffload();
    const third = new StableDiffusionPipeline({ ...first.components, vae: second.vae });
    third.setProgressBarConfig({ disable: true });
    expect(await text(third)).toEqual(await text(first));
    expect(device.memory().live).toBe(0);
    expect(() => third.enableModelCpuOffload()).toThrow('the offload of several pipelines');
    first.dispose();
    second.dispose();
  });
});

describe('what callbacks give back', () => {
  let pipe: StableDiffusionPipeline;
  beforeAll(async () => {
    pipe = await load();
  });
  afterAll(() => pipe.dispose());

  const given: Readonly<Record<string, readonly [(latents: Tensor) => unknown, string]>> = {
    'a list as latents': [() => ({ latents: [1, 2, 3] }), 'latents must be a tensor, got a list of 3'],
    'a wrong shape': [
      (latents) => ({ latents: latents.view([4, 8, 8]) }),
      'latents must be [1,4,8,8] as it was, got [4,8,8]',
    ],
    'an unknown key': [
      (latents) => ({ prompt_embeds: latents }),
      "there is no tensor 'prompt_embeds'; did you mean 'promptEmbeds'?",
    ],
    'null for latents': [() => ({ latents: null }), 'latents must be a tensor, got null'],
    'a tensor': [(latents) => latents, 'must return nothing or an object of tensors, got a tensor [1,4,8,8]'],
    'a number': [() => 5, 'must return nothing or an object of tensors, got 5'],
    'a disposed tensor': [
      (latents) => {
        const gone = mul(latents, 2);
        gone.dispose();
        return { latents: gone };
      },
      'latents was disposed',
    ],
  };
  test.each(Object.keys(given))('%s is refused', async (name) => {
    const [make, message] = given[name]!;
    const before = device.memory().live;
    const callbackOnStepEnd = ((_: unknown, step: number, __: number, { latents }: { latents: Tensor }) =>
      step === 1 ? make(latents) : undefined) as StableDiffusionOptions['callbackOnStepEnd'];
    expect(await draw(pipe, 'a fox', { callbackOnStepEnd: callbackOnStepEnd! })).toBe(
      `ArgumentError: callbackOnStepEnd: ${message}`,
    );
    expect(device.memory().live).toBe(before);
  });

  test('promptEmbeds handed over are used and freed; another dtype becomes that of the call', async () => {
    const before = device.memory().live;
    const changed = await draw(pipe, 'a fox', {
      callbackOnStepEndTensors: ['promptEmbeds'],
      callbackOnStepEnd: (_, step, __, { promptEmbeds, latents }) =>
        step < 2 ? { promptEmbeds: mul(promptEmbeds!, 0.5), latents: cast(latents, 'float16') } : {},
    });
    expect(changed).not.toEqual(await draw(pipe, 'a fox', {}));
    expect(device.memory().live).toBe(before);
  });
});
