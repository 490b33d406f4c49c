// On a device that compiles kernels (WebGPU): compiles all kernels of a call in parallel, before the first call of its
// kind.

import { Tensor } from '@darkroom/core';
import { compileAhead } from '@darkroom/core/graph';
import type { Device } from '@darkroom/core';
import { progressBar } from '../progress/progress.ts';
import type { ProgressConfig } from '../progress/progress.ts';
import type { CheckedCall } from './check-call.ts';
import type { NamedTensors } from './recipe.ts';
import { Run } from './run.ts';
import { step } from './step.ts';

/** Compiles the kernels of each kind of call once. Remembers the kinds of one device at a time. */
export class CompiledCalls {
  #device: Device | undefined;
  readonly #keys = new Set<string>();

  /**
   * Compiles the kernels of `run` on `inputs`, unless its kind was compiled before; `decodes`: the decoder's too.
   * `progress`: the bar to show meanwhile.
   */
  async compile(run: Run, inputs: NamedTensors, decodes: boolean, progress: ProgressConfig): Promise<void> {
    const { device } = run;
    if (!device.backend.ready) return;
    if (this.#device !== device) this.#keys.clear();
    this.#device = device;
    const key = keyOf(run, inputs);
    if (this.#keys.has(key)) return;
    const { codec, ...rest } = run.recipe;
    const bar = await progressBar(1, { ...progress, description: 'compiling' });
    const trial = new Run({ ...rest, codec, call: blank(run.call) }, run).begin({ seed: 0 });
    try {
      await compileAhead(device, () => {
        const like = (t: Tensor): Tensor => Tensor.abstract(t.dtype, t.shape, device);
        const tensors = trial.start(
          Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, like(t)])),
        );
        // Four steps: a multistep solver runs other kernels once it has earlier outputs.
        const { begin, end } = trial.window;
        for (let i = begin; i < Math.min(begin + 4, end); i++) tensors.latents = step(trial, tensors, i);
        if (decodes) codec.decode(tensors.latents, trial.call);
      });
      bar.update(1);
    } finally {
      bar.stop();
      trial.dispose();
    }
    this.#keys.add(key);
  }
}

function keyOf({ call, scheduler, dtype }: Run, inputs: NamedTensors): string {
  const shapes = Object.entries(inputs).map(([name, t]) => [name, t.shape]);
  const negated = call.texts.map((t) => t.negatives !== undefined);
  const { latentShape, guided, guidanceRescale } = call;
  return JSON.stringify([
    latentShape,
    guided,
    guidanceRescale > 0,
    scheduler.className,
    dtype,
    shapes,
    negated,
  ]);
}

/** The call with empty texts: all texts give the same shapes, and an empty one warns of no truncation. */
function blank(call: CheckedCall): CheckedCall {
  const empty = (texts: readonly string[] | undefined): readonly string[] | undefined => texts?.map(() => '');
  const texts = call.texts.map(({ prompts, negatives }) => ({
    prompts: empty(prompts),
    negatives: empty(negatives),
  }));
  return { ...call, texts };
}
